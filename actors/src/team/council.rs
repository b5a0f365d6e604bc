//! The council: hands proposals to agents and sees that each comes to an end.
//!
//! One agent a proposal, started for it and ended with it. An agent that crashes is started again
//! by supervision, says that it is up, and gets its assignment again; what it had recorded is not
//! done twice. One that crashes too often has its proposal recorded as crashed, and the others go on.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_runtime::actor::{Actor, ActorAddr, ActorError, Context, Json, Message, Ref, ReplyTo};
use fleet_runtime::supervise::{Intensity, Restart, SupervisorOptions};
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use super::agent::{Agent, AgentArgs, AgentMsg, empty_proposal};
use super::placed;
use super::story::StoryMsg;
use super::work::SharedWork;
use crate::event::{Candidate, Form, Proposal, StoryEvent};
use crate::role::Role;

/// What an agent is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Index of the proposal over all waves.
    pub attempt: u32,
    /// Its index within the wave.
    pub place: u32,
    /// The wave.
    pub round: u32,
    /// How many tries on this function came before; the first asks for the most likely answer.
    pub nth: u32,
    /// Who makes it.
    pub role: Role,
    /// The function to be rewritten.
    pub candidate: Candidate,
    /// The task of the plan.
    pub task: Option<String>,
    /// The attempt to be repaired, and what its run said.
    pub repairs: Option<(u32, String)>,
    /// Digest of the patch of the attempt to be repaired.
    pub repair_patch: Option<String>,
    /// The attempt whose change is kept and added to, and the digest of its patch.
    pub builds_on: Option<(u32, String)>,
    /// How the change is to be written.
    pub form: Form,
    /// Whether the bundle is recorded already.
    pub shown: bool,
}

/// Something that was denied or stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind.
    pub what: String,
    /// What was tried and what stopped it.
    pub detail: String,
}

/// A finished proposal, with what is to be recorded along with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The proposal.
    pub proposal: Proposal,
    /// What the agent was shown, unless that is recorded already.
    pub shown: Option<StoryEvent>,
    /// What was denied or stopped.
    pub findings: Vec<Finding>,
}

/// What a council is told.
#[expect(clippy::large_enum_variant, reason = "a handful of messages a story; a box would only add a hop")]
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum CouncilMsg {
    /// Let an agent make this proposal.
    Propose(Json<Assignment>),
    /// An agent is there, for the first time or again: it knows of no work.
    AgentUp {
        /// Its proposal.
        attempt: u32,
        /// The agent.
        agent: Ref<AgentMsg>,
        /// What it is to do; nothing, if that is done.
        reply: ReplyTo<Json<Option<Assignment>>>,
    },
    /// An agent is done. Told until it is answered.
    Done {
        /// What came of it.
        finished: Json<Finished>,
        /// Taken note of.
        reply: ReplyTo<()>,
    },
    /// An agent found the world broken: a journal, an engine or a gateway that is gone.
    Broken {
        /// What.
        why: String,
        /// Taken note of.
        reply: ReplyTo<()>,
    },
}

impl Message for CouncilMsg {
    const KIND: &'static str = "fleet.council";
}

#[derive(Clone)]
pub(crate) struct CouncilArgs {
    pub work: SharedWork,
    pub story: Ref<StoryMsg>,
}

pub(crate) struct Council {
    args: CouncilArgs,
    open: BTreeMap<u32, Open>,
    /// Where the agents are, by attempt; until they are dismissed.
    placed: BTreeMap<u32, Place>,
}

/// A proposal in progress.
struct Open {
    assignment: Assignment,
    begun: u32,
    /// The life of its agent that asked last.
    last: Option<ActorAddr>,
}

/// Where its agent is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Under the council itself.
    Here,
    /// On a node that the cluster found.
    Cluster,
}

impl Actor for Council {
    type Msg = CouncilMsg;
    type Args = CouncilArgs;

    async fn start(args: CouncilArgs, _: &Context<CouncilMsg>) -> Result<Self, ActorError> {
        args.story.tell(StoryMsg::CouncilUp).await.map_err(ActorError::failed)?;
        Ok(Self { args, open: BTreeMap::new(), placed: BTreeMap::new() })
    }

