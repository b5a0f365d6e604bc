//! The story as a job: starts the story's actors and waits for their end.

use std::sync::Arc;

use fleet_runtime::job::{JobContext, JobError, JobKind, JobOutcome};
use fleet_runtime::supervise::{ChildOptions, Restart};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;

use super::services::Services;
use super::story::{StoryActor, StoryArgs};
use super::work::{StepError, Work};
use crate::role::Roles;
use crate::spec::StorySpec;

/// How a story's actors ended; None while they work.
pub(crate) type End = Option<Result<JobOutcome, StepError>>;

/// The job kind `story`.
pub struct StoryJob {
    services: Services,
}

impl StoryJob {
    /// The kind's name.
    pub const KIND: &'static str = "story";

    /// Stories that are done with these services.
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

impl JobKind for StoryJob {
    fn name(&self) -> &str {
        Self::KIND
    }

    fn check(&self, spec: &Value) -> Result<(), String> {
        StorySpec::read(spec).map(|_| ()).map_err(|e| e.to_string())
    }

    fn run(&self, ctx: JobContext) -> BoxFuture<'static, Result<JobOutcome, JobError>> {
        run(self.services.clone(), ctx).boxed()
    }
}

async fn run(services: Services, ctx: JobContext) -> Result<JobOutcome, JobError> {
    let work = Arc::new(Work::new(services, ctx)?);
    let (end, mut ended) = watch::channel::<End>(None);
    let roles = roles(&work).await?;
    let args = StoryArgs { work: work.clone(), roles, end: Arc::new(end) };
    // Each run has actors of its own; those of an earlier run may still be ending.
    let name = format!("story/{}/{}", work.ctx.job, work.ctx.writer.generation());
    let options = ChildOptions { restart: Restart::Temporary, ..ChildOptions::default() };
    let system = work.services.system.clone();
    let story = Guard { system: system.clone(), name: name.clone() };
    system.spawn::<StoryActor>(name, args, options).await.map_err(|e| JobError::Crash(e.to_string()))?;
    let result = tokio::select! {
        biased;
        () = work.ctx.cancel.cancelled() => Err(StepError::Cancelled),
        end = ended.wait_for(Option::is_some) => match end {
            Ok(end) => end.clone().unwrap_or(Err(StepError::Broken("the story ended without a word".into()))),
            // Every sender is gone: the story's actor was dropped without an end.
            Err(_) => Err(StepError::Broken("the story's actor crashed".into())),
        },
    };
    story.stop().await;
    Ok(result?)
}

/// The team's roles as they are now. A wrong file is for people to mend, so it ends the story and says where.
async fn roles(work: &Work) -> Result<Roles, JobError> {
    let dir = work.services.options.agent.roles.clone();
    let read = tokio::task::spawn_blocking(move || Roles::read(dir.as_deref())).await;
    read.map_err(|e| JobError::Crash(e.to_string()))?.map_err(|e| JobError::Failed(e.to_string()))
}

/// Ends the story's actors with the run, also when the run is aborted.
struct Guard {
    system: fleet_runtime::actor::System,
    name: String,
}

impl Guard {
    async fn stop(self) {
        self.system.stop(&self.name).await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (system, name) = (self.system.clone(), std::mem::take(&mut self.name));
        // An aborted run can't wait; stopping what has ended already is harmless.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { system.stop(&name).await });
        }
    }
}
