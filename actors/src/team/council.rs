//! The council: hands proposals to agents and sees that each comes to an end.
//!
//! One agent a proposal, started for it and ended with it. An agent that crashes is started again
//! by supervision, says that it is up, and gets its assignment again; what it had recorded is not
//! done twice. One that crashes too often has its proposal recorded as crashed, and the others go on.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_runtime::actor::{Actor, ActorError, Context, Json, Message, Ref};
use fleet_runtime::supervise::{Intensity, Restart, SupervisorOptions};
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use super::agent::{Agent, AgentArgs, AgentMsg, empty_proposal};
use super::story::StoryMsg;
use super::work::SharedWork;
use crate::event::{Candidate, Proposal, StoryEvent};

/// What an agent is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Index of the proposal over all rounds.
    pub attempt: u32,
    /// Its index within the round.
    pub place: u32,
    /// The round.
    pub round: u32,
    /// The most likely answer is asked for, not a sampled one.
    pub greedy: bool,
    /// The function to be rewritten.
    pub candidate: Candidate,
    /// The task of the plan.
    pub task: Option<String>,
    /// The attempt to be repaired, and what its run said.
    pub repairs: Option<(u32, String)>,
    /// Digest of the patch of the attempt to be repaired.
    pub repair_patch: Option<String>,
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
    },
    /// An agent is done.
    Done(Json<Finished>),
    /// An agent found the world broken: a journal, an engine or a gateway that is gone.
    Broken(String),
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
}

/// A proposal in progress.
struct Open {
    assignment: Assignment,
    begun: u32,
}

impl Actor for Council {
    type Msg = CouncilMsg;
    type Args = CouncilArgs;

    async fn start(args: CouncilArgs, _: &Context<CouncilMsg>) -> Result<Self, ActorError> {
        args.story.tell(StoryMsg::CouncilUp).await.map_err(ActorError::failed)?;
        Ok(Self { args, open: BTreeMap::new() })
    }

    async fn handle(&mut self, msg: CouncilMsg, ctx: &Context<CouncilMsg>) -> Result<(), ActorError> {
        match msg {
            CouncilMsg::Propose(assignment) => self.propose(assignment, ctx).await,
            CouncilMsg::AgentUp { attempt, agent } => self.agent_up(attempt, &agent).await,
            CouncilMsg::Done(finished) => self.done(finished, ctx).await,
            CouncilMsg::Broken(why) => self.args.story.tell(StoryMsg::Broken(why)).await.map_err(ActorError::failed),
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
        self.open.insert(attempt, Open { assignment, begun: 0 });
        let args = AgentArgs { work: self.args.work.clone(), council: ctx.myself(), attempt };
        ctx.spawn::<Agent>(child(attempt), args, Restart::Transient).await?;
        Ok(())
    }

    async fn agent_up(&mut self, attempt: u32, agent: &Ref<AgentMsg>) -> Result<(), ActorError> {
        let Some(open) = self.open.get_mut(&attempt) else { return Ok(()) };
        open.begun += 1;
        if open.begun > self.args.work.services.options.council.retries + 1 {
            let why = format!("its agent crashed {} times", open.begun - 1);
            let proposal = empty_proposal(&self.args.work, &open.assignment, why);
            self.open.remove(&attempt);
            // It stays idle until the council ends.
            return self.report(Finished { proposal, shown: None, findings: Vec::new() }).await;
        }
        let assignment = Json::new(open.assignment.clone());
        // If it is gone already it will say so when it is up again.
        let _ = agent.tell(AgentMsg::Propose(assignment)).await;
        Ok(())
    }

    async fn done(&mut self, finished: Json<Finished>, ctx: &Context<CouncilMsg>) -> Result<(), ActorError> {
        let finished = finished.take().map_err(ActorError::Failed)?;
        let attempt = finished.proposal.attempt;
        if self.open.remove(&attempt).is_none() {
            return Ok(());
        }
        self.report(finished).await?;
        ctx.stop_child(&child(attempt)).await;
        Ok(())
    }

    async fn report(&self, finished: Finished) -> Result<(), ActorError> {
        self.args.story.tell(StoryMsg::Finished(Json::new(finished))).await.map_err(ActorError::failed)
    }
}

fn child(attempt: u32) -> String {
    format!("agent-{attempt}")
}
