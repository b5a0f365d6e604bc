//! Journals and events for this crate's tests.

use std::path::Path;
use std::sync::Mutex;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::id::{Generation, Position, ProjectId, Seq, StreamId};
use crate::redact::{NoSecrets, Redacted};
use crate::time::Timestamp;

pub fn project() -> ProjectId {
    "project".parse().unwrap()
}

pub fn stream(name: &str) -> StreamId {
    format!("test/{name}").parse().unwrap()
}

pub fn event(payload: Value) -> NewEvent {
    NewEvent::new(Author::Node("n1".into()), "test.event", payload)
}

/// One event with that number in it, for whoever the stream belongs to.
pub fn append(stream: &StreamId, n: u64) -> Append {
    appends(stream, Expected::Any, Generation(0), &[n])
}

pub fn appends(stream: &StreamId, expected: Expected, generation: Generation, ns: &[u64]) -> Append {
    let redacted = |n: &u64| Redacted::event(&NoSecrets, &project(), event(json!({"n": n, "pad": "x".repeat(200)})));
    Append {
        stream: stream.clone(),
        project: project(),
        expected,
        generation,
        events: ns.iter().map(redacted).collect(),
    }
}

pub fn open(dir: &Path) -> (SqliteJournal, OpenReport) {
    SqliteJournal::open(dir, &JournalOptions::default()).unwrap()
}

pub async fn everything(journal: &dyn Journal) -> Vec<Envelope> {
    let mut all: Vec<Envelope> = Vec::new();
    loop {
        let after = all.last().map_or(Position(0), |e| e.position);
        let page = journal.read_all(after, 500).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// What the process does at the append where it crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    BeforeWriting,
    AfterWriting,
}

/// A journal in memory that can be told to crash. Only as much as the effects' tests need.
#[derive(Default)]
pub struct MemoryJournal(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    events: Vec<Envelope>,
    generation: Generation,
    crash: Option<(usize, Crash)>,
    down: bool,
}

impl MemoryJournal {
    /// After `appends` more appends the next one crashes.
    pub fn crash_after(&self, appends: usize, how: Crash) {
        self.0.lock().unwrap().crash = Some((appends, how));
    }

    pub fn restart(&self) {
        let mut memory = self.0.lock().unwrap();
        (memory.down, memory.crash) = (false, None);
    }

    pub fn events(&self) -> Vec<Envelope> {
        self.0.lock().unwrap().events.clone()
    }
}

impl Memory {
    fn append(&mut self, append: Append) -> Result<Vec<Envelope>, JournalError> {
        if append.generation < self.generation {
            return Err(JournalError::Fenced {
                stream: append.stream,
                have: append.generation,
                current: self.generation,
            });
        }
        let crash = match &mut self.crash {
            _ if self.down => return Err(JournalError::Closed(None)),
            Some((0, how)) => Some(*how),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        self.down = crash.is_some();
        if crash == Some(Crash::BeforeWriting) {
            return Err(JournalError::Closed(None));
        }
        let first = self.events.len();
        for event in append.events {
            let event = event.into_inner();
            let n = self.events.len() as u64 + 1;
            let mut envelope = Envelope {
                position: Position(n),
                at: Timestamp(0),
                by: event.by,
                project: append.project.clone(),
                stream: append.stream.clone(),
                seq: Seq(n),
                generation: append.generation,
                kind: event.kind,
                version: event.version,
                caused_by: event.caused_by,
                facts: event.facts,
                prev_hash: self.events.last().map_or(Hash::ZERO, |e| e.hash),
                hash: Hash::ZERO,
                payload: event.payload,
            };
            envelope.hash = envelope.compute_hash().unwrap();
            self.events.push(envelope);
        }
        match crash {
            Some(_) => Err(JournalError::Closed(None)),
            None => Ok(self.events[first..].to_vec()),
        }
    }
}

fn ready<T: Send + 'static>(value: T) -> BoxFuture<'static, T> {
    Box::pin(std::future::ready(value))
}

impl Journal for MemoryJournal {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        ready(self.0.lock().unwrap().append(append))
    }

    fn read_stream(&self, _: &StreamId, from: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        let events = self.events();
        ready(Ok(events.into_iter().filter(|e| e.seq >= from).take(limit).collect()))
    }

    fn read_all(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        let events = self.events();
        ready(Ok(events.into_iter().filter(|e| e.position > after).take(limit).collect()))
    }

    fn streams(&self, _: &str) -> BoxFuture<'_, Result<Vec<StreamHead>, JournalError>> {
        ready(Ok(Vec::new()))
    }

    fn claim(&self, _: &StreamId) -> BoxFuture<'_, Result<Generation, JournalError>> {
        let mut memory = self.0.lock().unwrap();
        memory.generation = memory.generation.next();
        ready(Ok(memory.generation))
    }

    fn committed(&self) -> watch::Receiver<Position> {
        watch::channel(Position(0)).1
    }

    fn delete_stream(&self, _: &StreamId) -> BoxFuture<'_, Result<u64, JournalError>> {
        ready(Ok(0))
    }
}
