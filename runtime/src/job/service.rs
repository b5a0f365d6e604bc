//! The jobs actor: records, starts, stops and recovers jobs as its core decides.
//!
//! Every change is recorded before it takes effect. Where the journal couldn't store it, as on a full
//! disk, it doesn't take effect: whoever asked is refused, and asks again. After any other error what
//! is recorded isn't known; then the actor fails, and its next life folds the journal anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use wincode::{SchemaRead, SchemaWrite};

use super::core::{Admission, Decision, JobsCore, RunEnd};
use super::event::JobEvent;
use super::handle::JobsPorts;
use super::host::RunOrder;
use super::kind::JobKind;
use super::options::JobsOptions;
use super::placer::RunPlacer;
use super::record::{JobError, JobPage, JobRecord, JobState, JobSubmit};
use super::run::{self, Owned, Run};
use super::runner::{RunnerArgs, RunnerMsg, RunnerOrder};
use crate::actor::{Actor, ActorAddr, ActorError, Context, Json, Message, Ref, ReplyTo};
use crate::id::{JobId, Position, Seq, StreamId};
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
    /// All of them in one answer, as older nodes ask for; see `Page`.
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
    /// From a runner: it is up, and this is what it runs.
    Reported {
        job: JobId,
        /// The start for which it was made.
        run: u32,
        runner: Ref<RunnerMsg>,
        /// The name of its node.
        node: String,
        running: Option<u32>,
        reply: Answer<RunnerOrder>,
    },
    /// From a runner: its run has ended. Told until it is answered.
    Ended {
        job: JobId,
        run: u32,
        end: Json<RunEnd>,
        reply: Answer<()>,
    },
    /// From a placement: here is the runner.
    Placed {
        job: JobId,
        run: u32,
        runner: Ref<RunnerMsg>,
    },
    /// From a placement: there is no room yet.
    NoPlaceYet {
        job: JobId,
        why: String,
    },
    /// A stop has taken too long.
    Overdue {
        job: JobId,
        run: u32,
    },
    /// A retry may be due.
    Due,
    /// So many jobs behind that one, oldest first.
    Page {
        after: Option<Position>,
        limit: u32,
        reply: Answer<JobPage>,
    },
    /// How many jobs are in each state?
    Count {
        reply: Answer<Vec<(JobState, u64)>>,
    },
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
    placer: Arc<dyn RunPlacer>,
}

impl JobsArgs {
    pub(super) fn new(
        options: JobsOptions,
        kinds: Vec<Arc<dyn JobKind>>,
        ports: JobsPorts,
        placer: Arc<dyn RunPlacer>,
    ) -> Self {
        let kinds = kinds.into_iter().map(|k| (k.name().to_owned(), k)).collect();
        Self { options, kinds: Arc::new(kinds), ports, placer }
    }
}

/// The actor behind [`Jobs`](super::Jobs).
pub struct JobsActor {
    args: JobsArgs,
    core: JobsCore,
    runs: HashMap<JobId, Run>,
    /// What looks for places, and for which start.
    placing: HashMap<JobId, (u32, Owned)>,
    /// What ends runners.
    ending: TaskTracker,
    alarm: Option<Owned>,
}

/// Jobs of a page, at most: about a kilobyte each, an answer may have 4 MiB.
pub(super) const LARGEST_PAGE: usize = 1000;
/// Events read at a time.
const PAGE: usize = 512;
/// Pause before a node with room is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long the end of a runner is waited for.
const REMOVAL: Duration = Duration::from_secs(15);
/// How often an append is tried again while the journal is busy.
const BUSY_TRIES: u32 = 5;

impl Actor for JobsActor {
    type Msg = JobsMsg;
    type Args = JobsArgs;

