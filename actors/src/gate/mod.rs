//! The human gate: a question to a person that survives crashes, is decided exactly once, by
//! someone who may, and expires loudly.
//!
//! The gate is an actor under its story. It alone records its decision, one message at a time, so
//! two people who decide at once get one decision and one "already decided". [`Approvals`] is the
//! way in from outside, from any node: it finds the gates that are open in the cluster.

mod approvals;
mod core;
mod desk;

use std::time::Duration;

use fleet_runtime::actor::{Actor, ActorError, Context, Json, Message, Ref, ReplyTo};
use fleet_runtime::auth::Principal;
use fleet_runtime::{Author, Position, StreamWriter, Timestamp};
use tokio::task::JoinHandle;
use wincode::{SchemaRead, SchemaWrite};

pub use approvals::Approvals;
pub(crate) use approvals::{gate_id, more_id};
pub use core::{Approval, ApprovalError, Decided, Decision, GateCore};
pub use desk::{ApprovalDesk, DeskMsg};

use crate::event::StoryEvent;
use crate::record;
use crate::team::StoryMsg;

/// What a gate is told.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum GateMsg {
    /// A person decides.
    Decide {
        /// What.
        answer: Json<Decision>,
        /// Who.
        by: Principal,
        /// In the person's words.
        comment: String,
        /// What came of it.
        reply: ReplyTo<Json<Result<Decided, ApprovalError>>>,
    },
    /// The time may be up; if not, the gate says once more that it is open.
    Look,
}

impl Message for GateMsg {
    const KIND: &'static str = "fleet.gate";
}

/// What a gate starts from.
#[derive(Clone)]
pub(crate) struct GateArgs {
    pub approval: Approval,
    pub writer: StreamWriter,
    pub node: String,
    pub approvals: Approvals,
    pub story: Ref<StoryMsg>,
    /// The event that opened it.
    pub cause: Option<Position>,
}

/// One open gate.
pub(crate) struct HumanGate {
    args: GateArgs,
    core: GateCore,
    _timer: Timer,
}

/// A task that ends with its owner.
struct Timer(JoinHandle<()>);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for HumanGate {
    type Msg = GateMsg;
    type Args = GateArgs;

    async fn start(args: GateArgs, ctx: &Context<GateMsg>) -> Result<Self, ActorError> {
        let mut core = GateCore::new(args.approval.expires_at);
        // An earlier life may have recorded the decision and crashed before it told anybody.
        if let Some((decided, event, position)) = recorded(&args).await? {
            core.apply(decided);
            let told = StoryMsg::Decided { event: Json::new(event), position };
            args.story.tell(told).await.map_err(ActorError::failed)?;
        }
        args.approvals.open(args.approval.clone(), ctx.myself());
        let timer = Timer(look_again(core.expires_at(), ctx.myself()));
        Ok(Self { args, core, _timer: timer })
    }

    async fn handle(&mut self, msg: GateMsg, ctx: &Context<GateMsg>) -> Result<(), ActorError> {
        match msg {
            GateMsg::Decide { answer, by, comment, reply } => {
                let result = self.decide(answer, by, comment).await;
                let decided = result.is_ok();
                reply.send(Json::new(result));
                if decided {
                    ctx.stop();
                }
            }
            GateMsg::Look => {
                if self.core.decided().is_none() {
                    self.args.approvals.open(self.args.approval.clone(), ctx.myself());
                }
                if let Some(expired) = self.core.expire(&self.args.node, Timestamp::now()) {
                    let author = Author::Node(self.args.node.clone());
                    self.settle(expired, author, String::new()).await.map_err(ActorError::failed)?;
                    ctx.stop();
                }
            }
        }
        Ok(())
    }

    async fn stopped(&mut self, _: &Context<GateMsg>) {
        self.args.approvals.close(&self.args.approval.id);
    }
}

/// The decision on this gate, if it is in the journal.
async fn recorded(args: &GateArgs) -> Result<Option<(Decided, StoryEvent, Position)>, ActorError> {
    let history = args.writer.history().await.map_err(ActorError::failed)?;
    for envelope in history {
        let Some(Ok(event)) = StoryEvent::read(&envelope.kind, &envelope.payload) else { continue };
        if let StoryEvent::GateDecided { gate, decision, by, at, .. } = &event
            && *gate == args.approval.id
        {
            let decided = Decided { decision: *decision, by: by.clone(), at: *at };
            return Ok(Some((decided, event, envelope.position)));
        }
    }
    Ok(None)
}

fn look_again(expires_at: Timestamp, gate: Ref<GateMsg>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            // One tick later than the gate's own clock needs, so that `now >= expires_at` holds.
            let left = expires_at.since(Timestamp::now()) + Duration::from_millis(2);
            tokio::time::sleep(left.min(desk::SAY_AGAIN)).await;
            // An error means that the gate is gone: decided already.
            if gate.tell(GateMsg::Look).await.is_err() {
                return;
            }
        }
    })
}

impl HumanGate {
    async fn decide(
        &mut self,
        answer: Json<Decision>,
        by: Principal,
        comment: String,
    ) -> Result<Decided, ApprovalError> {
        let answer = answer.take().map_err(|why| ApprovalError::Unavailable { why })?;
        let decided = self.core.answer(answer, &by, Timestamp::now())?;
        self.settle(decided.clone(), Author::Person(by.name), comment).await?;
        Ok(decided)
    }

    /// Records the decision; only what is recorded is decided.
    async fn settle(&mut self, decided: Decided, by: Author, comment: String) -> Result<(), ApprovalError> {
        let unavailable = |why: String| ApprovalError::Unavailable { why };
        let job = self.args.approval.job.parse().map_err(|e| unavailable(format!("{e}")))?;
        let event = StoryEvent::GateDecided {
            gate: self.args.approval.id.clone(),
            attempt: self.args.approval.attempt,
            decision: decided.decision,
            by: decided.by.clone(),
            comment,
            at: decided.at,
        };
        let recorded = record::append(&self.args.writer, &job, by, &event, self.args.cause).await;
        let envelope = recorded.map_err(|e| unavailable(e.to_string()))?;
        let event = record::read(&envelope).map_err(|e| unavailable(e.to_string()))?;
        self.core.apply(decided);
        self.args.approvals.close(&self.args.approval.id);
        // If the story is between two lives it finds the decision in its journal.
        let told = StoryMsg::Decided { event: Json::new(event), position: envelope.position };
        let _ = self.args.story.tell(told).await;
        Ok(())
    }
}
