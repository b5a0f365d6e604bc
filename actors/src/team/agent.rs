//! The actor of one proposal: takes its assignment, works on it in turns, reports.
//!
//! It keeps nothing: an agent that is begun again gets its assignment again and goes the same way
//! through what is recorded (see [`super::turns`]).

use fleet_runtime::Author;
use fleet_runtime::actor::{Actor, ActorError, Context, Json, Message, Ref};
use wincode::{SchemaRead, SchemaWrite};

use super::council::{Assignment, CouncilMsg, Finished};
use super::think::seed;
use super::turns::Turns;
use super::work::{SharedWork, StepError, Work};
use crate::event::{EngineLabel, Proposal, ProposalEnd, Spend};

/// Role of those who propose.
pub(super) const ROLE: &str = "developer";

/// What an agent is told.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum AgentMsg {
    /// Make this proposal.
    Propose(Json<Assignment>),
}

impl Message for AgentMsg {
    const KIND: &'static str = "fleet.agent";
}

#[derive(Clone)]
pub(crate) struct AgentArgs {
    pub work: SharedWork,
    pub council: Ref<CouncilMsg>,
    pub attempt: u32,
}

pub(crate) struct Agent {
    args: AgentArgs,
}

impl Actor for Agent {
    type Msg = AgentMsg;
    type Args = AgentArgs;

    async fn start(args: AgentArgs, ctx: &Context<AgentMsg>) -> Result<Self, ActorError> {
        let up = CouncilMsg::AgentUp { attempt: args.attempt, agent: ctx.myself() };
        args.council.tell(up).await.map_err(ActorError::failed)?;
        Ok(Self { args })
    }

    async fn handle(&mut self, msg: AgentMsg, ctx: &Context<AgentMsg>) -> Result<(), ActorError> {
        let AgentMsg::Propose(assignment) = msg;
        let assignment = assignment.take().map_err(ActorError::Failed)?;
        let turns = Turns::new(&self.args.work, assignment.clone());
        let ended = ctx.cancelled();
        let result = tokio::select! {
            biased;
            () = ended.cancelled() => return Ok(()),
            result = turns.run() => result,
        };
        let report = match result {
            Ok(finished) => CouncilMsg::Done(Json::new(finished)),
            Err(StepError::Failed(why)) => {
                let proposal = empty_proposal(&self.args.work, &assignment, why);
                CouncilMsg::Done(Json::new(Finished { proposal, shown: None, findings: Vec::new() }))
            }
            Err(StepError::Broken(why)) => CouncilMsg::Broken(why),
            // The whole story is ending; there is nobody to report to.
            Err(StepError::Cancelled) => return Ok(()),
        };
        self.args.council.tell(report).await.map_err(ActorError::failed)
    }
}

/// Name of the agent that works on a place of the council.
pub(crate) fn name(place: u32) -> String {
    format!("{ROLE}-{}", place + 1)
}

/// Who that is, as an author of events.
pub(crate) fn author(place: u32) -> Author {
    Author::Agent { role: ROLE.into(), name: name(place) }
}

/// A proposal without a change.
pub(crate) fn empty_proposal(work: &Work, assignment: &Assignment, why: String) -> Proposal {
    Proposal {
        attempt: assignment.attempt,
        round: assignment.round,
        repairs: assignment.repairs.as_ref().map(|(attempt, _)| *attempt),
        agent: name(assignment.place),
        engine: EngineLabel::default(),
        target: target(assignment),
        seed: format!("{:016x}", seed(work.story.seed, assignment.attempt)),
        temperature: temperature(work, assignment),
        bundle: String::new(),
        end: ProposalEnd::Nothing { why },
        effects: Vec::new(),
        spend: Spend::default(),
    }
}

fn target(assignment: &Assignment) -> String {
    format!("{}:{}", assignment.candidate.path, assignment.candidate.function)
}

fn temperature(work: &Work, assignment: &Assignment) -> f32 {
    if assignment.greedy { 0.0 } else { work.services.options.agent.temperature }
}
