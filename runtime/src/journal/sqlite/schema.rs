//! The file: where it lies, its tables, and how a connection is set up.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::options::JournalOptions;
use crate::journal::store::JournalError;

/// Rises when an older program would misread the file.
const SCHEMA_VERSION: i64 = 1;

// Stream and project stand in every row, so that a row whose hash holds can be trusted by itself
// when the file around it is damaged.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS streams (
  stream TEXT PRIMARY KEY, generation INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
  position INTEGER PRIMARY KEY, stream TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
  project TEXT NOT NULL, generation INTEGER NOT NULL, by TEXT NOT NULL, kind TEXT NOT NULL,
  version INTEGER NOT NULL, caused_by INTEGER, prev_hash BLOB NOT NULL, hash BLOB NOT NULL,
  facts TEXT NOT NULL, payload TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS events_by_stream ON events (stream, seq);
";

/// How long a folder that another holds is tried again.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// The next position is never below this, though the events before it may have been deleted.
pub(super) const POSITION_FLOOR: &str = "position_floor";

pub(super) fn db_path(dir: &Path) -> PathBuf {
    dir.join("journal.db")
}

/// The file that SQLite keeps beside the database: `-wal`, `-shm`.
pub(super) fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the folder for its owner only and takes it for this process.
pub(super) fn lock_dir(dir: &Path) -> Result<File, JournalError> {
    let at = dir.display().to_string();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(JournalError::io(format!("could not make {at}")))?;
    let path = dir.join("journal.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(JournalError::io(format!("could not open {}", path.display())))?;
    // A child that was forked just before its parent let go holds the lock until it runs its program.
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOCK_PATIENCE / 20),
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(at.into())),
            Err(TryLockError::Error(e)) => return Err(JournalError::io(format!("could not lock {at}"))(e)),
        }
    }
}

/// Opens the database for the one writer.
pub(super) fn open_writer(db: &Path, options: &JournalOptions) -> Result<Connection, JournalError> {
    let mut connection = connect(db)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", options.checkpoint_pages)?;
    make_tables(&mut connection, db)?;
    Ok(connection)
}

/// Makes a database with empty tables, for whoever sets it up otherwise.
pub(super) fn create(db: &Path) -> Result<Connection, JournalError> {
    let mut connection = connect(db)?;
    make_tables(&mut connection, db)?;
    Ok(connection)
}

fn connect(db: &Path) -> Result<Connection, JournalError> {
    // Made here and not by SQLite, for the mode; SQLite gives the files beside it the same one.
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(db)
        .map_err(JournalError::io(format!("could not open {}", db.display())))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(db, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A deleted job's events must not stay readable in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(connection)
}

fn make_tables(connection: &mut Connection, db: &Path) -> Result<(), JournalError> {
    match version(connection)? {
        0 => {
            // In one transaction: a file either is a journal or has nothing in it.
            let tx = connection.transaction()?;
            tx.execute_batch(TABLES)?;
            tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            Ok(tx.commit()?)
        }
        SCHEMA_VERSION => Ok(()),
        other => {
            let text = format!(
                "{} is a journal of version {other}; this program reads version {SCHEMA_VERSION}. \
                 Use the fleetd that wrote it, or a newer one",
                db.display()
            );
            Err(JournalError::Unreadable(text.into()))
        }
    }
}

pub(super) fn open_reader(db: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(db, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// One row of SQLite's own table of tables.
type SchemaRow = (i64, String, String, String, i64, String);

/// The tables as a new journal has them, the pages where they start included: they are made in
/// the same order in every file.
fn expected_tables() -> rusqlite::Result<Vec<SchemaRow>> {
    let template = Connection::open_in_memory()?;
    template.execute_batch(TABLES)?;
    tables(&template)
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<SchemaRow>> {
    let mut statement = connection.prepare(
        "SELECT rowid, type, name, tbl_name, rootpage, sql FROM sqlite_schema
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid",
    )?;
    let rows = statement
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)))?;
    rows.collect()
}

/// What the file says of its tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tables {
    /// It has none: nothing was ever committed.
    None,
    Intact,
    /// Not those that a journal has.
    Damaged,
}

pub(super) fn look_at_tables(connection: &Connection) -> Result<Tables, JournalError> {
    let any = connection.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", (), |_| Ok(())).optional()?;
    Ok(match any {
        None => Tables::None,
        Some(()) if tables(connection)? == expected_tables()? => Tables::Intact,
        Some(()) => Tables::Damaged,
    })
}

/// Writes over a damaged description of the tables. For a copy that will only be read.
pub(super) fn mend_tables(db: &Path) -> Result<(), JournalError> {
    let connection = Connection::open(db)?;
    // Set first: without it SQLite refuses a description that it can't parse.
    connection.pragma_update(None, "writable_schema", true)?;
    if tables(&connection).ok() == Some(expected_tables()?) {
        return Ok(());
    }
    for row in expected_tables()? {
        connection.execute(
            "UPDATE sqlite_schema SET type = ?2, name = ?3, tbl_name = ?4, rootpage = ?5, sql = ?6
             WHERE rowid = ?1",
            row,
        )?;
    }
    Ok(())
}

pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}

pub(super) fn set_meta(connection: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute((key, value))
        .map(drop)
}
