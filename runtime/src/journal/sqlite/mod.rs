//! The journal on this machine's disk: SQLite in WAL mode, `synchronous=FULL`.
//!
//! One writer thread takes appends from a bounded queue, as many as are waiting (up to a limit)
//! into one transaction, and answers after its fsync: a group commit. Serialising and hashing the
//! content happens in the appender's task; the writer only links and inserts. Reads go to a small
//! pool of read-only connections and never wait for the writer. Every event that is read is
//! checked against its hash.
//!
//! What happens at open is in `recovery`.

mod append;
mod header;
mod heads;
mod options;
mod reader;
mod recovery;
mod row;
mod salvage;
mod schema;
mod wal;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};

pub use options::JournalOptions;
pub use recovery::{Cut, OpenReport};

use super::event::Envelope;
use super::store::{Append, Journal, JournalError, StreamHead};
use super::verify::VerifyReport;
use crate::id::{Generation, Position, Seq, StreamId};
use append::{Prepared, Queue};
use reader::Readers;
use writer::{Assigned, Request};

/// The embedded journal. Dropping it finishes what is queued and closes the file.
pub struct SqliteJournal {
    /// Absent only while it is being dropped.
    queue: Option<Queue>,
    readers: Arc<Readers>,
    committed: watch::Receiver<Position>,
    max_event_bytes: usize,
    writer: Option<JoinHandle<()>>,
}

impl SqliteJournal {
    /// Opens the journal in `dir`, which is made if it isn't there, and checks its end.
    ///
    /// Blocks; takes the folder for this process. Damage at the end is cut off and named in the
    /// report, and the files as they were found are kept aside.
    pub fn open(dir: &Path, options: &JournalOptions) -> Result<(Self, OpenReport), JournalError> {
        let (opened, report) = recovery::open(dir, options)?;
        let readers = Arc::new(Readers::new(schema::db_path(dir), options));
        let (commits, committed) = watch::channel(report.last_position);
        let (queue, requests) = Queue::new(options);
        let writer = writer::Writer::new(opened, requests, commits, options);
        let thread = std::thread::Builder::new()
            .name("journal-writer".into())
            .spawn(move || writer.run())
            .map_err(JournalError::io("could not start the journal's writer thread"))?;
        let journal = Self {
            queue: Some(queue),
            readers,
            committed,
            max_event_bytes: usize::try_from(options.max_event_bytes.as_u64()).unwrap_or(usize::MAX),
            writer: Some(thread),
        };
        Ok((journal, report))
    }

    /// Checks every event of the journal and every link between them.
    pub async fn verify(&self) -> Result<VerifyReport, JournalError> {
        self.readers.with(reader::verify).await
    }

    /// Checks the journal in `dir` without opening it for writing; another process may be using it.
    pub fn verify_dir(dir: &Path) -> Result<VerifyReport, JournalError> {
        reader::verify(&schema::open_reader(&schema::db_path(dir))?)
    }

    async fn request<T>(
        &self,
        bytes: usize,
        make: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Request,
    ) -> Result<T, JournalError> {
        let queue = self.queue.as_ref().ok_or(JournalError::Closed(None))?;
        let (reply, answer) = oneshot::channel();
        queue.send(bytes, make(reply)).await?;
        answer.await.map_err(|_| JournalError::Closed(None))?
    }

    async fn append_prepared(&self, append: Append) -> Result<Vec<Envelope>, JournalError> {
        let Append { stream, project, expected, generation, events } = append;
        let prepared: Vec<_> =
            events.iter().map(|e| Prepared::new(e.get(), self.max_event_bytes)).collect::<Result<_, _>>()?;
        let bytes = prepared.iter().map(Prepared::bytes).sum();
        let assigned: Vec<Assigned> = {
            let (stream, project) = (stream.clone(), project.clone());
            let make = |reply| {
                Request::Append(writer::AppendRequest {
                    stream,
                    project,
                    expected,
                    generation,
                    events: prepared,
                    reply,
                })
            };
            self.request(bytes, make).await?
        };
        let envelopes = events.into_iter().zip(assigned);
        Ok(envelopes.map(|(event, place)| place.envelope(event.into_inner(), &stream, &project, generation)).collect())
    }
}

impl Journal for SqliteJournal {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        Box::pin(self.append_prepared(append))
    }

    fn read_stream(
        &self,
        stream: &StreamId,
        from: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        let stream = stream.clone();
        Box::pin(self.readers.with(move |c| reader::read_stream(c, &stream, from, limit)))
    }

    fn read_all(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        Box::pin(self.readers.with(move |c| reader::read_all(c, after, limit)))
    }

    fn streams(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<StreamHead>, JournalError>> {
        let prefix = prefix.to_owned();
        Box::pin(self.readers.with(move |c| reader::streams(c, &prefix)))
    }

    fn claim(&self, stream: &StreamId) -> BoxFuture<'_, Result<Generation, JournalError>> {
        let stream = stream.clone();
        Box::pin(self.request(0, |reply| Request::Claim { stream, reply }))
    }

    fn committed(&self) -> watch::Receiver<Position> {
        self.committed.clone()
    }

    fn delete_stream(&self, stream: &StreamId) -> BoxFuture<'_, Result<u64, JournalError>> {
        let stream = stream.clone();
        Box::pin(self.request(0, |reply| Request::Delete { stream, reply }))
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        // Readers first: the connection that closes last writes the log back, and only the writer can.
        self.readers.close();
        // The writer ends when the queue's last sender is gone, after what is still in it.
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the journal's writer thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;
