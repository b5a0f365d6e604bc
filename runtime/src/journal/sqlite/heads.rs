//! Where each stream ends: looked up once, then kept by the writer.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::row::to_sql;
use crate::id::{Generation, ProjectId, Seq, StreamId};
use crate::journal::hash::Hash;
use crate::journal::store::{Expected, JournalError};

/// The end of one stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    /// Absent while the stream has no events.
    pub project: Option<ProjectId>,
    pub generation: Generation,
    pub last_seq: Seq,
    pub last_hash: Hash,
}

impl Head {
    /// Whether this append may be made.
    pub fn admit(
        &self,
        stream: &StreamId,
        project: &ProjectId,
        expected: Expected,
        generation: Generation,
    ) -> Result<(), JournalError> {
        if generation < self.generation {
            return Err(JournalError::Fenced { stream: stream.clone(), have: generation, current: self.generation });
        }
        if let Some(actual) = self.project.as_ref().filter(|actual| *actual != project) {
            return Err(JournalError::OtherProject {
                stream: stream.clone(),
                given: project.clone(),
                actual: actual.clone(),
            });
        }
        let as_expected = match expected {
            Expected::Any => true,
            Expected::NoStream => self.last_seq == Seq(0),
            Expected::Seq(seq) => self.last_seq == seq,
        };
        if as_expected {
            Ok(())
        } else {
            Err(JournalError::WrongSeq { stream: stream.clone(), expected, actual: self.last_seq })
        }
    }
}

/// The heads that the writer has met. What it holds is true for its open transaction, so it is
/// thrown away when that is rolled back.
#[derive(Default)]
pub(super) struct Heads(HashMap<StreamId, Head>);

/// Beyond this many the cache starts anew; a look-up costs some microseconds.
const MAX_CACHED: usize = 16_384;

impl Heads {
    pub fn get(&mut self, connection: &Connection, stream: &StreamId) -> rusqlite::Result<&mut Head> {
        if !self.0.contains_key(stream) {
            if self.0.len() >= MAX_CACHED {
                self.0.clear();
            }
            self.0.insert(stream.clone(), load(connection, stream)?);
        }
        // Just inserted; the entry API would clone the id on every append.
        self.0.get_mut(stream).ok_or(rusqlite::Error::QueryReturnedNoRows)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

fn load(connection: &Connection, stream: &StreamId) -> rusqlite::Result<Head> {
    let claimed: Option<u64> = connection
        .prepare_cached("SELECT generation FROM streams WHERE stream = ?1")?
        .query_row([stream.as_str()], |row| row.get(0))
        .optional()?;
    let last = connection
        .prepare_cached(
            "SELECT project, generation, seq, hash FROM events WHERE stream = ?1 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([stream.as_str()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let claimed = Generation(claimed.unwrap_or(0));
    Ok(match last {
        None => Head { project: None, generation: claimed, last_seq: Seq(0), last_hash: Hash::ZERO },
        Some((project, generation, seq, hash)) => Head {
            project: project.parse().ok(),
            generation: claimed.max(Generation(generation)),
            last_seq: Seq(seq),
            last_hash: Hash(hash),
        },
    })
}

/// Records that the stream exists and which generation it is at.
pub(super) fn save_generation(
    connection: &Connection,
    stream: &StreamId,
    generation: Generation,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO streams (stream, generation) VALUES (?1, ?2)
             ON CONFLICT (stream) DO UPDATE SET generation = excluded.generation",
        )?
        .execute((stream.as_str(), to_sql(generation.0)))
        .map(drop)
}
