//! The actor of one proposal: asks for its assignment, works on it in turns, reports.
//!
//! It keeps nothing: an agent that is begun again gets its assignment again and goes the same way
//! through what is recorded (see [`super::turns`]).

use std::time::Duration;

use fleet_runtime::actor::{Actor, ActorError, AskError, Context, Json, Message, Ref, ReplyTo};
use fleet_runtime::{Author, Wire, trace};
use wincode::{SchemaRead, SchemaWrite};

use super::council::{Assignment, CouncilMsg, Finished};
use super::think::seed;
use super::turns::Turns;
use super::work::{SharedWork, StepError, Work};
use crate::event::{EngineLabel, Proposal, ProposalEnd, Spend};

/// What an agent is told.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum AgentMsg {
    /// Ask the council for your proposal, and make it.
    Begin,
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
        // Not asked here: the council may be waiting for this start.
        ctx.myself().tell(AgentMsg::Begin).await.map_err(ActorError::failed)?;
        Ok(Self { args })
    }

    async fn handle(&mut self, _: AgentMsg, ctx: &Context<AgentMsg>) -> Result<(), ActorError> {
        let (ended, run) = (ctx.cancelled(), self.args.work.ctx.order.run);
        tokio::select! {
            biased;
            () = ended.cancelled() => Ok(()),
            done = trace::for_job(&self.args.work.ctx.job, run, self.work(ctx.myself())) => done,
        }
    }
}

impl Agent {
    async fn work(&self, me: Ref<AgentMsg>) -> Result<(), ActorError> {
        let attempt = self.args.attempt;
        tracing::info!(attempt, "an agent begins");
        let up = |reply| CouncilMsg::AgentUp { attempt, agent: me.clone(), reply };
        let assignment = self.ask_council(up).await?.take().map_err(ActorError::Failed)?;
        // It is done, or has crashed too often: there is nothing more to do.
        let Some(assignment) = assignment else { return Ok(()) };
        // Boxed: a future as deep as all of an agent's work is more than the compiler lays out in one piece.
        let report = match Box::pin(Turns::new(&self.args.work, assignment.clone()).run()).await {
            Ok(finished) => finished,
            Err(StepError::Failed(why)) => {
                let proposal = empty_proposal(&self.args.work, &assignment, why);
                Finished { proposal, shown: None, findings: Vec::new() }
            }
            Err(StepError::Broken(why)) => {
                return self.ask_council(|reply| CouncilMsg::Broken { why: why.clone(), reply }).await;
            }
            // The whole story is ending; there is nobody to report to.
            Err(StepError::Cancelled) => return Ok(()),
        };
        self.ask_council(|reply| CouncilMsg::Done { finished: Json::new(report.clone()), reply }).await
    }

    /// Asks until there is an answer: the council may be on another node, and a message to it be lost on the way. It takes
    /// the same message twice as once.
    async fn ask_council<R>(&self, question: impl Fn(ReplyTo<R>) -> CouncilMsg) -> Result<R, ActorError>
    where
        R: Wire + Send + 'static,
    {
        loop {
            match self.args.council.ask(ANSWER, &question).await {
                Ok(answer) => return Ok(answer),
                Err(error @ AskError::Gone) => return Err(ActorError::failed(error)),
                Err(error) => {
                    tracing::debug!(attempt = self.args.attempt, %error, "the council doesn't answer an agent");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

/// How long the council may take to answer; it records what it is told.
const ANSWER: Duration = Duration::from_secs(20);
/// Pause before it is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Name of the agent that works on a place of the council.
pub(crate) fn name(assignment: &Assignment) -> String {
    format!("{}-{}", assignment.role.name, assignment.place + 1)
}

/// Who makes a proposal, as an author of events.
pub(crate) fn author(assignment: &Assignment) -> Author {
    Author::Agent { role: assignment.role.name.clone(), name: name(assignment) }
}

/// A proposal without a change.
pub(crate) fn empty_proposal(work: &Work, assignment: &Assignment, why: String) -> Proposal {
    Proposal {
        attempt: assignment.attempt,
        round: assignment.round,
        repairs: assignment.repairs.as_ref().map(|(attempt, _)| *attempt),
        builds_on: assignment.builds_on.as_ref().map(|(attempt, _)| *attempt),
        form: assignment.form,
        role: assignment.role.name.clone(),
        agent: name(assignment),
        engine: EngineLabel::default(),
        target: assignment.candidate.target(),
        seed: format!("{:016x}", seed(work.story.seed, assignment.attempt)),
        temperature: temperature(work, assignment),
        bundle: String::new(),
        end: ProposalEnd::Nothing { why },
        effects: Vec::new(),
        spend: Spend::default(),
    }
}

/// The first try on a function is the model's most likely answer; the others vary how far from it they go.
fn temperature(work: &Work, assignment: &Assignment) -> f32 {
    const VARIED: [f32; 3] = [0.75, 1.0, 1.25];
    match assignment.nth {
        0 => 0.0,
        nth => {
            let usual = assignment.role.temperature.unwrap_or(work.services.options.agent.temperature);
            usual * VARIED[nth as usize % VARIED.len()]
        }
    }
}