    async fn start(args: JobsArgs, ctx: &Context<JobsMsg>) -> Result<Self, ActorError> {
        let core = JobsCore::new(args.options.clone());
        let (runs, placing, ending) = Default::default();
        let mut jobs = Self { args, core, runs, placing, ending, alarm: None };
        jobs.fold().await.map_err(ActorError::failed)?;
        // Their runners may be running all the while; where they aren't, new ones report that they run nothing.
        for job in jobs.core.begun() {
            let latest = jobs.core.latest_run(&job).unwrap_or_default();
            jobs.find_place(job, latest, ctx);
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
            JobsMsg::Reported { job, run, runner, node, running, reply } => {
                let report = Report { made_for: run, runner, node, running };
                let order = self.reported(&job, report).await?;
                reply.send(order.into());
            }
            JobsMsg::Ended { job, run, end, reply } => {
                let end = end.take().unwrap_or_else(RunEnd::Crashed);
                match self.ended(&job, run, end).await? {
                    Ok(()) => reply.send(Ok(()).into()),
                    Err(refused) => {
                        // Without an answer the runner tells it again; where nobody does, a stop that is overdue is.
                        tracing::error!(%job, %refused, "the end of a run isn't recorded yet");
                        self.stop_again_later(&job, run, ctx);
                    }
                }
            }
            JobsMsg::Placed { job, run, runner } => self.placed(&job, run, &runner).await,
            JobsMsg::NoPlaceYet { job, why } => self.core.no_place_yet(&job, why),
            JobsMsg::Overdue { job, run } => self.overdue(&job, run, ctx),
            JobsMsg::Due => {}
            JobsMsg::Page { after, limit, reply } => {
                let limit = (limit as usize).min(LARGEST_PAGE);
                reply.send(Ok(self.core.page(after, limit, Timestamp::now())).into());
            }
            JobsMsg::Count { reply } => reply.send(Ok(self.core.counts()).into()),
        }
        self.go_on(ctx).await
    }

    async fn stopped(&mut self, _: &Context<JobsMsg>) {
        // Nothing is recorded here, and nothing stopped: the runs go on, and the next life of the service finds them.
        self.placing.clear();
        self.ending.close();
        self.ending.wait().await;
    }
}

