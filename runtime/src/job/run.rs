//! One run of a job, and the tasks around it.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::core::RunEnd;
use super::host::{JobHost, RunOrder};
use super::record::{JobError, JobRecord};
use super::runner::RunnerMsg;
use super::service::JobsMsg;
use crate::actor::{Json, Ref, ReplyTo, panic_text};
use crate::stream::StreamWriter;

/// How long an aborted task may take to be gone.
const ABORT: Duration = Duration::from_secs(1);

/// A task that doesn't outlive its owner.
pub(super) struct Owned(JoinHandle<()>);

impl Owned {
    pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    /// Aborts it, and waits until what it held has been dropped; not for one that blocks its thread.
    pub(super) async fn end(&mut self) {
        self.0.abort();
        if !self.ended_within(ABORT).await {
            tracing::error!("a run blocks its thread and can't be aborted");
        }
    }

    /// Waits for its end, at most so long.
    pub(super) async fn ended_within(&mut self, patience: Duration) -> bool {
        tokio::time::timeout(patience, &mut self.0).await.is_ok()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A run that is going on, as the service sees it.
pub(super) struct Run {
    pub(super) number: u32,
    pub(super) runner: Ref<RunnerMsg>,
    pub(super) writer: StreamWriter,
    /// Who waits for the end of the job.
    pub(super) stops: Vec<ReplyTo<Json<Result<JobRecord, JobError>>>>,
    /// Who waits for a place.
    pub(super) resume: Option<ReplyTo<Json<Result<(), JobError>>>>,
    /// Runs while the job is given time to stop.
    pub(super) overdue: Option<Owned>,
}

impl Run {
    pub(super) fn new(number: u32, runner: Ref<RunnerMsg>, writer: StreamWriter) -> Self {
        Self { number, runner, writer, stops: Vec::new(), resume: None, overdue: None }
    }
}

/// Sends a message after a while, unless dropped before.
pub(super) fn later(after: Duration, jobs: Ref<JobsMsg>, msg: JobsMsg) -> Owned {
    Owned::spawn(async move {
        tokio::time::sleep(after).await;
        let _ = jobs.tell(msg).await;
    })
}

/// One run from its order to its end.
pub(super) async fn outcome_of(host: &JobHost, order: RunOrder, cancel: CancellationToken) -> RunEnd {
    let Some(kind) = host.kinds.get(&order.record.kind).cloned() else {
        return RunEnd::Failed(format!("node {} knows no jobs of kind {:?}", host.node, order.record.kind));
    };
    // `run` is called inside as well: it may panic before it returns its future.
    let work = async move { kind.run(host.context(&order, cancel).await?).await };
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(outcome)) => RunEnd::Done(outcome),
        Ok(Err(JobError::Cancelled)) => RunEnd::Cancelled,
        Ok(Err(JobError::Crash(why))) => RunEnd::Crashed(why),
        // The world's fault, not the job's.
        Ok(Err(e @ (JobError::Journal(_) | JobError::Unavailable(_)))) => RunEnd::Crashed(e.to_string()),
        Ok(Err(e)) => RunEnd::Failed(e.to_string()),
        Err(panic) => RunEnd::Crashed(format!("panicked: {}", panic_text(&*panic))),
    }
}
