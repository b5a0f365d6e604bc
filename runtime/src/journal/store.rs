//! What a journal does, whatever it stands on.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::event::{Envelope, NewEvent};
use crate::id::{Generation, Position, ProjectId, Seq, StreamId};
use crate::redact::Redacted;
use crate::time::Timestamp;

/// Where the appender believes the stream to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing has been appended yet.
    NoStream,
    /// The last event has this seq.
    Seq(Seq),
    /// Wherever it ends. For a stream whose order doesn't matter, or that has one writer only.
    Any,
}

/// Events for one stream, appended all or none.
#[derive(Clone, Debug)]
pub struct Append {
    pub stream: StreamId,
    /// Fixed by the first append to the stream.
    pub project: ProjectId,
    pub expected: Expected,
    /// Refused when older than the stream's.
    pub generation: Generation,
    pub events: Vec<Redacted<NewEvent>>,
}

/// A stream in brief.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHead {
    pub stream: StreamId,
    pub project: ProjectId,
    pub last_seq: Seq,
    pub generation: Generation,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// The append-only truth.
///
/// A read may give fewer than `limit` events (answers are bounded in bytes); an empty answer, and
/// nothing else, means that there are no more.
pub trait Journal: Send + Sync + 'static {
    /// Resolves once the events are on disk. If the future is dropped they may still get there.
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>>;

    /// The stream's events from `from` on, in order.
    fn read_stream(
        &self,
        stream: &StreamId,
        from: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>>;

    /// All streams' events behind `after`, in order of position.
    fn read_all(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>>;

    /// The streams that have events and whose id starts with `prefix`, by id.
    fn streams(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<StreamHead>, JournalError>>;

    /// Raises the stream's generation and gives it: from now on older writers are refused.
    fn claim(&self, stream: &StreamId) -> BoxFuture<'_, Result<Generation, JournalError>>;

    /// The last position that is on disk. Changes after each commit.
    fn committed(&self) -> watch::Receiver<Position>;

    /// Removes the stream's events and gives their number. Its writers are fenced, its positions
    /// are never used again.
    fn delete_stream(&self, stream: &StreamId) -> BoxFuture<'_, Result<u64, JournalError>>;
}

/// Why the journal didn't do it. Nothing was written, except where it says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// Someone else appended. Read what, decide again.
    #[error("stream {stream} ends at {actual}, not at {expected:?}")]
    WrongSeq { stream: StreamId, expected: Expected, actual: Seq },
    /// A newer writer has claimed the stream. Stop.
    #[error("stream {stream} belongs to generation {current} now; generation {have} may no longer write")]
    Fenced { stream: StreamId, have: Generation, current: Generation },
    #[error("stream {stream} belongs to project {actual}, not to {given}")]
    OtherProject { stream: StreamId, given: ProjectId, actual: ProjectId },
    /// Full for longer than the configured wait. Try again later.
    #[error("the journal is busy: its queue stayed full")]
    Busy,
    /// It was shut down, or gave up after its disk failed.
    #[error("the journal is closed{}", .0.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    Closed(Option<Arc<str>>),
    /// Put what is large into a blob and its digest into the event.
    #[error("an event of {bytes} bytes is over the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// Damaged after it was written. `fleet audit verify` shows all of it.
    #[error("the journal is damaged at {place}: {what}")]
    Corrupt { place: String, what: String },
    #[error("another process uses the journal in {0}")]
    InUse(Arc<str>),
    /// Written by a newer version, or not a journal.
    #[error("{0}")]
    Unreadable(Arc<str>),
    #[error("{what}: {source}")]
    Io { what: Arc<str>, source: Arc<io::Error> },
    /// Whether anything was written is unknown only if the disk failed during the commit; the
    /// journal then closes itself, and what is there is known when it is opened again.
    #[error("journal storage: {0}")]
    Storage(Arc<rusqlite::Error>),
    #[error("not JSON: {0}")]
    Json(Arc<serde_json::Error>),
    /// The control node, which keeps the journal, isn't reached. Ask again: whatever was asked for wasn't done.
    #[error("the journal can't be reached: {0}")]
    Away(Arc<str>),
    /// No answer came from the control node. It may have been done: read before doing it again.
    #[error("the journal gave no answer: {0}")]
    Unclear(Arc<str>),
}

impl JournalError {
    pub(super) fn io(what: impl Into<Arc<str>>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source: Arc::new(source) }
    }

    pub(crate) fn corrupt(place: impl ToString, what: impl ToString) -> Self {
        Self::Corrupt { place: place.to_string(), what: what.to_string() }
    }

    /// For a person to look up.
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongSeq { .. } => "FLT-J001",
            Self::Fenced { .. } => "FLT-J002",
            Self::OtherProject { .. } => "FLT-J003",
            Self::Busy => "FLT-J004",
            Self::Closed(_) => "FLT-J005",
            Self::TooLarge { .. } => "FLT-J006",
            Self::Corrupt { .. } => "FLT-J007",
            Self::InUse(_) => "FLT-J008",
            Self::Unreadable(_) => "FLT-J009",
            Self::Io { .. } => "FLT-J010",
            Self::Storage(_) => "FLT-J011",
            Self::Json(_) => "FLT-J012",
            Self::Away(_) => "FLT-J013",
            Self::Unclear(_) => "FLT-J014",
        }
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl From<serde_json::Error> for JournalError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(Arc::new(error))
    }
}
