//! The jobs actor: records, starts, stops and recovers jobs as its core decides.
//!
//! Every change is recorded before it takes effect. When the journal refuses, the actor fails
//! rather than go on with a state that isn't recorded: its next life folds the journal anew and
//! queues again what the failed one ran.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wincode::{SchemaRead, SchemaWrite};

use super::core::{Admission, Decision, JobsCore, RunEnd};
use super::event::JobEvent;
use super::handle::JobsPorts;
use super::kind::{JobContext, JobKind, WaitingHandle};
use super::options::JobsOptions;
use super::record::{JobError, JobRecord, JobState, JobSubmit};
use super::run::{self, Owned, Run};
use crate::actor::{Actor, ActorError, Context, Json, Message, ReplyTo};
use crate::effect::Effects;
use crate::id::{JobId, Seq, StreamId};
use crate::journal::{Author, JournalError};
use crate::stream::StreamWriter;
use crate::time::Timestamp;

type Answer<T> = ReplyTo<Json<Result<T, JobError>>>;

/// What the jobs actor is told.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum JobsMsg {
    Submit {
        submit: Json<JobSubmit>,
        reply: Answer<JobRecord>,
    },
    Get {
        job: JobId,
        reply: Answer<JobRecord>,
    },
    List {
        reply: Answer<Vec<JobRecord>>,
    },
    Stop {
        job: JobId,
        by: Author,
        reason: String,
        reply: Answer<JobRecord>,
    },
    Delete {
        job: JobId,
        reply: Answer<()>,
    },
    /// From a run: it waits for a person.
    Waiting {
        job: JobId,
        run: u32,
        what: String,
        reply: Answer<()>,
    },
    /// From a run: it could go on.
    Resume {
        job: JobId,
        run: u32,
        reply: Answer<()>,
    },
    /// From a run: it has ended.
    Ended {
        job: JobId,
        run: u32,
        end: Json<RunEnd>,
    },
    /// A stop has taken too long.
    Overdue {
        job: JobId,
        run: u32,
    },
    /// A retry may be due.
    Due,
}

impl Message for JobsMsg {
    const KIND: &'static str = "fleet.jobs";
}

/// What each life of the service starts from.
#[derive(Clone)]
pub struct JobsArgs {
    options: JobsOptions,
    kinds: Arc<BTreeMap<String, Arc<dyn JobKind>>>,
    ports: JobsPorts,
}

impl JobsArgs {
    pub(super) fn new(options: JobsOptions, kinds: Vec<Arc<dyn JobKind>>, ports: JobsPorts) -> Self {
        let kinds = kinds.into_iter().map(|k| (k.name().to_owned(), k)).collect();
        Self { options, kinds: Arc::new(kinds), ports }
    }
}

/// The actor behind [`Jobs`](super::Jobs).
pub struct JobsActor {
    args: JobsArgs,
    core: JobsCore,
    runs: HashMap<JobId, Run>,
    alarm: Option<Owned>,
}

/// Events read at a time.
const PAGE: usize = 512;
/// How often an append is tried again while the journal is busy.
const BUSY_TRIES: u32 = 5;

impl Actor for JobsActor {
    type Msg = JobsMsg;
    type Args = JobsArgs;

    async fn start(args: JobsArgs, ctx: &Context<JobsMsg>) -> Result<Self, ActorError> {
        let core = JobsCore::new(args.options.clone());
        let mut jobs = Self { args, core, runs: HashMap::new(), alarm: None };
        jobs.fold().await.map_err(ActorError::failed)?;
        for (job, event) in jobs.core.recover(Timestamp::now()) {
            jobs.record(&job, event, node()).await.map_err(ActorError::failed)?;
        }
        jobs.go_on(ctx).await?;
        Ok(jobs)
    }

    async fn handle(&mut self, msg: JobsMsg, ctx: &Context<JobsMsg>) -> Result<(), ActorError> {
        match msg {
            JobsMsg::Submit { submit, reply } => {
                let result = match submit.take() {
                    Ok(submit) => self.submit(submit).await?,
                    Err(e) => Err(JobError::InvalidSpec(e)),
                };
                reply.send(result.into());
            }
            JobsMsg::Get { job, reply } => reply.send(self.get(&job).into()),
            JobsMsg::List { reply } => reply.send(Ok(self.core.records(Timestamp::now())).into()),
            JobsMsg::Stop { job, by, reason, reply } => {
                self.stop(job, by, reason, reply, ctx).await?;
            }
            JobsMsg::Delete { job, reply } => reply.send(self.delete(&job).await.into()),
            JobsMsg::Waiting { job, run, what, reply } => {
                reply.send(self.wait(&job, run, what).await.into());
            }
            JobsMsg::Resume { job, run, reply } => self.resume(&job, run, reply),
            JobsMsg::Ended { job, run, end } => {
                let end = end.take().unwrap_or_else(RunEnd::Crashed);
                self.ended(&job, run, end).await?;
            }
            JobsMsg::Overdue { job, run } => self.ended(&job, run, RunEnd::Cancelled).await?,
            JobsMsg::Due => {}
        }
        self.go_on(ctx).await
    }

