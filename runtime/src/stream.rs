//! The single writer of one stream.
//!
//! Opening one claims the stream's generation: whoever wrote before is refused from then on. Its
//! clones share one order; an append holds the next one back until it is on disk.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::id::{Generation, ProjectId, Seq, StreamId};
use crate::journal::{Append, Envelope, Expected, Journal, JournalError, NewEvent};
use crate::redact::{Redacted, Redactor};

/// How many events one read of the history asks for.
const HISTORY_PAGE: usize = 1_000;

/// Appends to one stream as its present generation. Cheap to clone.
#[derive(Clone)]
pub struct StreamWriter(Arc<Inner>);

struct Inner {
    journal: Arc<dyn Journal>,
    redactor: Arc<dyn Redactor>,
    stream: StreamId,
    project: ProjectId,
    generation: Generation,
    /// Where the stream ends; `None` where that isn't known: at first, and after an append that
    /// was given up on. The generation keeps others out meanwhile.
    end: Mutex<Option<Seq>>,
}

impl StreamWriter {
    /// Claims the stream.
    pub async fn open(
        journal: Arc<dyn Journal>,
        redactor: Arc<dyn Redactor>,
        stream: StreamId,
        project: ProjectId,
    ) -> Result<Self, JournalError> {
        let generation = journal.claim(&stream).await?;
        let end = Mutex::new(None);
        Ok(Self(Arc::new(Inner { journal, redactor, stream, project, generation, end })))
    }

    /// Redacts the event, appends it, and gives it as it was recorded.
    pub async fn append(&self, event: NewEvent) -> Result<Envelope, JournalError> {
        let appended = self.append_all(vec![event]).await?;
        appended
            .into_iter()
            .next()
            .ok_or_else(|| JournalError::corrupt(&self.0.stream, "the journal kept none of an append"))
    }

    /// Appends all of them or none.
    pub async fn append_all(&self, events: Vec<NewEvent>) -> Result<Vec<Envelope>, JournalError> {
        let inner = &*self.0;
        let redact = |event| Redacted::event(&*inner.redactor, &inner.project, event);
        let events: Vec<_> = events.into_iter().map(redact).collect();
        let mut end = inner.end.lock().await;
        // Taken, not copied: if this future is dropped below, the end isn't known any more.
        let known = end.take();
        let result = inner
            .journal
            .append(Append {
                stream: inner.stream.clone(),
                project: inner.project.clone(),
                expected: known.map_or(Expected::Any, Expected::Seq),
                generation: inner.generation,
                events,
            })
            .await;
        *end = match &result {
            Ok(appended) => appended.last().map(|e| e.seq).or(known),
            // An append that was dropped had got there after all. Still the only writer, so the
            // next one may go on from wherever the stream ends.
            Err(JournalError::WrongSeq { .. } | JournalError::Storage(_) | JournalError::Closed(_)) => None,
            Err(_) => known,
        };
        result
    }

    pub fn generation(&self) -> Generation {
        self.0.generation
    }

    pub fn stream(&self) -> &StreamId {
        &self.0.stream
    }

    pub fn project(&self) -> &ProjectId {
        &self.0.project
    }

    /// The stream from its first event to its present end.
    pub async fn history(&self) -> Result<Vec<Envelope>, JournalError> {
        let mut all: Vec<Envelope> = Vec::new();
        loop {
            let from = all.last().map_or(Seq(1), |e| e.seq.next());
            let page = self.0.journal.read_stream(&self.0.stream, from, HISTORY_PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}

impl std::fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamWriter({}, generation {})", self.0.stream, self.0.generation)
    }
}

#[cfg(test)]
mod tests;
