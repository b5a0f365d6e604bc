//! What a node gives its stories to work with, and the guard of secrets between memory and tools.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_inference::EngineRouter;
use fleet_memory::{MemoryHandle, Placeholders, SecretRedactor};
use fleet_runtime::actor::System;
use fleet_runtime::cluster::ClusterNode;
use fleet_runtime::{JobId, ProjectId, Redactor};
use fleet_tools::gateway::{EditGuard, GatewayHandle};
use fleet_tools::repo::Caps;
use fleet_tools::run::Workbench;

use super::grounds::NodeGrounds;
use crate::event::EngineLabel;
use crate::gate::Approvals;
use crate::options::TeamOptions;

/// How long memory and the engine may take to answer what needs no computing.
pub(crate) const QUICK: Duration = Duration::from_secs(30);

/// Cheap to clone. Everything in it belongs to one node.
#[derive(Clone)]
pub struct Services {
    /// The node's actors.
    pub system: System,
    /// The node's name, as an author of events.
    pub node: String,
    /// Makes context bundles.
    pub memory: MemoryHandle,
    /// Answers agents.
    pub engine: EngineRouter,
    /// Runs tools.
    pub gateway: GatewayHandle,
    /// Where builds and tests of verdicts run.
    pub bench: Workbench,
    /// How large a repository may be.
    pub caps: Caps,
    /// The gates of this node.
    pub approvals: Approvals,
    /// The cluster that agents are spread over; without one they are all here.
    pub cluster: Option<ClusterNode>,
    /// What the jobs at work here share.
    pub grounds: NodeGrounds,
    /// Directory for the bases of jobs; one directory a job. A cache: it can be made again.
    pub bases: PathBuf,
    /// What can be set about the team.
    pub options: TeamOptions,
}

impl Services {
    /// Where the base of a job lies.
    pub fn base_dir(&self, job: &JobId) -> PathBuf {
        self.bases.join(job.as_str())
    }

    /// The engine's name for events and reports.
    pub(crate) async fn engine_label(&self) -> Result<EngineLabel, String> {
        let info = self.engine.info().await.map_err(|e| e.to_string())?;
        Ok(EngineLabel { name: info.name, model: info.model, mock: info.mock })
    }
}

/// Shows agents placeholders instead of secrets and puts the originals back when they edit.
///
/// It stands here because neither memory, which knows secrets, nor tools, which edit files, may
/// know the other.
pub struct SecretGuard(pub Arc<SecretRedactor>);

impl EditGuard for SecretGuard {
    fn show(&self, project: &ProjectId, text: &str) -> String {
        self.0.redact(project, text).into_owned()
    }

    fn put_back(&self, project: &ProjectId, before: &str, after: &str) -> Result<String, String> {
        Placeholders::check_edit(before, after).map_err(|e| e.to_string())?;
        let originals = self.0.placeholders(project).originals(after);
        originals.ok_or_else(|| "what a placeholder stands for is not known any more; read the file again".into())
    }
}
