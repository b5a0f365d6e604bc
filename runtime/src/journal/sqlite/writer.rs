//! The one thread that writes, and its group commit.

use std::fs::File;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::append::{Prepared, Queued};
use super::heads::{Heads, save_generation};
use super::options::JournalOptions;
use super::recovery::Opened;
use super::row;
use super::schema::{self, POSITION_FLOOR};
use crate::id::{Generation, Position, ProjectId, Seq, StreamId};
use crate::journal::event::{Envelope, NewEvent};
use crate::journal::hash::{Hash, HashedEnvelope};
use crate::journal::store::{Expected, JournalError};
use crate::time::Timestamp;

type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

pub(super) enum Request {
    Append(AppendRequest),
    Claim { stream: StreamId, reply: Reply<Generation> },
    Delete { stream: StreamId, reply: Reply<u64> },
}

pub(super) struct AppendRequest {
    pub stream: StreamId,
    pub project: ProjectId,
    pub expected: Expected,
    pub generation: Generation,
    pub events: Vec<Prepared>,
    pub reply: Reply<Vec<Assigned>>,
}

/// The place that the writer gave an event.
pub(super) struct Assigned {
    pub position: Position,
    pub at: Timestamp,
    pub seq: Seq,
    pub prev_hash: Hash,
    pub hash: Hash,
}

impl Assigned {
    pub fn envelope(self, event: NewEvent, stream: &StreamId, project: &ProjectId, generation: Generation) -> Envelope {
        Envelope {
            position: self.position,
            at: self.at,
            by: event.by,
            project: project.clone(),
            stream: stream.clone(),
            seq: self.seq,
            generation,
            kind: event.kind,
            version: event.version,
            caused_by: event.caused_by,
            facts: event.facts,
            prev_hash: self.prev_hash,
            hash: self.hash,
            payload: event.payload,
        }
    }
}

/// An answer that may be given once the transaction is on disk.
enum Answer {
    Append(Reply<Vec<Assigned>>, Result<Vec<Assigned>, JournalError>),
    Claim(Reply<Generation>, Result<Generation, JournalError>),
    Delete(Reply<u64>, Result<u64, JournalError>),
}

impl Answer {
    /// An asker that has gone away doesn't matter: what it asked for is done.
    fn give(self) {
        match self {
            Self::Append(reply, result) => drop(reply.send(result)),
            Self::Claim(reply, result) => drop(reply.send(result)),
            Self::Delete(reply, result) => drop(reply.send(result)),
        }
    }

    fn fail(self, error: &JournalError) {
        match self {
            Self::Append(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Claim(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Delete(reply, _) => drop(reply.send(Err(error.clone()))),
        }
    }
}

impl Request {
    fn events(&self) -> usize {
        match self {
            Self::Append(append) => append.events.len().max(1),
            Self::Claim { .. } | Self::Delete { .. } => 1,
        }
    }

    fn fail(self, error: &JournalError) {
        match self {
            Self::Append(append) => drop(append.reply.send(Err(error.clone()))),
            Self::Claim { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Delete { reply, .. } => drop(reply.send(Err(error.clone()))),
        }
    }
}

pub(super) struct Writer {
    connection: Connection,
    state: State,
    requests: mpsc::Receiver<Queued>,
    commits: watch::Sender<Position>,
    max_batch_events: usize,
    /// Why it writes no more: the disk failed in a way that leaves its state unknown.
    broken: Option<Arc<str>>,
    /// Holds the folder until the connection is closed; declared last, dropped last.
    _lock: File,
}

/// What the open transaction builds on.
struct State {
    heads: Heads,
    next: Position,
    now: Timestamp,
}

impl Writer {
    pub fn new(
        opened: Opened,
        requests: mpsc::Receiver<Queued>,
        commits: watch::Sender<Position>,
        options: &JournalOptions,
    ) -> Self {
        let state = State { heads: Heads::default(), next: opened.next, now: opened.last_at };
        Self {
            connection: opened.connection,
            state,
            requests,
            commits,
            max_batch_events: options.max_batch_events.max(1),
            broken: None,
            _lock: opened.lock,
        }
    }

    /// Runs until the queue is closed and empty.
    pub fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(first) = self.requests.blocking_recv() {
            self.gather(first, &mut batch);
            match self.broken.clone() {
                None => self.commit(&mut batch),
                Some(why) => {
                    let closed = JournalError::Closed(Some(why));
                    batch.drain(..).for_each(|queued: Queued| queued.request.fail(&closed));
                }
            }
        }
        self.close();
    }

    /// Takes what waits already; never waits for more.
    fn gather(&mut self, first: Queued, batch: &mut Vec<Queued>) {
        let mut events = first.request.events();
        batch.push(first);
        while events < self.max_batch_events
            && let Ok(queued) = self.requests.try_recv()
        {
            events += queued.request.events();
            batch.push(queued);
        }
    }

    fn commit(&mut self, batch: &mut Vec<Queued>) {
        let before = self.state.next;
        let mut answers = Vec::with_capacity(batch.len());
        match self.transact(batch, &mut answers) {
            Ok(deleted) => {
                self.publish(before);
                answers.into_iter().for_each(Answer::give);
                if deleted {
                    self.scrub();
                }
            }
            Err(error) => {
                self.state.heads.clear();
                self.state.next = before;
                self.judge(&error);
                let error = JournalError::from(error);
                answers.into_iter().for_each(|answer| answer.fail(&error));
                batch.drain(..).for_each(|queued| queued.request.fail(&error));
            }
        }
    }

    /// Empties the batch into one transaction; says whether it deleted a stream.
    ///
    /// A refused request is answered with its refusal and doesn't disturb the others. An error is
    /// the storage's: it undoes all of them, those left in the batch included.
    fn transact(&mut self, batch: &mut Vec<Queued>, answers: &mut Vec<Answer>) -> rusqlite::Result<bool> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.state.now = self.state.now.max(Timestamp::now());
        let mut deleted = false;
        for queued in batch.drain(..) {
            deleted |= matches!(queued.request, Request::Delete { .. });
            let (answer, stored) = self.state.apply(&tx, queued.request);
            answers.push(answer);
            stored?;
        }
        tx.commit()?;
        Ok(deleted)
    }

    fn publish(&self, before: Position) {
        if self.state.next > before {
            self.commits.send_replace(Position(self.state.next.0 - 1));
        }
    }

    /// After a failed write or fsync nobody knows what is on disk; only opening the file again
    /// finds out. A full disk or a locked file is known not to have been written.
    fn judge(&mut self, error: &rusqlite::Error) {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        tracing::error!(%error, "a journal commit failed");
        if let Some(SystemIoFailure | DatabaseCorrupt | NotADatabase) = error.sqlite_error_code() {
            self.broken = Some(format!("its storage failed: {error}").into());
        }
    }

    /// Makes a deletion final: no copy of the pages stays in the WAL.
    fn scrub(&self) {
        if let Err(error) = checkpoint(&self.connection) {
            tracing::warn!(%error, "deleted events stay in the write-ahead log until the next checkpoint");
        }
    }

    fn close(self) {
        if self.broken.is_none()
            && let Err(error) = self.connection.execute_batch("PRAGMA optimize")
        {
            tracing::debug!(%error, "could not optimise the journal at its end");
        }
    }
}

/// Writes the WAL back and empties it, so that its next use starts with fresh salts.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

impl State {
    fn apply(&mut self, tx: &Transaction<'_>, request: Request) -> (Answer, rusqlite::Result<()>) {
        match request {
            Request::Append(append) => {
                let (result, stored) = split(self.append(tx, &append));
                (Answer::Append(append.reply, result), stored)
            }
            Request::Claim { stream, reply } => {
                let (result, stored) = split(self.claim(tx, &stream).map(Ok));
                (Answer::Claim(reply, result), stored)
            }
            Request::Delete { stream, reply } => {
                let (result, stored) = split(self.delete(tx, &stream).map(Ok));
                (Answer::Delete(reply, result), stored)
            }
        }
    }

