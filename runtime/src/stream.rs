//! The writers of one stream.
//!
//! Opening one claims the stream's generation: whoever wrote before is refused from then on. Its
//! clones share one order; an append holds the next one back until it is on disk. Writers of one
//! generation may be on several nodes: each names the end that it knows, and reads on where that
//! has changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::id::{Generation, ProjectId, Seq, StreamId};
use crate::journal::{Append, Envelope, Expected, Journal, JournalError, NewEvent};
use crate::redact::{Redacted, Redactor};

/// How many events one read of the history asks for.
const HISTORY_PAGE: usize = 1_000;
/// Pauses between attempts while the journal is away; doubled up to the second.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

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
        Ok(Self::join(journal, redactor, stream, project, generation))
    }

    /// Writes as a generation that was claimed already, beside its other writers on this and on other nodes.
    pub fn join(
        journal: Arc<dyn Journal>,
        redactor: Arc<dyn Redactor>,
        stream: StreamId,
        project: ProjectId,
        generation: Generation,
    ) -> Self {
        let end = Mutex::new(None);
        Self(Arc::new(Inner { journal, redactor, stream, project, generation, end }))
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
    ///
    /// While the journal is away this waits for it, however long that takes: what can't be recorded must not go on. An
    /// append whose answer was lost is looked for before it is made again, so it is there once.
    pub async fn append_all(&self, events: Vec<NewEvent>) -> Result<Vec<Envelope>, JournalError> {
        let inner = &*self.0;
        let redact = |event| Redacted::event(&*inner.redactor, &inner.project, event);
        let events: Vec<_> = events.into_iter().map(redact).collect();
        let mut end = inner.end.lock().await;
        // Taken, not copied: if this future is dropped below, the end isn't known any more.
        let mut known = end.take();
        let (mut unclear, mut pause) = (false, PAUSE);
        loop {
            let result = match known {
                Some(from) => inner.append(from, events.clone()).await,
                None => match inner.last_seq().await {
                    Ok(last) => {
                        known = Some(last);
                        continue;
                    }
                    Err(e) => Err(e),
                },
            };
            match result {
                Ok(appended) => {
                    *end = appended.last().map(|e| e.seq).or(known);
                    return Ok(appended);
                }
                // Another writer of this generation was there first, or an attempt of ours got there after all.
                Err(JournalError::WrongSeq { .. }) => {
                    let since = inner.read_from(known.unwrap_or_default().next()).await?;
                    if let Some(ours) = unclear.then(|| find(&since, &events, inner.generation)).flatten() {
                        *end = since.last().map(|e| e.seq);
                        return Ok(ours);
                    }
                    // None: the journal was read before what made it refuse could be seen.
                    known = since.last().map(|e| e.seq);
                }
                Err(error @ (JournalError::Away(_) | JournalError::Unclear(_))) => {
                    unclear |= known.is_some() && matches!(error, JournalError::Unclear(_));
                    tracing::warn!(stream = %inner.stream, %error, "waiting for the journal");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    let torn = matches!(error, JournalError::Storage(_) | JournalError::Closed(_));
                    *end = known.filter(|_| !torn);
                    return Err(error);
                }
            }
        }
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
        self.0.read_from(Seq(1)).await
    }
}

impl Inner {
    async fn append(&self, from: Seq, events: Vec<Redacted<NewEvent>>) -> Result<Vec<Envelope>, JournalError> {
        let append = Append {
            stream: self.stream.clone(),
            project: self.project.clone(),
            expected: Expected::Seq(from),
            generation: self.generation,
            events,
        };
        self.journal.append(append).await
    }

    /// Seq 0 where there is no event yet.
    async fn last_seq(&self) -> Result<Seq, JournalError> {
        let heads = self.journal.streams(self.stream.as_str()).await?;
        let head = heads.into_iter().find(|head| head.stream == self.stream);
        Ok(head.map_or(Seq(0), |head| head.last_seq))
    }

    async fn read_from(&self, from: Seq) -> Result<Vec<Envelope>, JournalError> {
        let mut all: Vec<Envelope> = Vec::new();
        loop {
            let from = all.last().map_or(from, |e| e.seq.next());
            let page = self.journal.read_stream(&self.stream, from, HISTORY_PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}

/// The envelopes that hold just these events, one after the other.
fn find(since: &[Envelope], events: &[Redacted<NewEvent>], generation: Generation) -> Option<Vec<Envelope>> {
    let is = |envelope: &Envelope, event: &NewEvent| {
        envelope.generation == generation
            && (&envelope.by, &envelope.kind, envelope.version) == (&event.by, &event.kind, event.version)
            && (envelope.caused_by, &envelope.facts) == (event.caused_by, &event.facts)
            && envelope.payload == event.payload
    };
    let all = |window: &&[Envelope]| window.iter().zip(events).all(|(envelope, event)| is(envelope, event.get()));
    since.windows(events.len().max(1)).find(all).map(<[Envelope]>::to_vec)
}

impl std::fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamWriter({}, generation {})", self.0.stream, self.0.generation)
    }
}

#[cfg(test)]
mod tests;
