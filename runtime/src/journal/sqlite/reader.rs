//! The read side: a few read-only connections, and the queries.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Params};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::index;
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
    let indexed = format!("SELECT {COLUMNS} FROM events WHERE position IN ({INDEXED}) ORDER BY position");
    let tail = format!(
        "SELECT {COLUMNS} FROM events WHERE position > ?1 AND stream = ?2 AND seq >= ?3 ORDER BY position LIMIT ?4"
    );
    // One snapshot: the index may be brought up to date between the two queries.
    let snapshot = connection.unchecked_transaction()?;
    let mut page = Page::new(limit);
    page.fill(&snapshot, &indexed, (stream.as_str(), to_sql(from.0), page.room()))?;
    let next = page.envelopes.last().map_or(from, |last| last.seq.next());
    let after = index::up_to(&snapshot)?;
    page.fill(&snapshot, &tail, (after, stream.as_str(), to_sql(next.0), page.room()))?;
    // Events are found through an index, which has no hash of its own.
    for (envelope, n) in page.envelopes.iter().zip(from.0.max(1)..) {
        if envelope.stream != *stream || envelope.seq.0 != n {
            let place = format!("stream {stream}, seq {n}");
            return Err(JournalError::corrupt(place, format!("found {} seq {}", envelope.stream, envelope.seq)));
        }
    }
    Ok(page.envelopes)
}

const INDEXED: &str = "SELECT position FROM stream_index WHERE stream = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3";

pub(super) fn read_all(connection: &Connection, after: Position, limit: usize) -> Result<Vec<Envelope>, JournalError> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2");
    let mut page = Page::new(limit);
    page.fill(connection, &sql, (to_sql(after.0), page.room()))?;
    Ok(page.envelopes)
}

/// An answer in the making, bounded in events and in bytes.
struct Page {
    envelopes: Vec<Envelope>,
    limit: usize,
    bytes: usize,
}

impl Page {
    fn new(limit: usize) -> Self {
        Self { envelopes: Vec::new(), limit: limit.min(MAX_ANSWER_EVENTS), bytes: 0 }
    }

    /// How many more events it takes.
    fn room(&self) -> i64 {
        let full = self.bytes > MAX_ANSWER_BYTES;
        if full { 0 } else { to_sql((self.limit - self.envelopes.len()) as u64) }
    }

    fn fill(&mut self, connection: &Connection, sql: &str, params: impl Params) -> Result<(), JournalError> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while self.room() > 0
            && let Some(row) = rows.next()?
        {
            let row = StoredRow::read(row)?;
            self.bytes += row.payload.len() + row.facts.len();
            self.envelopes.push(row.into_envelope()?);
        }
        Ok(())
    }
}

pub(super) fn streams(connection: &Connection, prefix: &str) -> Result<Vec<StreamHead>, JournalError> {
    // Stream ids are ASCII, so DEL comes behind every one with this prefix.
    let end = format!("{prefix}\u{7f}");
    let snapshot = connection.unchecked_transaction()?;
    let mut heads: BTreeMap<String, StreamHead> = BTreeMap::new();
    each_head(&snapshot, INDEXED_HEADS, (prefix, &end), |head| drop(heads.insert(head.stream.to_string(), head)))?;
    let after = index::up_to(&snapshot)?;
    each_head(&snapshot, TAIL_HEADS, (prefix, &end, after), |event| match heads.get_mut(event.stream.as_str()) {
        Some(head) => *head = StreamHead { first_at: head.first_at, ..event },
        None => drop(heads.insert(event.stream.to_string(), event)),
    })?;
    Ok(heads.into_values().collect())
}

/// The first event and the last of each stream, by the index.
const INDEXED_HEADS: &str =
    "SELECT s.stream, first.project, last.seq, max(s.generation, last.generation), first.at, last.at
     FROM streams s
     JOIN events first ON first.position =
       (SELECT position FROM stream_index WHERE stream = s.stream ORDER BY seq LIMIT 1)
     JOIN events last ON last.position =
       (SELECT position FROM stream_index WHERE stream = s.stream ORDER BY seq DESC LIMIT 1)
     WHERE s.stream >= ?1 AND s.stream < ?2";

/// What isn't in the index yet, each event as if it were its stream's first and last.
const TAIL_HEADS: &str = "SELECT s.stream, e.project, e.seq, max(s.generation, e.generation), e.at, e.at
     FROM events e JOIN streams s ON s.stream = e.stream
     WHERE e.position > ?3 AND e.stream >= ?1 AND e.stream < ?2 ORDER BY e.position";

fn each_head(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut take: impl FnMut(StreamHead),
) -> Result<(), JournalError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        let (stream, project): (String, String) = (row.get(0)?, row.get(1)?);
        let place = format!("stream {stream:?}");
        take(StreamHead {
            stream: stream.parse().map_err(|e| JournalError::corrupt(&place, e))?,
            project: project.parse().map_err(|e| JournalError::corrupt(&place, e))?,
            last_seq: Seq(row.get(2)?),
            generation: Generation(row.get(3)?),
            first_at: Timestamp(row.get(4)?),
            last_at: Timestamp(row.get(5)?),
        });
    }
    Ok(())
}

/// Checks the file's structure, then every event and every link.
pub(super) fn verify(connection: &Connection) -> Result<VerifyReport, JournalError> {
    let snapshot = connection.unchecked_transaction()?;
    let mut structure = check_structure(&snapshot, "integrity_check")?;
    structure.extend(index::faults(&snapshot)?);
    let mut check = ChainCheck::new();
    let sql = format!("SELECT {COLUMNS} FROM events ORDER BY position");
    let mut statement = snapshot.prepare(&sql)?;
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
