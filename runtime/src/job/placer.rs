//! Port: where the runs of jobs go.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;

use super::runner::{JobRunner, RunnerArgs, RunnerMsg};
use crate::actor::{Ref, System};
use crate::cluster::ClusterNode;
use crate::placement::Demand;
use crate::supervise::{ChildOptions, Restart};

/// Finds places for runners.
pub trait RunPlacer: Send + Sync + 'static {
    /// A runner for that start of the job, wherever there is room for it; the one that there is already. An error says
    /// why there is none (yet): it is asked again.
    fn place(&self, runner: RunnerArgs) -> BoxFuture<'_, Result<Ref<RunnerMsg>, String>>;

    /// Ends the runner. One that isn't there has ended already.
    fn remove(&self, runner: RunnerArgs) -> BoxFuture<'_, ()>;
}

fn key(runner: &RunnerArgs) -> String {
    RunnerArgs::key(&runner.job, runner.run)
}

/// All runs on this node.
pub struct OnThisNode {
    system: System,
    /// Those that were placed, by their key.
    runners: Mutex<HashMap<String, Ref<RunnerMsg>>>,
}

impl OnThisNode {
    pub fn new(system: System) -> Self {
        Self { system, runners: Mutex::default() }
    }

    fn runners(&self) -> MutexGuard<'_, HashMap<String, Ref<RunnerMsg>>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunPlacer for OnThisNode {
    fn place(&self, runner: RunnerArgs) -> BoxFuture<'_, Result<Ref<RunnerMsg>, String>> {
        Box::pin(async move {
            let key = key(&runner);
            // A jobs service that begins anew asks for what runs already.
            let known = self.runners().get(&key).cloned();
            if let Some(known) = known {
                return Ok(known);
            }
            let child = ChildOptions { restart: Restart::Transient, grace: GRACE, ..ChildOptions::default() };
            let placed = self.system.spawn::<JobRunner>(key.clone(), runner, child).await.map_err(|e| e.to_string())?;
            self.runners().insert(key, placed.clone());
            Ok(placed)
        })
    }

    fn remove(&self, runner: RunnerArgs) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let key = key(&runner);
            self.system.stop(&key).await;
            self.runners().remove(&key);
        })
    }
}

/// How long a runner may take to end; longer than what it gives its run.
const GRACE: Duration = Duration::from_secs(15);

/// Runs on any node of a cluster that has room.
pub struct InTheCluster {
    pub cluster: ClusterNode,
    /// What a run takes of its node.
    pub demand: Demand,
}

/// How long one request for a place is kept open before it is renewed.
const PLACING: Duration = Duration::from_secs(60);

impl RunPlacer for InTheCluster {
    fn place(&self, runner: RunnerArgs) -> BoxFuture<'_, Result<Ref<RunnerMsg>, String>> {
        Box::pin(async move {
            let (key, demand) = (key(&runner), self.demand.clone());
            let placed = self.cluster.spawn::<JobRunner>(&key, &runner, Restart::Transient, demand, PLACING).await;
            placed.map_err(|e| e.to_string())
        })
    }

    fn remove(&self, runner: RunnerArgs) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.cluster.stop_actor(&key(&runner)).await {
                tracing::warn!(job = %runner.job, %error, "the runner of a job was not told to stop");
            }
        })
    }
}