    async fn handle(&mut self, msg: CouncilMsg, ctx: &Context<CouncilMsg>) -> Result<(), ActorError> {
        match msg {
            CouncilMsg::Propose(assignment) => self.propose(assignment, ctx).await,
            CouncilMsg::AgentUp { attempt, agent, reply } => {
                let assignment = self.agent_up(attempt, agent.addr()).await?;
                reply.send(Json::new(assignment));
                Ok(())
            }
            CouncilMsg::Done { finished, reply } => {
                let attempt = self.done(finished).await?;
                reply.send(());
                self.dismiss(attempt, ctx).await;
                Ok(())
            }
            CouncilMsg::Broken { why, reply } => {
                self.args.story.tell(StoryMsg::Broken(why)).await.map_err(ActorError::failed)?;
                reply.send(());
                Ok(())
            }
        }
    }

    async fn stopped(&mut self, ctx: &Context<CouncilMsg>) {
        for attempt in self.placed.keys().copied().collect::<Vec<_>>() {
            self.dismiss(attempt, ctx).await;
        }
    }

    /// Crashes are counted for each proposal (`retries`), so the limit here is only against a storm.
    fn supervision() -> SupervisorOptions {
        SupervisorOptions {
            intensity: Intensity { max_restarts: 100, within: Duration::from_secs(10) },
            ..SupervisorOptions::default()
        }
    }
}

impl Council {
    async fn propose(&mut self, assignment: Json<Assignment>, ctx: &Context<CouncilMsg>) -> Result<(), ActorError> {
        let assignment = assignment.take().map_err(ActorError::Failed)?;
        let attempt = assignment.attempt;
        if self.open.contains_key(&attempt) {
            return Ok(());
        }
        // Before it is there: what it says when it comes up waits behind this message.
        self.open.insert(attempt, Open { assignment, begun: 0, last: None });
        let work = self.args.work.clone();
        if work.services.cluster.is_some() {
            match placed::place(&work, &ctx.myself(), attempt).await {
                Ok(()) => {
                    self.placed.insert(attempt, Place::Cluster);
                    return Ok(());
                }
                Err(why) => tracing::info!(job = %work.ctx.job, attempt, why, "no other place for an agent"),
            }
        }
        self.placed.insert(attempt, Place::Here);
        let args = AgentArgs { work, council: ctx.myself(), attempt };
        ctx.spawn::<Agent>(child(attempt), args, Restart::Transient).await?;
        Ok(())
    }

    /// Ends an agent, wherever it is.
    async fn dismiss(&mut self, attempt: u32, ctx: &Context<CouncilMsg>) {
        match self.placed.remove(&attempt) {
            Some(Place::Here) => ctx.stop_child(&child(attempt)).await,
            Some(Place::Cluster) => placed::remove(&self.args.work, attempt).await,
            None => {}
        }
    }

    async fn agent_up(&mut self, attempt: u32, agent: ActorAddr) -> Result<Option<Assignment>, ActorError> {
        let Some(open) = self.open.get_mut(&attempt) else { return Ok(None) };
        // The same life asks again if the answer got lost.
        if open.last.replace(agent) != Some(agent) {
            open.begun += 1;
        }
        if open.begun > self.args.work.services.options.council.retries + 1 {
            let why = format!("its agent crashed {} times", open.begun - 1);
            let proposal = empty_proposal(&self.args.work, &open.assignment, why);
            self.open.remove(&attempt);
            // It stays idle until the council ends.
            self.report(Finished { proposal, shown: None, findings: Vec::new() }).await?;
            return Ok(None);
        }
        Ok(Some(open.assignment.clone()))
    }

    /// Gives the attempt, which may have been done before.
    async fn done(&mut self, finished: Json<Finished>) -> Result<u32, ActorError> {
        let finished = finished.take().map_err(ActorError::Failed)?;
        let attempt = finished.proposal.attempt;
        if self.open.remove(&attempt).is_some() {
            self.report(finished).await?;
        }
        Ok(attempt)
    }

    async fn report(&self, finished: Finished) -> Result<(), ActorError> {
        self.args.story.tell(StoryMsg::Finished(Json::new(finished))).await.map_err(ActorError::failed)
    }
}

fn child(attempt: u32) -> String {
    format!("agent-{attempt}")
}
