//! Between a row and an envelope.

use rusqlite::{Connection, Row};

use super::append::Prepared;
use super::writer::Assigned;
use crate::id::{Generation, Position, ProjectId, Seq, StreamId};
use crate::journal::event::Envelope;
use crate::journal::hash::{Hash, HashedContent, HashedEnvelope};
use crate::journal::store::JournalError;
use crate::time::Timestamp;

/// Every column, in the order that [`StoredRow::read`] and [`insert`] take them.
pub(super) const COLUMNS: &str = "position, stream, seq, at, project, generation, by, kind, version, \
     caused_by, prev_hash, hash, facts, payload";

pub(super) const INSERT: &str = "INSERT INTO events (position, stream, seq, at, project, generation, \
     by, kind, version, caused_by, prev_hash, hash, facts, payload) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

const INSERT_OR_IGNORE: &str = "INSERT OR IGNORE INTO events (position, stream, seq, at, project, \
     generation, by, kind, version, caused_by, prev_hash, hash, facts, payload) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// Inserts a new event.
pub(super) fn insert(
    statement: &mut rusqlite::CachedStatement<'_>,
    stream: &StreamId,
    project: &ProjectId,
    generation: Generation,
    event: &Prepared,
    place: &Assigned,
) -> rusqlite::Result<()> {
    statement
        .execute((
            to_sql(place.position.0),
            stream.as_str(),
            to_sql(place.seq.0),
            place.at.0,
            project.as_str(),
            to_sql(generation.0),
            &event.by,
            &event.kind,
            event.version,
            event.caused_by.map(|p| to_sql(p.0)),
            place.prev_hash.0.as_slice(),
            place.hash.0.as_slice(),
            &event.facts,
            &event.payload,
        ))
        .map(drop)
}

/// SQLite's integers are signed. No counter of ours gets that far; a generation that a caller
/// made up saturates.
pub(super) fn to_sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A row as text and numbers, not yet believed.
pub(super) struct StoredRow {
    pub position: Position,
    pub stream: String,
    pub seq: Seq,
    pub at: Timestamp,
    pub project: String,
    pub generation: Generation,
    pub by: String,
    pub kind: String,
    pub version: u16,
    pub caused_by: Option<Position>,
    pub prev_hash: Hash,
    pub hash: Hash,
    pub facts: String,
    pub payload: String,
}

impl StoredRow {
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            position: Position(row.get(0)?),
            stream: row.get(1)?,
            seq: Seq(row.get(2)?),
            at: Timestamp(row.get(3)?),
            project: row.get(4)?,
            generation: Generation(row.get(5)?),
            by: row.get(6)?,
            kind: row.get(7)?,
            version: row.get(8)?,
            caused_by: row.get::<_, Option<u64>>(9)?.map(Position),
            prev_hash: Hash(row.get(10)?),
            hash: Hash(row.get(11)?),
            facts: row.get(12)?,
            payload: row.get(13)?,
        })
    }

    /// Whether the content is what was hashed when it was written.
    pub fn is_whole(&self) -> bool {
        let content = HashedContent {
            by: &self.by,
            kind: &self.kind,
            version: self.version,
            caused_by: self.caused_by,
            facts: &self.facts,
            payload: &self.payload,
        };
        let envelope = HashedEnvelope {
            position: self.position,
            at: self.at,
            project: &self.project,
            stream: &self.stream,
            seq: self.seq,
            generation: self.generation,
            prev_hash: self.prev_hash,
        };
        envelope.hash(content.hash()) == self.hash
    }

    /// Inserts the row as it is, unless its place is taken; gives how many were inserted.
    pub fn insert_or_ignore(&self, into: &Connection) -> rusqlite::Result<usize> {
        into.prepare_cached(INSERT_OR_IGNORE)?.execute((
            to_sql(self.position.0),
            &self.stream,
            to_sql(self.seq.0),
            self.at.0,
            &self.project,
            to_sql(self.generation.0),
            &self.by,
            &self.kind,
            self.version,
            self.caused_by.map(|p| to_sql(p.0)),
            self.prev_hash.0.as_slice(),
            self.hash.0.as_slice(),
            &self.facts,
            &self.payload,
        ))
    }

    /// The envelope, if the row is whole.
    pub fn into_envelope(self) -> Result<Envelope, JournalError> {
        let place = format!("position {}", self.position);
        if !self.is_whole() {
            return Err(JournalError::corrupt(place, "the event doesn't match its hash"));
        }
        let stream = self.stream.parse().map_err(|e| JournalError::corrupt(&place, e))?;
        let project = self.project.parse().map_err(|e| JournalError::corrupt(&place, e))?;
        Ok(Envelope {
            position: self.position,
            at: self.at,
            by: self.by.parse().map_err(|e| JournalError::corrupt(&place, e))?,
            project,
            stream,
            seq: self.seq,
            generation: self.generation,
            kind: self.kind,
            version: self.version,
            caused_by: self.caused_by,
            facts: serde_json::from_str(&self.facts)?,
            prev_hash: self.prev_hash,
            hash: self.hash,
            payload: serde_json::from_str(&self.payload)?,
        })
    }
}
