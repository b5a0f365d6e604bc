//! What happens when a journal is opened: look, check, and where something is damaged, name it,
//! keep the files as they were found, and rebuild from what can be proved.
//!
//! 1. The write-ahead log is scanned before SQLite touches it ([`super::wal`]).
//! 2. Through a read-only connection, which changes nothing, the last events are checked against
//!    their hashes and links; so is the file's structure, if it is small or the end was unclean.
//! 3. If all is well the writer's connection is opened. A torn end of the log (a commit that was
//!    cut off, and so never acknowledged) is dropped by SQLite and named here.
//! 4. Otherwise a new file is made of every event that can be proved whole ([`super::salvage`]).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::options::JournalOptions;
use super::reader::check_structure;
use super::row::{COLUMNS, StoredRow, to_sql};
use super::schema::{self, POSITION_FLOOR, Tables, beside};
use super::wal::{self, Wal, WalDamage};
use super::{header, salvage, writer};
use crate::id::{Position, Seq};
use crate::journal::hash::Hash;
use crate::journal::store::JournalError;
use crate::journal::verify::ChainCheck;
use crate::time::Timestamp;

/// What was found at open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenReport {
    pub last_position: Position,
    /// How many of the last events were checked.
    pub checked: u64,
    /// The last process closed the journal.
    pub clean: bool,
    /// The file was made anew from the events that could be proved.
    pub rebuilt: bool,
    /// What was cut off, and why. Empty when nothing is damaged.
    pub cuts: Vec<Cut>,
    /// Where the files lie as they were found, if anything was cut.
    pub kept_at: Option<PathBuf>,
}

/// Something that was there and can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// File and byte, or stream and seq.
    pub place: String,
    pub what: String,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// A file of this size may be one in which nothing was ever committed.
pub(super) const NEW_FILE_BYTES: u64 = 2 * 4096;

/// A journal that is ready to be written.
pub(super) struct Opened {
    pub connection: Connection,
    pub lock: File,
    /// The position of the next event.
    pub next: Position,
    pub last_at: Timestamp,
}

pub(super) fn open(dir: &Path, options: &JournalOptions) -> Result<(Opened, OpenReport), JournalError> {
    let lock = schema::lock_dir(dir)?;
    let db = schema::db_path(dir);
    salvage::finish_swap(&db)?;
    let wal = wal::scan(&beside(&db, "-wal")).map_err(JournalError::io("could not read the journal's log"))?;
    let mut report = OpenReport { clean: wal == Wal::Empty, ..OpenReport::default() };
    let mut lost_commits = false;
    if let Wal::Damaged(damage) = &wal {
        lost_commits = damage.frames_behind > 0;
        report.cuts.push(wal_cut(damage));
    }
    if lost_commits || !check(&db, options, &mut report)? {
        salvage::rebuild(&db, &mut report)?;
        if !check(&db, options, &mut report)? {
            return Err(JournalError::corrupt(db.display(), "it can't be rebuilt"));
        }
    }
    warn(&report);
    let connection = schema::open_writer(&db, options)?;
    if !report.clean {
        // What SQLite dropped from the log must not look like damage the next time.
        writer::checkpoint(&connection)?;
    }
    let (next, last_at) = end(&connection)?;
    report.last_position = Position(next.0 - 1);
    Ok((Opened { connection, lock, next, last_at }, report))
}

fn wal_cut(damage: &WalDamage) -> Cut {
    let WalDamage { offset, frames_before, what, frames_behind } = damage;
    let behind = match frames_behind {
        0 => "nothing behind it: a commit that was cut off and never acknowledged".to_owned(),
        n => format!("{n} frames behind it may have been acknowledged"),
    };
    Cut {
        place: format!("journal.db-wal, byte {offset} (after {frames_before} whole frames)"),
        what: format!("{what}; {behind}"),
    }
}

