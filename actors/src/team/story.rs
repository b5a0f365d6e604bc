//! The actor of one story: folds the journal, asks the core what is next, and records what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_runtime::actor::{Actor, ActorError, Context, Json, Message, Ref};
use fleet_runtime::job::JobOutcome;
use fleet_runtime::supervise::Restart;
use fleet_runtime::{Author, Position, Timestamp};
use serde_json::json;
use tokio::sync::watch;
use wincode::{SchemaRead, SchemaWrite};

use super::council::{Council, CouncilArgs, CouncilMsg, Finished};
use super::job::End;
use super::steps;
use super::work::{SharedWork, StepError};
use crate::core::{Command, Slot, StoryCore};
use crate::event::Candidate;
use crate::event::{ProbeFile, StoryEvent, TaskNote};
use crate::gate::{GateArgs, HumanGate};
use crate::record;
use crate::role::Roles;

/// What a story is told.
#[expect(clippy::large_enum_variant, reason = "a handful of messages a story; a box would only add a hop")]
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum StoryMsg {
    /// Do what is next.
    Step,
    /// The council is there, for the first time or again: it knows of no work.
    CouncilUp,
    /// A proposal is finished.
    Finished(Json<Finished>),
    /// The world is broken; the story is to be taken up again later.
    Broken(String),
    /// A gate was decided, and that is recorded.
    Decided {
        /// The recorded event.
        event: Json<StoryEvent>,
        /// Where.
        position: Position,
    },
}

impl Message for StoryMsg {
    const KIND: &'static str = "fleet.story";
}

#[derive(Clone)]
pub(crate) struct StoryArgs {
    pub work: SharedWork,
    pub roles: Roles,
    pub end: Arc<watch::Sender<End>>,
}

/// What the fold of the journal knows beside the core: the contents that steps need.
#[derive(Default)]
pub(crate) struct Known {
    pub candidates: Vec<Candidate>,
    pub tasks: Vec<TaskNote>,
    /// How the architect wants it done.
    pub approach: String,
    /// What runs of executed attempts said.
    pub said: Vec<(u32, String)>,
    /// Further tests, where some were written.
    pub probes: Option<ProbeFile>,
    /// For whom a bundle is recorded already.
    pub shown: BTreeSet<String>,
    /// Position and author of the decision at the gate.
    pub approval: Option<(Position, StoryEvent)>,
    /// The open gate.
    pub gate: Option<StoryEvent>,
    /// Since when it is.
    pub gate_opened_at: Option<Timestamp>,
    /// The last story event; what comes next is caused by it.
    pub last: Option<Position>,
    /// The commit.
    pub commit: Option<StoryEvent>,
    /// How the story ended.
    pub ended: Option<StoryEvent>,
}

pub(crate) struct StoryActor {
    pub work: SharedWork,
    pub core: StoryCore,
    pub known: Known,
    pub roles: Roles,
    in_flight: BTreeSet<String>,
    council: Ref<CouncilMsg>,
    end: Arc<watch::Sender<End>>,
    waiting: bool,
}

impl Actor for StoryActor {
    type Msg = StoryMsg;
    type Args = StoryArgs;

    async fn start(args: StoryArgs, ctx: &Context<StoryMsg>) -> Result<Self, ActorError> {
        let StoryArgs { work, roles, end } = args;
        let council_args = CouncilArgs { work: work.clone(), story: ctx.myself() };
        let council = ctx.spawn::<Council>("council", council_args, Restart::Transient).await?;
        let mut story = Self {
            roles,
            core: StoryCore::new(work.limits.clone()),
            known: Known::default(),
            in_flight: BTreeSet::new(),
            waiting: false,
            work,
            council,
            end,
        };
        story.recover()?;
        ctx.myself().tell(StoryMsg::Step).await.map_err(ActorError::failed)?;
        Ok(story)
    }

