//! What all actors of one story share: the job, the services, and the one way to have an effect.

use std::future::Future;
use std::sync::Arc;

use fleet_runtime::job::{JobContext, JobError};
use fleet_runtime::{Author, BlobError, EffectClass, EffectError, EffectSpec, JournalError};
use fleet_tools::repo::{BaseRepo, CommitId, RepoError};
use fleet_tools::results::{Format, TestReport};
use fleet_tools::run::RunSummary;
use fleet_tools::sandbox::{Limits as RunLimits, SandboxError};
use fleet_tools::verify::{VerifyError, VerifySpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use super::grounds::Grounds;
use super::services::Services;
use crate::core::Limits;
use crate::spec::StorySpec;
use crate::story::{ResultsFormat, Story};

/// Why a step could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The job is to stop.
    #[error("cancelled")]
    Cancelled,
    /// The world broke, not the story: worth another try from the journal.
    #[error("{0}")]
    Broken(String),
    /// The story can't go on, and that is its outcome.
    #[error("{0}")]
    Failed(String),
}

/// Why an effect gave no value.
pub(crate) enum Fault {
    /// That is its outcome; it is recorded and not tried again.
    Outcome(String),
    /// The world broke before there was an outcome; nothing is recorded, so it is tried again.
    Broken(String),
}

/// What is recorded of the base's own build and tests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BaseRecord {
    pub report: TestReport,
    pub runs: Vec<RunSummary>,
}

/// Key of the effect that holds the [`BaseRecord`].
pub(crate) const BASELINE: &str = "baseline";

/// Shared by the actors of one run of one story.
pub(crate) struct Work {
    pub services: Services,
    pub ctx: JobContext,
    pub spec: StorySpec,
    pub story: Story,
    pub limits: Limits,
    /// What it shares with the others of its job on this node.
    pub grounds: Arc<Grounds>,
}

impl Work {
    pub fn new(services: Services, ctx: JobContext) -> Result<Self, JobError> {
        let (spec, story) = StorySpec::read(&ctx.spec).map_err(|e| JobError::InvalidSpec(e.to_string()))?;
        let council = &services.options.council;
        let limits = Limits {
            proposals: spec.limits.proposals.unwrap_or(council.proposals),
            first: council.first.clone(),
            wave: council.wave,
            candidates: council.candidates,
            probe: council.probe,
            design_after: council.design_after,
            pool: spec.limits.pool.unwrap_or(false),
            max_tokens: spec.limits.max_tokens.unwrap_or(council.max_tokens),
            approve: spec.approve,
        };
        let grounds = services.grounds.of(&ctx.job);
        Ok(Self { services, ctx, spec, story, limits, grounds })
    }

    /// The node as an author.
    pub fn node(&self) -> Author {
        Author::Node(self.services.node.clone())
    }

    /// The base; imported if this node doesn't have it (any more).
    pub async fn base(&self) -> Result<&BaseRepo, StepError> {
        self.grounds.base.get_or_try_init(|| self.cancellable(self.import())).await
    }

    async fn import(&self) -> Result<BaseRepo, StepError> {
        let digest = self.spec.base_pack.parse().map_err(|e| StepError::Failed(format!("base pack: {e}")))?;
        // Held until it is imported: the copy of a node that doesn't keep blobs may otherwise be dropped meanwhile.
        let pack = self.ctx.blobs.path(&digest).await.map_err(|e| match e {
            BlobError::NotFound(_) => StepError::Failed(format!(
                "the base pack {digest} was never uploaded or was deleted; submit the story again"
            )),
            e => e.into(),
        })?;
        let commit: CommitId =
            self.spec.base_commit.parse().map_err(|e: RepoError| StepError::Failed(e.to_string()))?;
        let dir = self.services.base_dir(&self.ctx.job);
        let bench = &self.services.bench;
        BaseRepo::import(&pack, &commit, &dir, &self.services.caps, &*bench.runner).await.map_err(|e| step(repo(e)))
    }

    /// What the base's own run showed; recorded before anything else is done.
    pub fn baseline(&self) -> Result<BaseRecord, StepError> {
        let value = self.ctx.effects.recorded(BASELINE);
        let value = value.ok_or_else(|| StepError::Broken("the baseline is not recorded".into()))?;
        serde_json::from_value(value).map_err(|e| StepError::Broken(format!("the baseline can't be read: {e}")))
    }

