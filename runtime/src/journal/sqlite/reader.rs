//! The read side: a few read-only connections, and the queries.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Params};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::options::JournalOptions;
use super::row::{COLUMNS, StoredRow, to_sql};
use super::schema;
use crate::id::{Generation, Position, Seq, StreamId};
use crate::journal::event::Envelope;
use crate::journal::store::{JournalError, StreamHead};
use crate::journal::verify::{ChainCheck, Link, VerifyReport};
use crate::time::Timestamp;

/// One answer holds no more than this, whatever limit was asked for.
const MAX_ANSWER_BYTES: usize = 32 << 20;
const MAX_ANSWER_EVENTS: usize = 10_000;

/// Read-only connections, opened when first needed.
pub(super) struct Readers {
    db: PathBuf,
    idle: Mutex<Vec<Connection>>,
    free: Semaphore,
    wait: Duration,
}

impl Readers {
    pub fn new(db: PathBuf, options: &JournalOptions) -> Self {
        let free = Semaphore::new(options.read_connections.max(1));
        Self { db, idle: Mutex::default(), free, wait: options.wait_for_room }
    }

    /// Runs a query on a thread that may block.
    pub async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let _free = match timeout(self.wait, self.free.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(JournalError::Closed(None)),
            Err(_) => return Err(JournalError::Busy),
        };
        let readers = self.clone();
        let run = move || {
            let connection = readers.take()?;
            let result = query(&connection);
            readers.put(connection);
            result
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(result) => result,
            Err(e) => Err(JournalError::Closed(Some(format!("a read broke off: {e}").into()))),
        }
    }

    /// No more reads; those under way finish.
    pub fn close(&self) {
        self.free.close();
        self.idle().clear();
    }

    fn take(&self) -> Result<Connection, JournalError> {
        let idle = self.idle().pop();
        idle.map_or_else(|| schema::open_reader(&self.db), Ok)
    }

    fn put(&self, connection: Connection) {
        if !self.free.is_closed() {
            self.idle().push(connection);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn read_stream(
    connection: &Connection,
    stream: &StreamId,
    from: Seq,
    limit: usize,
) -> Result<Vec<Envelope>, JournalError> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE stream = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3");
    let envelopes = read(connection, &sql, (stream.as_str(), to_sql(from.0), bounded(limit)))?;
    // Events are found through an index, which has no hash of its own.
    for (envelope, n) in envelopes.iter().zip(from.0.max(1)..) {
        if envelope.stream != *stream || envelope.seq.0 != n {
            let place = format!("stream {stream}, seq {n}");
            return Err(JournalError::corrupt(place, format!("found {} seq {}", envelope.stream, envelope.seq)));
        }
    }
    Ok(envelopes)
}

pub(super) fn read_all(connection: &Connection, after: Position, limit: usize) -> Result<Vec<Envelope>, JournalError> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2");
    read(connection, &sql, (to_sql(after.0), bounded(limit)))
}

fn bounded(limit: usize) -> i64 {
    to_sql(limit.min(MAX_ANSWER_EVENTS) as u64)
}

fn read(connection: &Connection, sql: &str, params: impl Params) -> Result<Vec<Envelope>, JournalError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut envelopes = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let row = StoredRow::read(row)?;
        bytes += row.payload.len() + row.facts.len();
        envelopes.push(row.into_envelope()?);
        if bytes > MAX_ANSWER_BYTES {
            break;
        }
    }
    Ok(envelopes)
}

pub(super) fn streams(connection: &Connection, prefix: &str) -> Result<Vec<StreamHead>, JournalError> {
    // First and last event by two steps into the index each; never a scan of the events.
    let mut statement = connection.prepare_cached(
        "SELECT s.stream, first.project, last.seq, max(s.generation, last.generation), first.at, last.at
         FROM streams s
         JOIN events first ON first.stream = s.stream
           AND first.seq = (SELECT min(seq) FROM events WHERE stream = s.stream)
         JOIN events last ON last.stream = s.stream
           AND last.seq = (SELECT max(seq) FROM events WHERE stream = s.stream)
         WHERE s.stream >= ?1 AND s.stream < ?2 ORDER BY s.stream",
    )?;
    // Stream ids are ASCII, so DEL comes behind every one with this prefix.
    let mut rows = statement.query((prefix, format!("{prefix}\u{7f}")))?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        let (stream, project): (String, String) = (row.get(0)?, row.get(1)?);
        let place = format!("stream {stream:?}");
        heads.push(StreamHead {
            stream: stream.parse().map_err(|e| JournalError::corrupt(&place, e))?,
            project: project.parse().map_err(|e| JournalError::corrupt(&place, e))?,
            last_seq: Seq(row.get(2)?),
            generation: Generation(row.get(3)?),
            first_at: Timestamp(row.get(4)?),
            last_at: Timestamp(row.get(5)?),
        });
    }
    Ok(heads)
}

/// Checks the file's structure, then every event and every link.
pub(super) fn verify(connection: &Connection) -> Result<VerifyReport, JournalError> {
    let structure = check_structure(connection, "integrity_check")?;
    let mut check = ChainCheck::new();
    let sql = format!("SELECT {COLUMNS} FROM events ORDER BY position");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        check.check_link(&StoredRow::read(row)?.link());
    }
    Ok(VerifyReport { structure, ..check.finish() })
}

/// What SQLite finds wrong with the file, a few lines at most.
pub(super) fn check_structure(connection: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}(10)"))?;
    let lines = statement.query_map((), |row| row.get::<_, String>(0))?;
    lines.filter(|line| !matches!(line, Ok(text) if text == "ok")).collect()
}

impl StoredRow {
    pub(super) fn link(&self) -> Link<'_> {
        Link {
            position: self.position,
            stream: &self.stream,
            seq: self.seq,
            prev_hash: self.prev_hash,
            hash: self.hash,
            whole: self.is_whole(),
        }
    }
}