/// Checks the end of the journal, and its structure as far as the options say. `false`: it is
/// damaged, and the report says how.
fn check(db: &Path, options: &JournalOptions, report: &mut OpenReport) -> Result<bool, JournalError> {
    let size = match fs::metadata(db) {
        Ok(meta) => meta.len(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true), // A new journal.
        Err(e) => return Err(JournalError::io(format!("could not look at {}", db.display()))(e)),
    };
    let pragma = match size {
        _ if size <= options.full_check_up_to.as_u64() => Some("integrity_check"),
        _ if !report.clean && size <= options.quick_check_up_to.as_u64() => Some("quick_check"),
        _ => None,
    };
    let header = header::is_intact(db).map_err(JournalError::io(format!("could not read {}", db.display())))?;
    let content = || schema::open_reader(db).and_then(|c| check_content(&c, size, pragma, options));
    let faults = match content() {
        _ if header == Some(false) => vec!["its header isn't that of a journal".to_owned()],
        Ok((events, faults)) => {
            report.checked = events;
            faults
        }
        Err(error) if is_damage(&error) => vec![error.to_string()],
        Err(error) => return Err(error),
    };
    let whole = faults.is_empty();
    let cut = |what| Cut { place: "journal.db".into(), what };
    report.cuts.extend(faults.into_iter().map(cut));
    Ok(whole)
}

fn check_content(
    connection: &Connection,
    size: u64,
    pragma: Option<&str>,
    options: &JournalOptions,
) -> Result<(u64, Vec<String>), JournalError> {
    match schema::look_at_tables(connection)? {
        Tables::Intact => {}
        // A journal's first commit makes its tables. A file that has grown has had one.
        Tables::None if size <= NEW_FILE_BYTES => return Ok((0, Vec::new())),
        Tables::None => return Ok((0, vec!["its tables are gone".to_owned()])),
        Tables::Damaged => return Ok((0, vec!["its tables aren't those of a journal".to_owned()])),
    }
    let mut faults = pragma.map_or(Ok(Vec::new()), |pragma| check_structure(connection, pragma))?;
    let (events, more) = check_tail(connection, options.verify_at_open)?;
    faults.extend(more);
    Ok((events, faults))
}

/// Whether the error says that the file is damaged, and not that the machine is in trouble.
pub(super) fn is_damage(error: &JournalError) -> bool {
    let JournalError::Storage(error) = error else {
        return matches!(error, JournalError::Corrupt { .. });
    };
    match error.sqlite_error_code() {
        Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase),
        // No code of SQLite's: a column of the wrong type, text that isn't UTF-8, …
        None => true,
    }
}

/// Checks the last `events` events and their links; gives how many there were and what is wrong.
fn check_tail(connection: &Connection, events: u64) -> Result<(u64, Vec<String>), JournalError> {
    let from: Option<i64> = connection
        .query_row("SELECT position FROM events ORDER BY position DESC LIMIT 1 OFFSET ?1", [to_sql(events)], |row| {
            row.get(0)
        })
        .optional()?;
    let sql = format!("SELECT {COLUMNS} FROM events WHERE position > ?1 ORDER BY position");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([from.unwrap_or(0)])?;
    let mut check = ChainCheck::new();
    while let Some(row) = rows.next()? {
        let row = StoredRow::read(row)?;
        if !check.knows(&row.stream)
            && let Some(hash) = hash_before(connection, &row)?
        {
            check.start_at(&row.stream, Seq(row.seq.0 - 1), hash);
        }
        check.check_link(&row.link());
    }
    let report = check.finish();
    Ok((report.events, report.breaks.iter().map(ToString::to_string).collect()))
}

fn hash_before(connection: &Connection, row: &StoredRow) -> rusqlite::Result<Option<Hash>> {
    connection
        .prepare_cached("SELECT hash FROM events WHERE stream = ?1 AND seq = ?2")?
        .query_row((&row.stream, to_sql(row.seq.0) - 1), |row| row.get(0).map(Hash))
        .optional()
}

/// The next position and the time of the last event.
fn end(connection: &Connection) -> Result<(Position, Timestamp), JournalError> {
    let last: Option<(u64, i64)> = connection
        .query_row("SELECT position, at FROM events ORDER BY position DESC LIMIT 1", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (last, at) = last.unwrap_or((0, 0));
    let floor = schema::meta(connection, POSITION_FLOOR)?.and_then(|n| u64::try_from(n).ok());
    Ok((Position(last + 1).max(Position(floor.unwrap_or(1))), Timestamp(at)))
}

fn warn(report: &OpenReport) {
    for cut in &report.cuts {
        tracing::warn!(place = %cut.place, what = %cut.what, kept_at = ?report.kept_at, "the journal was damaged");
    }
}
