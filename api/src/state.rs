//! What the listener needs of the node, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use fleet_actors::gate::Approvals;
use fleet_inference::EngineRouter;
use fleet_runtime::blob::Blobs;
use fleet_runtime::cluster::ClusterNode;
use fleet_runtime::job::Jobs;
use fleet_runtime::progress::ProgressBus;
use fleet_runtime::{JobId, Journal};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::access::Access;
use crate::metrics::{Figures, Tally};
use crate::origin::HostNames;
use crate::wire::{NodeInfo, Readiness};

/// `[api]`: what one caller may cost the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiOptions {
    /// Requests served at once; more are told to try again. Default 256.
    pub max_requests: usize,
    /// Followers of job streams at once. Each holds a connection. Default 64.
    pub max_followers: usize,
    /// Completions and embeddings under `/v1` at once, streams among them; more are told to try again. Default 256.
    pub max_completions: usize,
    /// Whether `/metrics` is shown to whoever asks from an allowed host, without a token. Names of nodes, tools and engines
    /// are on it, nothing of what jobs are about. Default false: it needs a token of level viewer.
    pub metrics_without_token: bool,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self { max_requests: 256, max_followers: 64, max_completions: 256, metrics_without_token: false }
    }
}

/// The largest JSON body.
pub(crate) const MAX_JSON_BYTES: usize = 1 << 20;
/// How long a request that isn't a stream may take.
pub(crate) const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// How long an upload may pause.
pub(crate) const UPLOAD_PAUSE: Duration = Duration::from_secs(30);
/// How often a quiet stream says that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// What is done when a job is deleted.
pub type Forget = Arc<dyn Fn(&JobId) + Send + Sync>;

/// The node, as the listener sees it.
#[derive(Clone)]
pub struct ApiState {
    /// The jobs.
    pub jobs: Jobs,
    /// The journal, to read from.
    pub journal: Arc<dyn Journal>,
    /// Base packs and results.
    pub blobs: Blobs,
    /// What is told but not recorded.
    pub progress: ProgressBus,
    /// What waits for a person.
    pub approvals: Approvals,
    /// The node's part in its cluster.
    pub cluster: Option<ClusterNode>,
    /// What the node says of itself.
    pub node: Arc<NodeInfo>,
    /// What isn't ready yet.
    pub readiness: watch::Receiver<Readiness>,
    /// Whom each token stands for.
    pub access: Access,
    /// The names that the node answers to.
    pub hosts: HostNames,
    /// Whether this is the node that keeps the journal, and so the one that shows figures of the whole cluster.
    pub keeps_journal: bool,
    /// The engines that clients may ask.
    pub engines: EngineRouter,
    /// Adds to `/metrics` what only the node's composition knows.
    pub figures: Figures,
    /// Removes what the node keeps of a job outside the journal and the blobs.
    pub forget: Forget,
    /// Bounds.
    pub options: ApiOptions,
}

/// What the handlers share: the node, and what the listener itself keeps count of.
#[derive(Clone)]
pub(crate) struct Shared {
    pub node: ApiState,
    pub requests: Arc<Semaphore>,
    pub followers: Arc<Semaphore>,
    pub completions: Arc<Semaphore>,
    pub closing: watch::Receiver<bool>,
    pub tally: Arc<Mutex<Tally>>,
}

impl Shared {
    pub(crate) fn new(node: ApiState, closing: watch::Receiver<bool>) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(node.options.max_requests)),
            followers: Arc::new(Semaphore::new(node.options.max_followers)),
            completions: Arc::new(Semaphore::new(node.options.max_completions)),
            tally: Arc::new(Mutex::new(Tally::after(*node.journal.committed().borrow()))),
            node,
            closing,
        }
    }
}
