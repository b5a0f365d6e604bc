//! What the listener is given in these tests: a real journal in a directory, three people, and what the test brings.

use std::path::Path;
use std::sync::Arc;

use fleet_actors::gate::Approvals;
use fleet_api::wire::{NodeInfo, Readiness};
use fleet_api::{Access, ApiOptions, ApiState, HostNames};
use fleet_inference::EngineRouter;
use fleet_runtime::actor::System;
use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::job::{JobKind, Jobs, JobsOptions, JobsPorts};
use fleet_runtime::progress::ProgressBus;
use fleet_runtime::{BlobOptions, BlobStore, Blobs, JournalOptions, NoSecrets, SqliteJournal, Timestamp};
use tokio::sync::watch;

pub const PO: &str = "token-of-the-product-owner-0123456789";
pub const OPERATOR: &str = "token-of-an-operator-who-submits-0123";
pub const VIEWER: &str = "token-of-a-viewer-who-only-looks-0123";

/// What a test brings.
pub struct World {
    pub system: System,
    pub kinds: Vec<Arc<dyn JobKind>>,
    pub progress: ProgressBus,
    pub readiness: watch::Receiver<Readiness>,
    pub engines: EngineRouter,
    pub options: ApiOptions,
}

impl World {
    /// The node that serves at `url` and keeps its things in `dir`.
    pub async fn state(self, dir: &Path, url: &str) -> ApiState {
        let Self { system, kinds, progress, readiness, engines, options } = self;
        let (journal, _) = SqliteJournal::open(&dir.join("journal"), &JournalOptions::default()).unwrap();
        let journal = Arc::new(journal);
        let limit = BlobOptions { max_bytes: "64KiB".parse().unwrap() };
        let blobs = Blobs::alone(BlobStore::open(&dir.join("blobs"), limit).unwrap()).await.unwrap();
        // No job is there yet that would need one: from now on what nobody holds is removed.
        blobs.retain_only(Vec::new());
        let ports = JobsPorts {
            journal: journal.clone(),
            redactor: Arc::new(NoSecrets),
            blobs: blobs.clone(),
            progress: progress.clone(),
        };
        let person = |name: &str, level| Principal { name: name.into(), level };
        let own = vec![
            (PO.into(), person("anna", AccessLevel::Po)),
            (OPERATOR.into(), person("olga", AccessLevel::Operator)),
            (VIEWER.into(), person("vera", AccessLevel::Viewer)),
        ];
        ApiState {
            jobs: Jobs::start(&system, JobsOptions::default(), kinds, ports).await.unwrap(),
            journal: journal.clone(),
            blobs,
            progress,
            approvals: Approvals::start(&system, journal.clone()).await.unwrap(),
            cluster: None,
            node: Arc::new(info(url)),
            readiness,
            access: Access::start(journal, Arc::new(NoSecrets), own),
            keeps_journal: true,
            engines,
            figures: Arc::new(|_| {}),
            hosts: HostNames::default(),
            forget: Arc::new(|_| {}),
            options,
        }
    }
}

fn info(url: &str) -> NodeInfo {
    NodeInfo {
        name: "test".into(),
        version: "0".into(),
        listen: url.into(),
        state_dir: String::new(),
        started_at: Timestamp::now(),
        engines: vec![],
        sandbox: String::new(),
    }
}