/// What a runner said of itself.
struct Report {
    made_for: u32,
    runner: Ref<RunnerMsg>,
    node: String,
    running: Option<u32>,
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
            Err(e) => return Ok(Err(e.into())),
        };
        match self.append(&writer, event, submit.by).await {
            Ok(()) => Ok(self.get(&job)),
            Err(e @ JournalError::TooLarge { .. }) => Ok(Err(JobError::InvalidSpec(e.to_string()))),
            Err(e @ JournalError::Busy) => Ok(Err(e.into())),
            Err(e) => refused(e).map(Err),
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
            if let Err(refused) = self.record(&job, request, by).await? {
                reply.send(Err(refused).into());
                return Ok(());
            }
        }
        let Some(run) = self.runs.get_mut(&job) else {
            self.core.not_placed(&job);
            self.forget_place(&job);
            let ended = self.judge(&job, RunEnd::Cancelled).await?;
            reply.send(ended.and_then(|()| self.get(&job)).into());
            return Ok(());
        };
        run.stops.push(reply);
        let cancel = RunnerMsg::Cancel { run: run.number };
        // If it isn't there any more, or its mailbox is full, it is removed when its time is over.
        let _ = run.runner.try_tell(cancel);
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
        let recorded = self.record(job, JobEvent::Waiting { what }, node()).await;
        recorded.unwrap_or_else(|e| Err(JobError::Journal(e.to_string())))
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

    /// Whether that is the run that the job is in; also where an earlier life of the service began it.
    fn is_latest(&self, job: &JobId, number: u32) -> bool {
        let begun = |record: JobRecord| !record.state.is_ended() && record.state != JobState::Queued;
        let runs_here = self.runs.get(job).is_none_or(|run| run.number == number);
        runs_here && self.core.latest_run(job) == Some(number) && self.get(job).is_ok_and(begun)
    }

    async fn ended(&mut self, job: &JobId, number: u32, end: RunEnd) -> Result<Result<(), JobError>, ActorError> {
        if !self.is_latest(job, number) {
            return Ok(Ok(()));
        }
        if let Err(refused) = self.judge(job, end).await? {
            return Ok(Err(refused));
        }
        self.placing.remove(job);
        self.end_runner(job, number);
        if let Some(run) = self.runs.remove(job) {
            for reply in run.stops {
                reply.send(self.get(job).into());
            }
        }
        Ok(Ok(()))
    }

    fn stop_again_later(&mut self, job: &JobId, number: u32, ctx: &Context<JobsMsg>) {
        if let Some(run) = self.runs.get_mut(job).filter(|run| run.number == number && run.overdue.is_some()) {
            let overdue = JobsMsg::Overdue { job: job.clone(), run: number };
            run.overdue = Some(run::later(LOOK_AGAIN, ctx.myself(), overdue));
        }
    }

    /// It has had its time to end by itself.
    fn overdue(&mut self, job: &JobId, number: u32, ctx: &Context<JobsMsg>) {
        let Some(run) = self.runs.get(job).filter(|run| run.number == number) else { return };
        let (placer, runner) = (self.args.placer.clone(), RunnerArgs { job: job.clone(), run: run.number });
        let (me, job) = (ctx.myself(), job.clone());
        self.ending.spawn(async move {
            // A node that doesn't answer has lost its lease by then, or will; the generation keeps its run from writing.
            let _ = tokio::time::timeout(REMOVAL, placer.remove(runner)).await;
            let (reply, _) = ReplyTo::channel();
            let end = Json::new(RunEnd::Cancelled);
            let _ = me.tell(JobsMsg::Ended { job, run: number, end, reply }).await;
        });
    }

    async fn judge(&mut self, job: &JobId, end: RunEnd) -> Result<Result<(), JobError>, ActorError> {
        match self.core.judge(job, end, Timestamp::now()) {
            Some(event) => self.record(job, event, node()).await,
            None => Ok(Ok(())),
        }
    }

    /// Does what can be done now, and sees to it that what becomes due is.
    async fn go_on(&mut self, ctx: &Context<JobsMsg>) -> Result<(), ActorError> {
        let mut refused = false;
        while !refused && let Some(decision) = self.core.next(Timestamp::now()) {
            match decision {
                Decision::Start(job) => {
                    let run = self.core.latest_run(&job).unwrap_or_default() + 1;
                    self.core.place(&job);
                    self.find_place(job, run, ctx);
                }
                Decision::Resume(job) => refused = self.resumed(&job).await?.is_err(),
            }
        }
        let now = Timestamp::now();
        let due = self.core.next_due(now).map(|due| due.since(now) + Duration::from_millis(1));
        let again = refused.then_some(LOOK_AGAIN);
        self.alarm = due.into_iter().chain(again).min().map(|after| run::later(after, ctx.myself(), JobsMsg::Due));
        Ok(())
    }

    async fn resumed(&mut self, job: &JobId) -> Result<Result<(), JobError>, ActorError> {
        if let Err(refused) = self.record(job, JobEvent::Resumed {}, node()).await? {
            return Ok(Err(refused));
        }
        if let Some(reply) = self.runs.get_mut(job).and_then(|run| run.resume.take()) {
            reply.send(Ok(()).into());
        }
        Ok(Ok(()))
    }

    /// Has a runner made for that start of the job, wherever there is room.
    fn find_place(&mut self, job: JobId, run: u32, ctx: &Context<JobsMsg>) {
        let (placer, me, args) = (self.args.placer.clone(), ctx.myself(), RunnerArgs { job: job.clone(), run });
        let looking = Owned::spawn(async move {
            let RunnerArgs { job, run } = args.clone();
            let found = loop {
                match placer.place(args.clone()).await {
                    Ok(runner) => break JobsMsg::Placed { job, run, runner },
                    Err(why) => {
                        tracing::info!(%job, why, "no node has room for a job yet");
                        let _ = me.tell(JobsMsg::NoPlaceYet { job: job.clone(), why }).await;
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                }
            };
            let _ = me.tell(found).await;
        });
        self.placing.insert(job, (run, looking));
    }

    /// The runner reports by itself when it comes up; one that was there already is asked to.
    async fn placed(&mut self, job: &JobId, run: u32, runner: &Ref<RunnerMsg>) {
        if self.placing.get(job).is_some_and(|(looked_for, _)| *looked_for == run) {
            self.placing.remove(job);
        }
        let known = self.runs.get(job).is_some_and(|going| going.number == run);
        if !known && runner.tell(RunnerMsg::Report).await.is_err() {
            tracing::debug!(%job, "a runner that was just placed is gone");
        }
    }

    /// Nobody looks for a place any more, and a runner that was made meanwhile ends.
    fn forget_place(&mut self, job: &JobId) {
        self.placing.remove(job);
        let latest = self.core.latest_run(job).unwrap_or_default();
        for run in [latest, latest + 1] {
            self.end_runner(job, run);
        }
    }

    fn end_runner(&mut self, job: &JobId, run: u32) {
        let (placer, runner) = (self.args.placer.clone(), RunnerArgs { job: job.clone(), run });
        self.ending.spawn(async move {
            if tokio::time::timeout(REMOVAL, placer.remove(runner)).await.is_err() {
                tracing::warn!("a runner didn't end in time");
            }
        });
    }

    /// What a runner is to do.
    async fn reported(&mut self, job: &JobId, report: Report) -> Result<Result<RunnerOrder, JobError>, ActorError> {
        let Some(latest) = self.core.latest_run(job) else { return Ok(Ok(RunnerOrder::Stop)) };
        if let Some(run) = self.runs.get_mut(job) {
            if report.running == Some(run.number) {
                run.runner = report.runner;
                return Ok(Ok(RunnerOrder::Continue));
            }
            if report.made_for == run.number && !is_earlier(report.runner.addr(), run.runner.addr()) {
                let why = format!("its run on node {} was lost", self.node_of(job));
                if let Err(refused) = self.ended(job, latest, RunEnd::Lost(why)).await? {
                    return Ok(Err(refused));
                }
            }
            return Ok(Ok(RunnerOrder::Stop));
        }
        let state = self.get(job).map(|record| record.state);
        match state {
            Ok(JobState::Queued) if self.core.is_placing(job) && report.made_for == latest + 1 => {
                Ok(self.start_run(job, report).await?.map(|order| RunnerOrder::Run(Box::new(order))))
            }
            Ok(JobState::Running | JobState::Waiting | JobState::Stopping) if report.made_for == latest => {
                self.taken_up(job, report).await
            }
            _ => Ok(Ok(RunnerOrder::Stop)),
        }
    }

    /// A run that an earlier life of the service began: it goes on, unless it is gone.
    async fn taken_up(&mut self, job: &JobId, report: Report) -> Result<Result<RunnerOrder, JobError>, ActorError> {
        let record = self.get(job).map_err(ActorError::failed)?;
        let latest = report.made_for;
        if report.running != Some(latest) {
            let why = format!("its run on node {} was lost", self.node_of(job));
            return Ok(self.ended(job, latest, RunEnd::Lost(why)).await?.map(|()| RunnerOrder::Stop));
        }
        let JobsPorts { journal, redactor, .. } = self.args.ports.clone();
        let writer =
            StreamWriter::join(journal, redactor, StreamId::job(job), record.project.clone(), record.generation);
        if record.state == JobState::Stopping {
            let _ = report.runner.try_tell(RunnerMsg::Cancel { run: latest });
        }
        self.runs.insert(job.clone(), Run::new(latest, report.runner, writer));
        Ok(Ok(RunnerOrder::Continue))
    }

    fn node_of(&self, job: &JobId) -> String {
        self.get(job).ok().and_then(|record| record.node).unwrap_or_else(|| "that is gone".into())
    }

    async fn start_run(&mut self, job: &JobId, report: Report) -> Result<Result<RunOrder, JobError>, ActorError> {
        let record = self.get(job).map_err(ActorError::failed)?;
        // A new writer claims a new generation: what an earlier run left behind can't write any more.
        let writer = match self.open(job, record.project).await {
            Ok(writer) => writer,
            Err(e) => return refused(e).map(Err),
        };
        let run = report.made_for;
        tracing::info!(%job, run, on = report.node, "a run is to begin");
        let started = JobEvent::Started { run, node: Some(report.node) };
        if let Err(e) = self.append(&writer, started, node()).await {
            return refused(e).map(Err);
        }
        let generation = writer.generation();
        self.runs.insert(job.clone(), Run::new(run, report.runner, writer));
        Ok(self.get(job).map(|record| RunOrder { record, run, generation }))
    }

    async fn open(&self, job: &JobId, project: crate::id::ProjectId) -> Result<StreamWriter, JournalError> {
        let JobsPorts { journal, redactor, .. } = self.args.ports.clone();
        StreamWriter::open(journal, redactor, StreamId::job(job), project).await
    }

    /// Records by the running run's writer, or by one of its own where none runs.
    ///
    /// The inner error: it isn't recorded. The outer one: nobody knows.
    async fn record(&mut self, job: &JobId, event: JobEvent, by: Author) -> Result<Result<(), JobError>, ActorError> {
        let writer = match (self.runs.get(job), self.get(job)) {
            (Some(run), _) => Ok(run.writer.clone()),
            (None, Ok(record)) => self.open(job, record.project).await,
            (None, Err(e)) => return Ok(Err(e)),
        };
        let recorded = match writer {
            Ok(writer) => self.append(&writer, event, by).await,
            Err(e) => Err(e),
        };
        recorded.map_or_else(|e| refused(e).map(Err), |()| Ok(Ok(())))
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

/// Whether that is an earlier life of the same actor: of a node that was frozen, or a report that was long on its way.
fn is_earlier(one: ActorAddr, other: ActorAddr) -> bool {
    one.actor == other.actor && one.generation < other.generation
}

/// An error of the journal that means that nothing was written, and that it may be at another time: its disk is full, or
/// can't be written. If it isn't as sure as that, it closes itself.
fn refused(error: JournalError) -> Result<JobError, ActorError> {
    match error {
        JournalError::Storage(_) => Ok(error.into()),
        error => Err(ActorError::failed(error)),
    }
}

/// The service's own doing.
fn node() -> Author {
    Author::Node("jobs".into())
}
