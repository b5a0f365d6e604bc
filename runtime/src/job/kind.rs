//! What a job is to the rest of the program: something that can be checked and run.

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::host::RunOrder;
use super::record::{JobError, JobOutcome, JobRecord};
use super::service::JobsMsg;
use crate::actor::{AskError, Json, Ref, ReplyTo};
use crate::blob::{BlobError, Blobs, Digest, Holder};
use crate::effect::Effects;
use crate::id::JobId;
use crate::journal::Envelope;
use crate::progress::ProgressBus;
use crate::stream::StreamWriter;

/// One sort of job.
pub trait JobKind: Send + Sync + 'static {
    fn name(&self) -> &str;

    /// Refuses a spec that could never be run, before the submit is acknowledged.
    fn check(&self, spec: &Value) -> Result<(), String>;

    /// One run. A job may be run several times: what earlier runs recorded is in
    /// [`JobContext::history`], and what they did must not be done again.
    ///
    /// [`JobError::Crash`], [`JobError::Journal`] and a panic mean "try again"; other errors mean
    /// that the job has failed. A run that is cancelled ends soon, or is aborted.
    fn run(&self, ctx: JobContext) -> BoxFuture<'static, Result<JobOutcome, JobError>>;
}

/// All that a run gets.
#[derive(Clone)]
pub struct JobContext {
    pub job: JobId,
    pub record: JobRecord,
    /// As recorded, that is redacted: every run sees the same.
    pub spec: Value,
    /// Writes to the job's stream, as long as this run is the latest one.
    pub writer: StreamWriter,
    pub effects: Effects,
    /// The job's stream from the beginning, this run's `job.started` included.
    pub history: Vec<Envelope>,
    pub cancel: CancellationToken,
    pub progress: ProgressBus,
    pub blobs: Blobs,
    pub waiting: WaitingHandle,
    /// This run, for those who take part in it on other nodes: [`JobHost::context`](super::JobHost::context).
    pub order: RunOrder,
}

impl JobContext {
    /// Keeps bytes for as long as the job is there.
    pub async fn keep(&self, bytes: Vec<u8>) -> Result<Digest, BlobError> {
        let digest = self.blobs.put(bytes).await?;
        self.blobs.hold(&digest, &Holder::from(&self.job)).await?;
        Ok(digest)
    }
}

/// Says that the job waits for a person, so that it gives its place to another.
#[derive(Clone, Debug)]
pub struct WaitingHandle {
    pub(super) jobs: Ref<JobsMsg>,
    pub(super) job: JobId,
    pub(super) run: u32,
}

const RECORD: Duration = Duration::from_secs(30);
/// How long one question for a place may stay open before it is asked again.
const PLACE: Duration = Duration::from_secs(600);

impl WaitingHandle {
    /// From now on the job waits; recorded when this returns.
    pub async fn begin(&self, what: impl Into<String>) -> Result<(), JobError> {
        let what = what.into();
        let (job, run) = (self.job.clone(), self.run);
        self.ask(RECORD, |reply| JobsMsg::Waiting { job, run, what, reply }).await.map_err(unavailable)?
    }

    /// The job can go on; returns when it has got a place again.
    pub async fn resume(&self) -> Result<(), JobError> {
        loop {
            let (job, run) = (self.job.clone(), self.run);
            match self.ask(PLACE, |reply| JobsMsg::Resume { job, run, reply }).await {
                Err(AskError::Unknown(_)) if !self.jobs.is_gone() => {}
                answer => return answer.map_err(unavailable)?,
            }
        }
    }

    /// Waits for something, in the state `waiting`.
    pub async fn during<T>(&self, what: impl Into<String>, f: impl Future<Output = T>) -> Result<T, JobError> {
        self.begin(what).await?;
        let value = f.await;
        self.resume().await?;
        Ok(value)
    }

    async fn ask(
        &self,
        deadline: Duration,
        question: impl FnOnce(ReplyTo<Json<Result<(), JobError>>>) -> JobsMsg,
    ) -> Result<Result<(), JobError>, AskError> {
        let answer = self.jobs.ask(deadline, question).await?;
        Ok(answer.take().unwrap_or_else(|e| Err(JobError::Unavailable(e))))
    }
}

fn unavailable(e: AskError) -> JobError {
    JobError::Unavailable(e.to_string())
}