    async fn handle(&mut self, msg: StoryMsg, ctx: &Context<StoryMsg>) -> Result<(), ActorError> {
        let mut handled = match msg {
            StoryMsg::Step => Ok(()),
            StoryMsg::CouncilUp => {
                self.in_flight.retain(|key| !key.starts_with("propose/"));
                Ok(())
            }
            StoryMsg::Finished(finished) => self.finished(finished).await,
            StoryMsg::Broken(why) => Err(StepError::Broken(why)),
            StoryMsg::Decided { event, position } => self.decided(event, position).await,
        };
        if handled.is_ok() {
            handled = self.advance(ctx).await;
        }
        let end = match handled {
            Ok(()) if self.known.ended.is_some() => Ok(self.outcome()),
            Ok(()) => return Ok(()),
            Err(why) => Err(why),
        };
        self.end.send_replace(Some(end));
        ctx.stop();
        Ok(())
    }
}

impl StoryActor {
    /// Folds what earlier runs recorded.
    fn recover(&mut self) -> Result<(), ActorError> {
        let work = self.work.clone();
        for envelope in &work.ctx.history {
            match StoryEvent::read(&envelope.kind, &envelope.payload) {
                Some(Ok(event)) => self.apply(event, envelope.position, envelope.at),
                // Going on without it might do something twice.
                Some(Err(e)) => {
                    let why = format!("event {} can't be read: {e}", envelope.position);
                    return Err(ActorError::failed(why));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: StoryEvent, position: Position, at: Timestamp) {
        self.core.apply(&event);
        self.known.last = Some(position);
        match event {
            StoryEvent::Localised { candidates, .. } => self.known.candidates = candidates,
            StoryEvent::Design { approach, .. } => self.known.approach = approach,
            StoryEvent::Plan { tasks, .. } => self.known.tasks = tasks,
            StoryEvent::Verdict { attempt, said, .. } => self.known.said.push((attempt, said)),
            StoryEvent::Probes { file, .. } => self.known.probes = file,
            StoryEvent::Bundle { task: Some(task), .. } => drop(self.known.shown.insert(task)),
            gate @ StoryEvent::GateOpened { .. } => {
                self.known.gate = Some(gate);
                self.known.gate_opened_at = Some(at);
            }
            decided @ StoryEvent::GateDecided { .. } => self.known.approval = Some((position, decided)),
            commit @ StoryEvent::Committed { .. } => self.known.commit = Some(commit),
            ended @ StoryEvent::Ended { .. } => self.known.ended = Some(ended),
            _ => {}
        }
    }

    /// Records events, all or none, and folds them.
    pub(crate) async fn record(&mut self, events: Vec<(Author, StoryEvent)>) -> Result<(), StepError> {
        let mut new = Vec::with_capacity(events.len());
        for (by, event) in &events {
            new.push(record::new_event(&self.work.ctx.job, by.clone(), event, self.known.last)?);
        }
        let recorded = self.work.ctx.writer.append_all(new).await?;
        // As recorded, that is redacted: a later run will see nothing else.
        for envelope in &recorded {
            self.apply(record::read(envelope)?, envelope.position, envelope.at);
        }
        Ok(())
    }

    /// Does all that can be done now; what is handed out reports back by a message.
    async fn advance(&mut self, ctx: &Context<StoryMsg>) -> Result<(), StepError> {
        while let Some(command) = self.hand_out(ctx).await? {
            let events = self.carry_out(command).await?;
            self.record(events).await?;
        }
        Ok(())
    }

    /// Hands out what others do, and gives the next command that is done here.
    async fn hand_out(&mut self, ctx: &Context<StoryMsg>) -> Result<Option<Command>, StepError> {
        let commands = self.core.next();
        for command in commands.into_iter().filter(|c| !self.in_flight.contains(&c.key())).collect::<Vec<_>>() {
            match command {
                Command::Propose(slot) => self.propose(slot).await?,
                Command::AwaitGate { .. } => self.await_gate(ctx).await?,
                command => return Ok(Some(command)),
            }
        }
        Ok(None)
    }

    /// Hands a proposal to the council, if it isn't busy with as many as allowed.
    async fn propose(&mut self, slot: Slot) -> Result<(), StepError> {
        let parallel = self.work.services.options.council.parallel.max(1) as usize;
        if self.in_flight.len() >= parallel {
            return Ok(());
        }
        let assignment = steps::assignment(self, slot);
        let told = self.council.tell(CouncilMsg::Propose(Json::new(assignment))).await;
        told.map_err(|e| StepError::Broken(format!("council: {e}")))?;
        self.in_flight.insert(Command::Propose(slot).key());
        Ok(())
    }

    async fn carry_out(&mut self, command: Command) -> Result<Vec<(Author, StoryEvent)>, StepError> {
        if let Some(late) = self.too_late() {
            return Ok(vec![(self.work.node(), late)]);
        }
        let result = steps::carry_out(self, command).await;
        match result {
            // What can't be done is the story's end, and says so.
            Err(StepError::Failed(summary)) => {
                let ended = StoryEvent::Ended { success: false, summary, best: self.core.best() };
                Ok(vec![(self.work.node(), ended)])
            }
            other => other,
        }
    }

    /// Gives up on a story that takes longer than someone has allowed it, a person's time excepted.
    fn too_late(&self) -> Option<StoryEvent> {
        let minutes = self.work.spec.limits.minutes.or(self.work.services.options.council.minutes)?;
        let started = self.work.ctx.record.started_at?;
        let decided = self.known.approval.is_some() || self.known.gate.is_some();
        let over = Timestamp::now().since(started).as_secs() > minutes.saturating_mul(60);
        (over && !decided && self.known.ended.is_none()).then(|| StoryEvent::Ended {
            success: false,
            summary: format!("given up after {minutes} minutes; raise `limits.minutes` if the engine is that slow"),
            best: self.core.best(),
        })
    }

    async fn finished(&mut self, finished: Json<Finished>) -> Result<(), StepError> {
        let finished = finished.take().map_err(StepError::Broken)?;
        let attempt = finished.proposal.attempt;
        self.in_flight.remove(&format!("propose/{attempt}"));
        if self.core.attempts().contains_key(&attempt) {
            return Ok(());
        }
        let events = steps::proposal_events(self, finished);
        self.record(events).await
    }

    async fn await_gate(&mut self, ctx: &Context<StoryMsg>) -> Result<(), StepError> {
        let Some(approval) = steps::approval(self) else {
            return Err(StepError::Broken("a gate is awaited that was never opened".into()));
        };
        let args = GateArgs {
            writer: self.work.ctx.writer.clone(),
            node: self.work.services.node.clone(),
            approvals: self.work.services.approvals.clone(),
            story: ctx.myself(),
            cause: self.known.last,
            approval,
        };
        self.in_flight.insert("gate".into());
        let what = args.approval.question.clone();
        // A story may ask more than once, and the gate before may still be ending.
        let name = format!("gate/{}", args.approval.id);
        ctx.spawn::<HumanGate>(&name, args, Restart::Transient).await.map_err(|e| StepError::Broken(e.to_string()))?;
        self.waiting = true;
        let begin = self.work.ctx.waiting.begin(what);
        self.work.cancellable(async { begin.await.map_err(|e| StepError::Broken(e.to_string())) }).await
    }

    async fn decided(&mut self, event: Json<StoryEvent>, position: Position) -> Result<(), StepError> {
        let event = event.take().map_err(StepError::Broken)?;
        self.apply(event, position, Timestamp::now());
        self.in_flight.remove("gate");
        if std::mem::take(&mut self.waiting) {
            let resume = self.work.ctx.waiting.resume();
            self.work.cancellable(async { resume.await.map_err(|e| StepError::Broken(e.to_string())) }).await?;
        }
        Ok(())
    }

    fn outcome(&self) -> JobOutcome {
        match &self.known.ended {
            Some(StoryEvent::Ended { success, summary, best }) => JobOutcome {
                success: *success,
                summary: summary.clone(),
                detail: json!({
                    "best": best,
                    "attempts": self.core.attempts().len(),
                    "commit": self.known.commit,
                }),
            },
            _ => JobOutcome { success: false, summary: "no end is recorded".into(), detail: json!(null) },
        }
    }
}