    /// How proposals of this story are judged.
    pub fn verify_spec(&self, baseline: TestReport) -> VerifySpec {
        VerifySpec {
            build: self.story.build.clone(),
            test: self.story.test.clone(),
            format: format_of(self.story.results),
            protected: self.story.protected.clone(),
            test_files: self.story.test_files.clone(),
            baseline,
            expected: Vec::new(),
            limits: self.run_limits(),
        }
    }

    /// What one run may use.
    pub fn run_limits(&self) -> RunLimits {
        let options = &self.services.options.runs;
        RunLimits {
            wall: options.wall,
            memory: bytesize::ByteSize::b(options.memory_bytes),
            pids: options.pids,
            keep_bytes: bytesize::ByteSize::b(options.output_bytes),
            ..RunLimits::default()
        }
    }

    /// Does something, unless the job is to stop.
    pub async fn cancellable<T>(&self, f: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
        tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => Err(StepError::Cancelled),
            result = f => result,
        }
    }

    /// Has an effect, or gives its recorded outcome.
    ///
    /// A cancelled or broken effect is *dropped*, not answered: its intention stays without an
    /// outcome, so that the next run does it again instead of finding a failure that was none.
    pub async fn effect<T, F, Fut>(
        &self,
        key: &str,
        class: EffectClass,
        by: Author,
        what: Value,
        f: F,
    ) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, Fault>>,
    {
        let (broke, broken) = oneshot::channel();
        let spec = EffectSpec { key: key.to_owned(), class, by, what, facts: Vec::new() };
        let run = self.ctx.effects.run(spec, |_| async move {
            match f().await {
                Ok(value) => Ok(value),
                Err(Fault::Outcome(error)) => Err(error),
                Err(Fault::Broken(why)) => {
                    // The receiver is gone only if the whole effect is.
                    let _ = broke.send(why);
                    std::future::pending().await
                }
            }
        });
        tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => Err(StepError::Cancelled),
            Ok(why) = broken => Err(StepError::Broken(why)),
            result = run => result.map_err(effect_error),
        }
    }
}

/// Blocking work of the repository, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, RepoError> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result.map_err(repo),
        Err(e) => Err(Fault::Broken(format!("a disk task ended: {e}"))),
    }
}

fn effect_error(e: EffectError) -> StepError {
    match e {
        EffectError::Failed { error, .. } => StepError::Failed(error),
        EffectError::Journal(e) => StepError::Broken(e.to_string()),
        e @ (EffectError::Unknown { .. } | EffectError::Unreadable { .. }) => StepError::Failed(e.to_string()),
    }
}

pub(crate) fn step(fault: Fault) -> StepError {
    match fault {
        Fault::Outcome(why) => StepError::Failed(why),
        Fault::Broken(why) => StepError::Broken(why),
    }
}

/// A full disk or a lost helper says nothing about the repository; everything else does.
pub(crate) fn repo(e: RepoError) -> Fault {
    match e {
        RepoError::Io { .. } | RepoError::GitTimeout { .. } => Fault::Broken(e.to_string()),
        RepoError::Sandbox(e) => sandbox(e),
        e => Fault::Outcome(e.to_string()),
    }
}

pub(crate) fn sandbox(e: SandboxError) -> Fault {
    match e {
        SandboxError::Refused(why) => Fault::Outcome(why),
        e => Fault::Broken(e.to_string()),
    }
}

pub(crate) fn verify_fault(e: VerifyError) -> Fault {
    match e {
        VerifyError::Repo(e) => repo(e),
        VerifyError::Sandbox(e) => sandbox(e),
        VerifyError::Glob(why) => Fault::Outcome(why),
        VerifyError::GivenUp(why) => Fault::Broken(why),
    }
}

impl From<JournalError> for StepError {
    fn from(e: JournalError) -> Self {
        Self::Broken(e.to_string())
    }
}

impl From<BlobError> for StepError {
    fn from(e: BlobError) -> Self {
        Self::Broken(e.to_string())
    }
}

impl From<StepError> for JobError {
    fn from(e: StepError) -> Self {
        match e {
            StepError::Cancelled => Self::Cancelled,
            StepError::Broken(why) => Self::Crash(why),
            StepError::Failed(why) => Self::Failed(why),
        }
    }
}

pub(crate) fn format_of(format: ResultsFormat) -> Format {
    match format {
        ResultsFormat::Unittest => Format::Unittest,
        ResultsFormat::Libtest => Format::Libtest,
        ResultsFormat::Node => Format::Node,
        ResultsFormat::Exit => Format::Exit,
    }
}

/// Shared by reference among the actors of one story.
pub(crate) type SharedWork = Arc<Work>;