    async fn stopped(&mut self, _: &Context<JobsMsg>) {
        // Nothing is recorded here: the jobs go on with the next start.
        let until = tokio::time::Instant::now() + self.args.options.stop_grace;
        for run in self.runs.values() {
            run.cancel.cancel();
        }
        for run in self.runs.values_mut() {
            run.task.ended_within(until.saturating_duration_since(tokio::time::Instant::now())).await;
        }
        self.runs.clear();
    }
}

impl JobsActor {
    async fn fold(&mut self) -> Result<(), JournalError> {
        let journal = self.args.ports.journal.clone();
        for head in journal.streams(StreamId::JOB_PREFIX).await? {
            let mut from = Seq(1);
            loop {
                let page = journal.read_stream(&head.stream, from, PAGE).await?;
                let Some(last) = page.last() else { break };
                from = last.seq.next();
                page.iter().for_each(|envelope| self.core.apply(envelope));
            }
        }
        Ok(())
    }

    /// The outer error: whether it was recorded is unknown, only the journal can tell.
    async fn submit(&mut self, submit: JobSubmit) -> Result<Result<JobRecord, JobError>, ActorError> {
        let event = match self.check(&submit) {
            Ok(Admission::New(event)) => event,
            Ok(Admission::Known(job)) => return Ok(self.get(&job)),
            Err(e) => return Ok(Err(e)),
        };
        let job = self.fresh_id();
        let writer = match self.open(&job, submit.project).await {
            Ok(writer) => writer,
            Err(e) => return Ok(Err(e)),
        };
        match self.append(&writer, event, submit.by).await {
            Ok(()) => Ok(self.get(&job)),
            Err(e @ JournalError::TooLarge { .. }) => Ok(Err(JobError::InvalidSpec(e.to_string()))),
            Err(e @ JournalError::Busy) => Ok(Err(e.into())),
            Err(e) => Err(ActorError::failed(e)),
        }
    }

    fn check(&self, submit: &JobSubmit) -> Result<Admission, JobError> {
        let Some(kind) = self.args.kinds.get(&submit.kind) else {
            let known = self.args.kinds.keys().cloned().collect();
            return Err(JobError::UnknownKind { kind: submit.kind.clone(), known });
        };
        kind.check(&submit.spec).map_err(JobError::InvalidSpec)?;
        self.core.admit(submit)
    }

    fn fresh_id(&self) -> JobId {
        loop {
            let id = JobId::new_random();
            if self.core.record(&id, Timestamp(0)).is_none() {
                return id;
            }
        }
    }

    fn get(&self, job: &JobId) -> Result<JobRecord, JobError> {
        self.core.record(job, Timestamp::now()).ok_or_else(|| JobError::NotFound(job.clone()))
    }

    async fn stop(
        &mut self,
        job: JobId,
        by: Author,
        reason: String,
        reply: Answer<JobRecord>,
        ctx: &Context<JobsMsg>,
    ) -> Result<(), ActorError> {
        let state = match self.get(&job) {
            Ok(record) if !record.state.is_ended() => record.state,
            known => {
                reply.send(known.into());
                return Ok(());
            }
        };
        if state != JobState::Stopping {
            let request = JobEvent::StopRequested { reason };
            self.record(&job, request, by).await.map_err(ActorError::failed)?;
        }
        let Some(run) = self.runs.get_mut(&job) else {
            self.judge(&job, RunEnd::Cancelled).await?;
            reply.send(self.get(&job).into());
            return Ok(());
        };
        run.stops.push(reply);
        run.cancel.cancel();
        if run.overdue.is_none() {
            let overdue = JobsMsg::Overdue { job, run: run.number };
            run.overdue = Some(run::later(self.args.options.stop_grace, ctx.myself(), overdue));
        }
        Ok(())
    }

    async fn delete(&mut self, job: &JobId) -> Result<(), JobError> {
        let state = self.get(job)?.state;
        if !state.is_ended() {
            return Err(JobError::NotEnded { job: job.clone(), state });
        }
        self.args.ports.journal.delete_stream(&StreamId::job(job)).await?;
        self.core.remove(job);
        Ok(())
    }

    async fn wait(&mut self, job: &JobId, number: u32, what: String) -> Result<(), JobError> {
        if !self.is_current(job, number) {
            return Err(JobError::Cancelled);
        }
        self.record(job, JobEvent::Waiting { what }, node()).await
    }

    fn resume(&mut self, job: &JobId, number: u32, reply: Answer<()>) {
        let state = self.core.record(job, Timestamp(0)).map(|r| r.state);
        match self.runs.get_mut(job).filter(|run| run.number == number) {
            None => reply.send(Err(JobError::Cancelled).into()),
            Some(run) if state == Some(JobState::Waiting) => {
                run.resume = Some(reply);
                self.core.wants_resume(job);
            }
            // It wasn't waiting, or it is to stop: there is nothing to wait for.
            Some(_) => reply.send(Ok(()).into()),
        }
    }

