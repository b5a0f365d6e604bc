//! What is asked for and what is told about a job.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Generation, JobId, ProjectId};
use crate::journal::Author;
use crate::time::Timestamp;

/// A job as it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSubmit {
    /// Which [`JobKind`](super::JobKind) does it.
    pub kind: String,
    pub project: ProjectId,
    /// The same key in the same project gives the same job.
    pub idempotency_key: String,
    pub title: String,
    pub spec: serde_json::Value,
    /// Higher goes first.
    pub priority: i32,
    pub by: Author,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    /// For a person.
    Waiting,
    Stopping,
    Succeeded,
    Failed,
    Stopped,
}

impl JobState {
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Waiting, Self::Stopping, Self::Succeeded, Self::Failed, Self::Stopped];

    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for JobState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use JobState::{Failed, Queued, Running, Stopped, Stopping, Succeeded, Waiting};
        [Queued, Running, Waiting, Stopping, Succeeded, Failed, Stopped]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not the state of a job"))
    }
}

/// What is known of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    pub id: JobId,
    pub kind: String,
    pub project: ProjectId,
    pub title: String,
    pub state: JobState,
    pub priority: i32,
    pub submitted_at: Timestamp,
    /// Its first start.
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub by: crate::journal::Author,
    pub outcome: Option<JobOutcome>,
    /// Of its latest run.
    pub generation: Generation,
    /// The name of the node that its latest run is, or was, on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why it is in this state; computed, never guessed.
    pub why: Option<String>,
}

/// Some of the jobs, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobPage {
    pub jobs: Vec<JobRecord>,
    /// Where the next page begins: behind this position. `None`: there is no more.
    pub more_after: Option<crate::id::Position>,
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobOutcome {
    pub success: bool,
    pub summary: String,
    #[serde(default)]
    pub detail: serde_json::Value,
}

/// What can go wrong with a job; each says what the caller can do.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobError {
    #[error("no job is of kind {kind:?}; known: {}", known.join(", "))]
    UnknownKind { kind: String, known: Vec<String> },
    #[error("the job's spec is refused: {0}")]
    InvalidSpec(String),
    #[error("the idempotency key was used for {job} with another spec; take a new key")]
    Conflict { job: JobId },
    #[error("there is no job {0}")]
    NotFound(JobId),
    #[error("job {job} is {state}; stop it first")]
    NotEnded { job: JobId, state: JobState },
    #[error("too many jobs are open ({open}); try again later")]
    Busy { open: usize },
    /// The service may have done it or not: asking again is safe, submitting with the same key too.
    #[error("the jobs service does not answer: {0}")]
    Unavailable(String),
    #[error("the journal refused: {0}")]
    Journal(String),
    /// The run broke off for a reason that isn't the job's: it is tried again.
    #[error("crashed: {0}")]
    Crash(String),
    /// The run found that the job can't be done: it isn't tried again.
    #[error("{0}")]
    Failed(String),
    #[error("cancelled")]
    Cancelled,
}

impl From<crate::journal::JournalError> for JobError {
    fn from(e: crate::journal::JournalError) -> Self {
        Self::Journal(e.to_string())
    }
}
