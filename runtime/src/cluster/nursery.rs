//! The parent of all actors that a node starts for others.
//!
//! They have nothing to do with each other: one that fails too often ends alone, and its end is news for the control node.

use std::sync::Arc;

use tokio::sync::OnceCell;
use wincode::{SchemaRead, SchemaWrite};

use crate::actor::{Actor, ActorError, Context, Life, Message, System};
use crate::supervise::{ChildOptions, Strategy, Supervisor, SupervisorOptions};

const NAME: &str = "cluster-actors";

/// Nothing is ever said to it.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) struct NurseryMsg;

impl Message for NurseryMsg {
    const KIND: &'static str = "fleet.cluster.nursery";
}

pub(super) struct Nursery;

impl Nursery {
    /// Gives the supervisor under which the children are started.
    pub async fn start(system: &System) -> Result<Supervisor, ActorError> {
        let out: Arc<OnceCell<Supervisor>> = Arc::default();
        system.spawn_as::<Self>(Life::first(), NAME.into(), out.clone(), ChildOptions::default()).await?;
        out.get().cloned().ok_or(ActorError::ParentEnding)
    }
}

impl Actor for Nursery {
    type Msg = NurseryMsg;
    type Args = Arc<OnceCell<Supervisor>>;

    async fn start(out: Arc<OnceCell<Supervisor>>, ctx: &Context<NurseryMsg>) -> Result<Self, ActorError> {
        let supervisor = ctx.supervisor().await?;
        // It has no messages and its children never escalate, so there is no second life of it.
        let _ = out.set(supervisor);
        Ok(Self)
    }

    async fn handle(&mut self, _: NurseryMsg, _: &Context<NurseryMsg>) -> Result<(), ActorError> {
        Ok(())
    }

    fn supervision() -> SupervisorOptions {
        SupervisorOptions { strategy: Strategy::EachForItself, ..SupervisorOptions::default() }
    }
}
