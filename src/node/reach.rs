//! The engines that this node can reach: its own, and those of the other nodes of its cluster.
//!
//! An engine is a service of its node, so who knows the node and the engine's name can ask it. Both are read from what the
//! nodes offer, and read again in the background when that is old: who asks for an engine doesn't wait for the control node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_inference::{EngineHandle, EngineRouter, Engines, Served, Wanted};
use fleet_runtime::actor::System;
use fleet_runtime::cluster::ClusterNode;
use fleet_runtime::id::NodeId;
use fleet_runtime::membership::MemberState;
use tokio::time::Instant;

use crate::config::engine_of_resource;

/// How long what the cluster offers is taken to be the same.
const FRESH: Duration = Duration::from_secs(2);
/// How often a node that joins looks for an engine.
const LOOK: Duration = Duration::from_millis(250);

/// The service that an engine of that name is on its node.
pub(super) fn service(engine: &str) -> String {
    format!("engine.{engine}")
}

/// This node's own engines, and then those that the cluster has beside them.
pub(super) fn engines(own: Vec<Served>, me: NodeId, cluster: ClusterNode, system: System) -> Engines {
    let reach = Arc::new(Reach { own, me, cluster, system, others: Mutex::default() });
    Arc::new(move || {
        let reach = reach.clone();
        Box::pin(async move { reach.all().await })
    })
}

/// Waits until the cluster has an engine of that name.
pub(super) async fn wait(router: &EngineRouter, engine: &str, deadline: Duration) -> Option<EngineRouter> {
    let router = router.wanting(Wanted::LikeEngine(engine.to_owned()));
    let there = async {
        while router.candidates().await.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(deadline, there).await.ok()?;
    Some(router)
}

/// A node that drains gets no new actors, but its engines still answer.
fn is_there(state: MemberState) -> bool {
    matches!(state, MemberState::Alive | MemberState::Suspect | MemberState::Draining)
}

struct Reach {
    own: Vec<Served>,
    me: NodeId,
    cluster: ClusterNode,
    system: System,
    others: Mutex<Others>,
}

#[derive(Default)]
struct Others {
    served: Vec<Served>,
    /// When it was looked last, or begun to be.
    looked: Option<Instant>,
}

impl Reach {
    async fn all(self: Arc<Self>) -> Vec<Served> {
        let (old, never) = {
            let mut others = self.others();
            let old = others.looked.is_none_or(|looked| looked.elapsed() >= FRESH);
            let never = others.looked.is_none();
            if old {
                others.looked = Some(Instant::now());
            }
            (old, never)
        };
        if old {
            let looking = tokio::spawn(Arc::clone(&self).look());
            // Who has nothing else waits for the first answer.
            if never && self.own.is_empty() {
                let _ = looking.await;
            }
        }
        self.own.iter().chain(&self.others().served).cloned().collect()
    }

    /// Where the control node can't be reached, what was known stays.
    async fn look(self: Arc<Self>) {
        let Ok(nodes) = self.cluster.nodes().await else { return };
        let mut served = Vec::new();
        for node in nodes.iter().filter(|node| node.id != self.me && is_there(node.state)) {
            for name in node.totals.custom.keys().filter_map(|resource| engine_of_resource(resource)) {
                let engine = self.cluster.service_on(node.id, &service(name));
                let handle = EngineHandle::new(&self.system, engine);
                served.push(Served { name: name.to_owned(), node: node.name.clone(), handle });
            }
        }
        self.others().served = served;
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        // What is behind the lock is whole at every moment.
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