    fn is_current(&self, job: &JobId, number: u32) -> bool {
        self.runs.get(job).is_some_and(|run| run.number == number)
    }

    async fn ended(&mut self, job: &JobId, number: u32, end: RunEnd) -> Result<(), ActorError> {
        if !self.is_current(job, number) {
            return Ok(());
        }
        self.judge(job, end).await?;
        if let Some(mut run) = self.runs.remove(job) {
            run.task.end().await;
            for reply in run.stops {
                reply.send(self.get(job).into());
            }
        }
        Ok(())
    }

    async fn judge(&mut self, job: &JobId, end: RunEnd) -> Result<(), ActorError> {
        match self.core.judge(job, end, Timestamp::now()) {
            Some(event) => self.record(job, event, node()).await.map_err(ActorError::failed),
            None => Ok(()),
        }
    }

    /// Does what can be done now, and sees to it that what becomes due is.
    async fn go_on(&mut self, ctx: &Context<JobsMsg>) -> Result<(), ActorError> {
        while let Some(decision) = self.core.next(Timestamp::now()) {
            match decision {
                Decision::Start(job) => self.start_run(&job, ctx).await.map_err(ActorError::failed)?,
                Decision::Resume(job) => self.resumed(&job).await.map_err(ActorError::failed)?,
            }
        }
        let now = Timestamp::now();
        self.alarm = self.core.next_due(now).map(|due| {
            let after = due.since(now) + Duration::from_millis(1);
            run::later(after, ctx.myself(), JobsMsg::Due)
        });
        Ok(())
    }

    async fn resumed(&mut self, job: &JobId) -> Result<(), JobError> {
        self.record(job, JobEvent::Resumed {}, node()).await?;
        if let Some(reply) = self.runs.get_mut(job).and_then(|run| run.resume.take()) {
            reply.send(Ok(()).into());
        }
        Ok(())
    }

    async fn start_run(&mut self, job: &JobId, ctx: &Context<JobsMsg>) -> Result<(), JobError> {
        let Some((kind, project, spec, number)) = self.core.run_of(job) else {
            return Ok(());
        };
        // A new writer claims a new generation: what an earlier run left behind can't write any more.
        let writer = self.open(job, project).await?;
        self.append(&writer, JobEvent::Started { run: number }, node()).await?;
        let Some(kind) = self.args.kinds.get(&kind).cloned() else {
            let why = format!("this node knows no jobs of kind {kind:?}");
            let failed = self.core.judge(job, RunEnd::Failed(why), Timestamp::now());
            return match failed {
                Some(event) => Ok(self.append(&writer, event, node()).await?),
                None => Ok(()),
            };
        };
        let history = writer.history().await?;
        let cancel = CancellationToken::new();
        let context = JobContext {
            job: job.clone(),
            record: self.get(job)?,
            spec,
            effects: Effects::new(writer.clone(), &history),
            history,
            writer: writer.clone(),
            cancel: cancel.clone(),
            progress: self.args.ports.progress.clone(),
            blobs: self.args.ports.blobs.clone(),
            waiting: WaitingHandle { jobs: ctx.myself(), job: job.clone(), run: number },
        };
        let task = run::spawn(job.clone(), number, kind, context, ctx.myself());
        let run = Run { number, cancel, writer, task, stops: Vec::new(), resume: None, overdue: None };
        self.runs.insert(job.clone(), run);
        Ok(())
    }

    async fn open(&self, job: &JobId, project: crate::id::ProjectId) -> Result<StreamWriter, JobError> {
        let JobsPorts { journal, redactor, .. } = self.args.ports.clone();
        Ok(StreamWriter::open(journal, redactor, StreamId::job(job), project).await?)
    }

    /// Records by the running run's writer, or by one of its own where none runs.
    async fn record(&mut self, job: &JobId, event: JobEvent, by: Author) -> Result<(), JobError> {
        let writer = match self.runs.get(job) {
            Some(run) => run.writer.clone(),
            None => self.open(job, self.get(job)?.project).await?,
        };
        Ok(self.append(&writer, event, by).await?)
    }

    async fn append(&mut self, writer: &StreamWriter, event: JobEvent, by: Author) -> Result<(), JournalError> {
        let event = event.write(by)?;
        let mut tries = 0;
        let envelope = loop {
            match writer.append(event.clone()).await {
                // It has waited for room already; a few such waits are worth more than a failed service.
                Err(JournalError::Busy) if tries < BUSY_TRIES => tries += 1,
                appended => break appended?,
            }
        };
        self.core.apply(&envelope);
        Ok(())
    }
}

/// The service's own doing.
fn node() -> Author {
    Author::Node("jobs".into())
}
