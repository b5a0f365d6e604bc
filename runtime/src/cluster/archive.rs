//! The cluster's events in the journal: read once at the start, then appended to.
//!
//! They lie in segments, `cluster/1`, `cluster/2` and so on. Each but the first begins with a snapshot of all before it.
//! When a segment has grown long enough the next one is begun, and once its snapshot is whole the one before is deleted.
//! So a start reads one segment, however long the cluster has lived.

use std::path::Path;
use std::sync::Arc;

use super::registry::{Book, ClusterEvent};
use crate::id::{NodeId, ProjectId, Seq, StreamId};
use crate::journal::{Author, Envelope, Journal, JournalError, JournalOptions, NewEvent, SqliteJournal};
use crate::redact::{NoSecrets, Redacted, Redactor};
use crate::stream::StreamWriter;
use crate::time::Timestamp;

/// What the control node writes its state to.
#[derive(Clone)]
pub struct ControlPorts {
    /// Where the cluster's state is kept. It must be the same after a restart.
    pub journal: Arc<dyn Journal>,
    pub redactor: Arc<dyn Redactor>,
}

impl ControlPorts {
    /// A journal for the cluster alone in that folder, from which no secrets are taken. For programs that have no journal
    /// of their own, and put no secrets into the keys of actors.
    pub fn alone(dir: &Path) -> Result<Self, JournalError> {
        let (journal, _) = SqliteJournal::open(dir, &JournalOptions::default())?;
        Ok(Self { journal: Arc::new(journal), redactor: Arc::new(NoSecrets) })
    }
}

impl std::fmt::Debug for ControlPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlPorts")
    }
}

const PREFIX: &str = "cluster/";
const PROJECT: &str = "fleet-cluster";
/// Events read at a time.
const PAGE: usize = 512;
/// Events of a segment, at least; more where the snapshot itself is larger, so that both cost about the same.
const SEGMENT: u64 = if cfg!(test) { 50 } else { 1000 };

/// The open segment.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    ports: ControlPorts,
    project: ProjectId,
    by: Author,
    segment: u64,
    writer: StreamWriter,
}

impl Archive {
    /// Claims the state of the cluster, and reads it; how many events that were beside the snapshot. Whoever wrote
    /// before is refused from then on.
    pub async fn open(ports: ControlPorts, node: NodeId) -> Result<(Self, Book, u64), JournalError> {
        let project = PROJECT.parse::<ProjectId>().map_err(|e| JournalError::corrupt(PROJECT, e))?;
        let mut segments: Vec<u64> =
            ports.journal.streams(PREFIX).await?.iter().filter_map(|head| number(&head.stream)).collect();
        segments.sort_unstable();
        let mut found = None;
        for segment in segments.iter().rev() {
            let stream = stream(*segment)?;
            // Claimed before it is read: nothing can be added meanwhile.
            let writer = writer(&ports, &project, *segment).await?;
            if let Some((book, events)) = read(&*ports.journal, &stream, *segment).await? {
                found = Some((*segment, writer, book, events));
                break;
            }
            // Its snapshot isn't whole: the control node ended while it wrote it.
            ports.journal.delete_stream(&stream).await?;
        }
        let (segment, writer, book, events) = match found {
            Some(found) => found,
            None => (1, self::writer(&ports, &project, 1).await?, Book::default(), 0),
        };
        for old in segments.into_iter().filter(|old| *old < segment) {
            ports.journal.delete_stream(&stream(old)?).await?;
        }
        let by = Author::Node(node.to_string());
        Ok((Self { ports, project, by, segment, writer }, book, events))
    }

    pub async fn append(&mut self, events: &[(ClusterEvent, Timestamp)]) -> Result<(), JournalError> {
        let written: Result<Vec<NewEvent>, _> = events.iter().map(|(e, at)| e.write(*at, self.by.clone())).collect();
        self.writer.append_all(written?).await.map(drop)
    }

    /// Whether it is time for a snapshot, after so many events.
    pub fn is_long(events: u64, book: &Book) -> bool {
        events >= SEGMENT.max(book.size() as u64)
    }

    /// Begins the next segment with this book, which has all that was appended so far.
    pub async fn begin_next(&mut self, book: &Book) -> Result<(), JournalError> {
        let next = self.segment + 1;
        let writer = writer(&self.ports, &self.project, next).await?;
        for part in book.snapshot() {
            writer.append(part.write(Timestamp::now(), self.by.clone())?).await?;
        }
        let before = std::mem::replace(&mut self.segment, next);
        self.writer = writer;
        self.ports.journal.delete_stream(&stream(before)?).await.map(drop)
    }

    /// Whether an event is the same after secrets were taken from it: else it couldn't be read back as what it was.
    pub fn keeps(ports: &ControlPorts, event: &ClusterEvent) -> bool {
        let (Ok(project), Ok(event)) = (PROJECT.parse(), event.write(Timestamp(0), Author::Node(String::new()))) else {
            return false;
        };
        let redacted = Redacted::event(&*ports.redactor, &project, event.clone());
        redacted.into_inner() == event
    }
}

fn number(stream: &StreamId) -> Option<u64> {
    stream.as_str().strip_prefix(PREFIX)?.parse().ok()
}

fn stream(segment: u64) -> Result<StreamId, JournalError> {
    format!("{PREFIX}{segment}").parse().map_err(|e| JournalError::corrupt(PREFIX, e))
}

async fn writer(ports: &ControlPorts, project: &ProjectId, segment: u64) -> Result<StreamWriter, JournalError> {
    StreamWriter::open(ports.journal.clone(), ports.redactor.clone(), stream(segment)?, project.clone()).await
}

/// The book of a segment and the number of events behind its snapshot; `None` if that isn't whole.
async fn read(journal: &dyn Journal, stream: &StreamId, segment: u64) -> Result<Option<(Book, u64)>, JournalError> {
    let (mut book, mut events, mut from) = (Book::default(), 0, Seq(1));
    let mut whole = segment == 1;
    loop {
        let page = journal.read_stream(stream, from, PAGE).await?;
        let Some(last) = page.last() else { return Ok(whole.then_some((book, events))) };
        from = last.seq.next();
        for envelope in &page {
            let Some((event, at)) = event_of(envelope)? else { continue };
            match &event {
                ClusterEvent::Snapshot(part) => whole = part.part == part.of,
                _ => events += 1,
            }
            book.apply(&event, at);
        }
    }
}

fn event_of(envelope: &Envelope) -> Result<Option<(ClusterEvent, Timestamp)>, JournalError> {
    // To skip one would be to forget an actor or to give a generation twice.
    let damaged = |e| JournalError::corrupt(format!("{} {}", envelope.stream, envelope.seq), e);
    ClusterEvent::read(envelope).transpose().map_err(damaged)
}
