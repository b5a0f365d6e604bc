//! An engine that any node of a cluster may use: an actor that is placed on a node which has an engine of that name.

use std::sync::Arc;

use fleet_runtime::actor::{Actor, ActorError, Context};
use fleet_runtime::cluster::ActorKind;
use wincode::{SchemaRead, SchemaWrite};

use super::{EngineActor, EngineMsg};
use crate::Engine;

/// The engines of a node, for the actors that are placed there.
#[derive(Clone)]
pub struct NodeEngines(pub Arc<[Arc<dyn Engine>]>);

/// Which engine.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct PlacedArgs {
    /// Its name in the configuration of the nodes that have it.
    pub engine: String,
}

/// Serves the engine of its node with the name that it is given.
pub struct PlacedEngine(EngineActor);

impl Actor for PlacedEngine {
    type Msg = EngineMsg;
    type Args = PlacedArgs;

    async fn start(args: PlacedArgs, ctx: &Context<EngineMsg>) -> Result<Self, ActorError> {
        let NodeEngines(engines) = ctx.provided().await?;
        let engine = engines.iter().find(|engine| engine.info().name == args.engine).cloned();
        let missing = || ActorError::Failed(format!("this node has no engine {:?}", args.engine));
        EngineActor::start(engine.ok_or_else(missing)?, ctx).await.map(Self)
    }

    async fn handle(&mut self, msg: EngineMsg, ctx: &Context<EngineMsg>) -> Result<(), ActorError> {
        self.0.handle(msg, ctx).await
    }
}

impl ActorKind for PlacedEngine {
    const NAME: &'static str = "fleet.engine";
    const VERSION: u16 = 1;
}