    fn append(
        &mut self,
        tx: &Transaction<'_>,
        append: &AppendRequest,
    ) -> rusqlite::Result<Result<Vec<Assigned>, JournalError>> {
        let head = self.heads.get(tx, &append.stream)?;
        let AppendRequest { stream, project, expected, generation, events, reply: _ } = append;
        if let Err(refusal) = head.admit(stream, project, *expected, *generation) {
            return Ok(Err(refusal));
        }
        if events.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        // A stream's first event makes it known; a newer generation raises the fence.
        if head.project.is_none() || *generation > head.generation {
            head.generation = *generation;
            head.project = Some(project.clone());
            save_generation(tx, stream, *generation)?;
        }
        let mut insert = tx.prepare_cached(row::INSERT)?;
        let mut assigned = Vec::with_capacity(events.len());
        for event in events {
            let mut place = Assigned {
                position: self.next,
                at: self.now,
                seq: head.last_seq.next(),
                prev_hash: head.last_hash,
                hash: Hash::ZERO,
            };
            place.hash = link(&place, append, event.content);
            row::insert(&mut insert, stream, project, *generation, event, &place)?;
            (head.last_seq, head.last_hash) = (place.seq, place.hash);
            self.next = self.next.next();
            assigned.push(place);
        }
        Ok(Ok(assigned))
    }

    fn claim(&mut self, tx: &Transaction<'_>, stream: &StreamId) -> rusqlite::Result<Generation> {
        let head = self.heads.get(tx, stream)?;
        head.generation = head.generation.next();
        save_generation(tx, stream, head.generation)?;
        Ok(head.generation)
    }

    fn delete(&mut self, tx: &Transaction<'_>, stream: &StreamId) -> rusqlite::Result<u64> {
        let next = self.next;
        let head = self.heads.get(tx, stream)?;
        let deleted = tx.prepare_cached("DELETE FROM events WHERE stream = ?1")?.execute([stream.as_str()])?;
        head.generation = head.generation.next();
        (head.project, head.last_seq, head.last_hash) = (None, Seq(0), Hash::ZERO);
        save_generation(tx, stream, head.generation)?;
        schema::set_meta(tx, POSITION_FLOOR, row::to_sql(next.0))?;
        Ok(deleted as u64)
    }
}

fn link(place: &Assigned, append: &AppendRequest, content: Hash) -> Hash {
    HashedEnvelope {
        position: place.position,
        at: place.at,
        project: append.project.as_str(),
        stream: append.stream.as_str(),
        seq: place.seq,
        generation: append.generation,
        prev_hash: place.prev_hash,
    }
    .hash(content)
}

/// Tells the asker's result from the storage's.
fn split<T>(result: rusqlite::Result<Result<T, JournalError>>) -> (Result<T, JournalError>, rusqlite::Result<()>) {
    match result {
        Ok(result) => (result, Ok(())),
        // The asker is told by the failure of the whole batch.
        Err(error) => (Err(JournalError::Closed(None)), Err(error)),
    }
}
