//! Agents on other nodes: an agent that the cluster places, and how a council has one made.

use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::actor::{Actor, ActorAddr, ActorError, Context, Json, Ref};
use fleet_runtime::cluster::{ActorKind, ClusterNode};
use fleet_runtime::job::{JobHost, RunOrder, RunnerArgs};
use fleet_runtime::placement::{Demand, Strategy};
use fleet_runtime::supervise::Restart;
use wincode::{SchemaRead, SchemaWrite};

use super::agent::{Agent, AgentArgs, AgentMsg};
use super::council::CouncilMsg;
use super::services::Services;
use super::work::Work;

/// How long a place for an agent is looked for; after that it works on the story's own node.
const PLACING: Duration = Duration::from_secs(2);

/// What an agent on another node is started with.
#[derive(Clone, Debug, SchemaWrite, SchemaRead)]
pub struct PlacedAgentArgs {
    /// The run that it takes part in.
    order: Json<RunOrder>,
    /// Its council.
    council: ActorAddr,
    /// Its proposal.
    attempt: u32,
}

/// An agent wherever there is room: with the services of its node and the journal's word for what was done already.
pub struct PlacedAgent(Agent);

impl Actor for PlacedAgent {
    type Msg = AgentMsg;
    type Args = PlacedAgentArgs;

    async fn start(args: PlacedAgentArgs, ctx: &Context<AgentMsg>) -> Result<Self, ActorError> {
        let services: Services = ctx.provided().await?;
        let host: JobHost = ctx.provided().await?;
        let cluster =
            services.cluster.clone().ok_or_else(|| ActorError::Failed("this node is in no cluster".into()))?;
        let order = args.order.take().map_err(ActorError::Failed)?;
        let context = host.context(&order, ctx.cancelled()).await.map_err(ActorError::failed)?;
        let work = Arc::new(Work::new(services, context).map_err(ActorError::failed)?);
        let council: Ref<CouncilMsg> = cluster.reference(args.council);
        Agent::start(AgentArgs { work, council, attempt: args.attempt }, ctx).await.map(Self)
    }

    async fn handle(&mut self, msg: AgentMsg, ctx: &Context<AgentMsg>) -> Result<(), ActorError> {
        self.0.handle(msg, ctx).await
    }
}

impl ActorKind for PlacedAgent {
    const NAME: &'static str = "fleet.agent";
    const VERSION: u16 = 1;
}

/// Has an agent made somewhere in the cluster; says why that can't be done now.
pub(crate) async fn place(work: &Work, council: &Ref<CouncilMsg>, attempt: u32) -> Result<(), String> {
    let cluster = cluster(work)?;
    let args = PlacedAgentArgs { order: Json::new(work.ctx.order.clone()), council: council.addr(), attempt };
    let demand = Demand {
        request: work.services.options.agent.request(),
        strategy: Strategy::Spread,
        group: Some(work.ctx.job.to_string()),
        ..Demand::default()
    };
    let key = key(work, attempt);
    let (owner, restart) = (RunnerArgs::key(&work.ctx.job, work.ctx.order.run), Restart::Transient);
    let placed = cluster.spawn_owned::<PlacedAgent>(&owner, &key, &args, restart, demand, PLACING).await;
    if placed.is_err() {
        // It may be made yet, when there is room: not any more.
        remove(work, attempt).await;
    }
    placed.map(drop).map_err(|e| e.to_string())
}

/// Ends that agent wherever it is.
pub(crate) async fn remove(work: &Work, attempt: u32) {
    let Ok(cluster) = cluster(work) else { return };
    if let Err(error) = cluster.stop_actor(&key(work, attempt)).await {
        tracing::warn!(job = %work.ctx.job, attempt, %error, "an agent was not told to stop");
    }
}

fn cluster(work: &Work) -> Result<&ClusterNode, String> {
    work.services.cluster.as_ref().ok_or_else(|| "this node is in no cluster".into())
}

fn key(work: &Work, attempt: u32) -> String {
    format!("{}/agent-{attempt}", RunnerArgs::key(&work.ctx.job, work.ctx.order.run))
}
