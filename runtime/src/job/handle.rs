//! The way to the jobs service.

use std::sync::Arc;
use std::time::Duration;

use super::host::JobHost;
use super::kind::JobKind;
use super::options::JobsOptions;
use super::placer::{OnThisNode, RunPlacer};
use super::record::{JobError, JobPage, JobRecord, JobState, JobSubmit};
use super::service::{JobsActor, JobsArgs, JobsMsg, LARGEST_PAGE};
use crate::actor::{ActorError, Json, Ref, ReplyTo, System};
use crate::blob::Blobs;
use crate::id::{JobId, Position};
use crate::journal::{Author, Journal};
use crate::progress::ProgressBus;
use crate::redact::Redactor;
use crate::supervise::ChildOptions;

/// What the service works with.
#[derive(Clone)]
pub struct JobsPorts {
    pub journal: Arc<dyn Journal>,
    pub redactor: Arc<dyn Redactor>,
    pub blobs: Blobs,
    pub progress: ProgressBus,
}

/// The jobs service. Cheap to clone; every call has a deadline.
#[derive(Clone, Debug)]
pub struct Jobs {
    actor: Ref<JobsMsg>,
    stop_deadline: Duration,
}

/// A call may wait behind a few starts, each of which is a few fsyncs.
const DEADLINE: Duration = Duration::from_secs(30);

type Answer<T> = ReplyTo<Json<Result<T, JobError>>>;

impl Jobs {
    /// The name of the service among the system's root actors.
    pub const NAME: &'static str = "jobs";

    /// Starts the service on a node that does all jobs itself.
    pub async fn start(
        system: &System,
        options: JobsOptions,
        kinds: Vec<Arc<dyn JobKind>>,
        ports: JobsPorts,
    ) -> Result<Self, ActorError> {
        let grace = options.stop_grace;
        let placer = Arc::new(OnThisNode::new(system.clone()));
        let jobs = Self::serve(system, options, kinds.clone(), ports.clone(), placer).await?;
        system.provide(JobHost { grace, ..JobHost::new("this node", kinds, ports, jobs.service()) });
        Ok(jobs)
    }

    /// Starts the service: folds what is recorded, asks who still runs, goes on. Runs go where the placer puts them;
    /// each of those nodes has to provide a [`JobHost`].
    pub async fn serve(
        system: &System,
        options: JobsOptions,
        kinds: Vec<Arc<dyn JobKind>>,
        ports: JobsPorts,
        placer: Arc<dyn RunPlacer>,
    ) -> Result<Self, ActorError> {
        let args = JobsArgs::new(options, kinds, ports, placer);
        let actor = system.spawn_service::<JobsActor>(Self::NAME, args, ChildOptions::default()).await?;
        Ok(Self::of(actor))
    }

    /// The service behind that reference, on this node or another.
    pub fn of(service: Ref<JobsMsg>) -> Self {
        Self { actor: service, stop_deadline: JobsOptions::default().stop_grace + DEADLINE * 2 }
    }

    /// What runners report to.
    pub fn service(&self) -> Ref<JobsMsg> {
        self.actor.clone()
    }

    /// Submits a job. When this returns `Ok`, the job is on disk and will be done.
    pub async fn submit(&self, submit: JobSubmit) -> Result<JobRecord, JobError> {
        let submit = Json::new(submit);
        self.ask(DEADLINE, |reply| JobsMsg::Submit { submit, reply }).await
    }

    pub async fn get(&self, job: &JobId) -> Result<JobRecord, JobError> {
        let job = job.clone();
        self.ask(DEADLINE, |reply| JobsMsg::Get { job, reply }).await
    }

    /// All jobs, oldest first, asked for page by page: one that is submitted or deleted meanwhile may be among them or not.
    pub async fn list(&self) -> Result<Vec<JobRecord>, JobError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(after, LARGEST_PAGE).await?;
            all.extend(page.jobs);
            after = page.more_after;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// At most so many jobs, and never more than 1000, behind `after`, oldest first. The first page is behind `None`, each
    /// further one behind the `more_after` of the one before.
    pub async fn page(&self, after: Option<Position>, limit: usize) -> Result<JobPage, JobError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        self.ask(DEADLINE, |reply| JobsMsg::Page { after, limit, reply }).await
    }

    /// How many jobs are in each state. Costs the same however many there are.
    pub async fn counts(&self) -> Result<Vec<(JobState, u64)>, JobError> {
        self.ask(DEADLINE, |reply| JobsMsg::Count { reply }).await
    }

    /// Stops a job and returns when it has ended; one that has ended is returned as it is.
    pub async fn stop(&self, job: &JobId, by: Author, reason: &str) -> Result<JobRecord, JobError> {
        let (job, reason) = (job.clone(), reason.to_owned());
        self.ask(self.stop_deadline, |reply| JobsMsg::Stop { job, by, reason, reply }).await
    }

    /// Deletes a job that has ended, with all that is recorded of it.
    pub async fn delete(&self, job: &JobId) -> Result<(), JobError> {
        let job = job.clone();
        self.ask(DEADLINE, |reply| JobsMsg::Delete { job, reply }).await
    }

    async fn ask<T>(&self, deadline: Duration, question: impl FnOnce(Answer<T>) -> JobsMsg) -> Result<T, JobError>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    {
        let answer = self.actor.ask(deadline, question).await;
        let answer = answer.map_err(|e| JobError::Unavailable(e.to_string()))?;
        answer.take().unwrap_or_else(|e| Err(JobError::Unavailable(e)))
    }
}
