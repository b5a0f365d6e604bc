//! The actor that runs one job on whichever node it was placed.
//!
//! It knows nothing when it comes up: it reports to the jobs service and is told what to run. So a runner that begins
//! anew, here or on another node, needs no state of its own; and a service that begins anew learns from its reports what
//! is still running.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wincode::{SchemaRead, SchemaWrite};

use super::core::RunEnd;
use super::host::{JobHost, RunOrder};
use super::record::JobError;
use super::run::{self, Owned};
use super::service::JobsMsg;
use crate::actor::{Actor, ActorError, Context, Json, Message, Ref};
use crate::cluster::ActorKind;
use crate::id::JobId;
use crate::trace;

/// How long the service may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Pause before it is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// What a runner is told.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum RunnerMsg {
    /// Say what you run, and be told what to do.
    Report,
    /// End the run in good order.
    Cancel { run: u32 },
    /// From the run itself: it has ended, or lost the node's lease.
    Over { run: u32, end: Json<Option<RunEnd>> },
}

impl Message for RunnerMsg {
    const KIND: &'static str = "fleet.job.runner";
}

/// Which job, and the start for which the runner was made.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct RunnerArgs {
    pub job: JobId,
    pub run: u32,
}

impl RunnerArgs {
    /// What the runner of that run is called among the actors of the cluster.
    pub fn key(job: &JobId, run: u32) -> String {
        format!("job/{job}/{run}")
    }
}

/// What the service answers to a report.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum RunnerOrder {
    /// Run this, from what is recorded.
    Run(Box<RunOrder>),
    /// Go on with what you run.
    Continue,
    /// There is nothing (more) for you to do.
    Stop,
}

/// Runs one job.
pub struct JobRunner {
    args: RunnerArgs,
    host: JobHost,
    going: Option<Going>,
    later: Option<Owned>,
}

struct Going {
    run: u32,
    cancel: CancellationToken,
    cancelled_at: Option<tokio::time::Instant>,
    task: Owned,
}

impl Actor for JobRunner {
    type Msg = RunnerMsg;
    type Args = RunnerArgs;

    async fn start(args: RunnerArgs, ctx: &Context<RunnerMsg>) -> Result<Self, ActorError> {
        let host = ctx.provided::<JobHost>().await?;
        ctx.myself().tell(RunnerMsg::Report).await.map_err(ActorError::failed)?;
        Ok(Self { args, host, going: None, later: None })
    }

    async fn handle(&mut self, msg: RunnerMsg, ctx: &Context<RunnerMsg>) -> Result<(), ActorError> {
        let RunnerArgs { job, run } = self.args.clone();
        trace::for_job(&job, run, self.told(msg, ctx)).await
    }

    async fn stopped(&mut self, _: &Context<RunnerMsg>) {
        let Some(mut going) = self.going.take() else { return };
        going.cancel.cancel();
        let since = going.cancelled_at.unwrap_or_else(tokio::time::Instant::now);
        let left = (since + self.host.grace).saturating_duration_since(tokio::time::Instant::now());
        if !going.task.ended_within(left).await {
            going.task.end().await;
        }
    }
}

impl JobRunner {
    async fn told(&mut self, msg: RunnerMsg, ctx: &Context<RunnerMsg>) -> Result<(), ActorError> {
        match msg {
            RunnerMsg::Report => self.report(ctx).await,
            RunnerMsg::Cancel { run } => self.cancel(run),
            RunnerMsg::Over { run, end } => match end.take().map_err(ActorError::Failed)? {
                Some(end) => self.over(run, end, ctx).await,
                // The service judges by the next report that the run was lost.
                None => {
                    self.going = None;
                    self.report(ctx).await;
                }
            },
        }
        Ok(())
    }

    async fn report(&mut self, ctx: &Context<RunnerMsg>) {
        // Without a lease this may be what a frozen node finds when it wakes, while the run goes on elsewhere: what it says
        // would end that.
        if !self.host.permit.holds() {
            self.later = Some(tell_later(ctx.myself(), RunnerMsg::Report));
            return;
        }
        let RunnerArgs { job, run } = self.args.clone();
        let (runner, node) = (ctx.myself(), self.host.node.clone());
        let running = self.going.as_ref().map(|going| going.run);
        let report = |reply| JobsMsg::Reported { job, run, runner, node, running, reply };
        let answer = self.host.jobs.ask(ANSWER, report).await;
        match answer.map_err(|e| e.to_string()).and_then(|answer| answer.take()?.map_err(|e: JobError| e.to_string())) {
            Ok(RunnerOrder::Run(order)) => self.begin(*order, ctx).await,
            Ok(RunnerOrder::Continue) => {}
            Ok(RunnerOrder::Stop) => ctx.stop(),
            // The service is away: what runs goes on, and waits before its next effect.
            Err(error) => {
                tracing::debug!(job = %self.args.job, error, "the jobs service doesn't answer a runner");
                self.later = Some(tell_later(ctx.myself(), RunnerMsg::Report));
            }
        }
    }

    async fn begin(&mut self, order: RunOrder, ctx: &Context<RunnerMsg>) {
        if let Some(mut before) = self.going.take() {
            before.task.end().await;
        }
        let (run, cancel) = (order.run, CancellationToken::new());
        let job = order.record.id.clone();
        let going = go(self.host.clone(), order, cancel.clone(), ctx.myself());
        let task = Owned::spawn(trace::for_job(&job, run, going));
        self.going = Some(Going { run, cancel, cancelled_at: None, task });
    }

    fn cancel(&mut self, run: u32) {
        if let Some(going) = self.going.as_mut().filter(|going| going.run == run) {
            going.cancel.cancel();
            going.cancelled_at.get_or_insert_with(tokio::time::Instant::now);
        }
    }

    /// The end is told until it is acknowledged: it is the job's outcome.
    async fn over(&mut self, run: u32, end: RunEnd, ctx: &Context<RunnerMsg>) {
        let (job, said) = (self.args.job.clone(), Json::new(end.clone()));
        let told = self.host.jobs.ask(ANSWER, |reply| JobsMsg::Ended { job, run, end: said, reply }).await;
        match told {
            Ok(_) => {
                self.going = None;
                ctx.stop();
            }
            Err(error) => {
                tracing::debug!(job = %self.args.job, %error, "the end of a run isn't acknowledged yet");
                let end = Json::new(Some(end));
                self.later = Some(tell_later(ctx.myself(), RunnerMsg::Over { run, end }));
            }
        }
    }
}

impl ActorKind for JobRunner {
    const NAME: &'static str = "fleet.job";
    const VERSION: u16 = 1;
}

/// One run, to its end or to that of the node's lease.
async fn go(host: JobHost, order: RunOrder, cancel: CancellationToken, runner: Ref<RunnerMsg>) {
    let run = order.run;
    tracing::info!("a run begins");
    let end = tokio::select! {
        end = run::outcome_of(&host, order, cancel) => Some(end),
        // Dropping the run kills its sandboxes.
        () = host.permit.withdrawn() => None,
    };
    if end.is_some() {
        tracing::info!("a run has ended");
    } else {
        tracing::warn!("this node lost its lease: a run was dropped");
        host.permit.granted().await;
    }
    // An error means that the runner is ending.
    let _ = runner.tell(RunnerMsg::Over { run, end: Json::new(end) }).await;
}

fn tell_later(runner: Ref<RunnerMsg>, msg: RunnerMsg) -> Owned {
    Owned::spawn(async move {
        tokio::time::sleep(AGAIN).await;
        let _ = runner.tell(msg).await;
    })
}
