//! Makes a new journal of what can be proved in a damaged one.
//!
//! Every row carries the hash of all that it says, so a row that matches its hash is believed
//! wherever it is found; a stream is believed as far as its chain is unbroken. Two views of the
//! damaged file are read: with its write-ahead log as far as that is readable, and without it. If
//! the log was written back before it was damaged, the second one has more.
//!
//! The damaged files are copied aside first, and the new one takes the old one's place in a way
//! that a crash at any moment leaves one of the two.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::header;
use super::recovery::{Cut, NEW_FILE_BYTES, OpenReport, is_damage};
use super::row::{COLUMNS, StoredRow, to_sql};
use super::schema::{self, POSITION_FLOOR, Tables, beside};
use crate::id::{Position, Seq, StreamId};
use crate::journal::hash::Hash;
use crate::journal::store::JournalError;
use crate::journal::verify::{ChainCheck, Link};
use crate::time::Timestamp;

/// How far positions and generations jump: further than anything that was handed out in the part
/// that is lost, so that none is handed out twice.
const POSITION_GAP: u64 = 1_000_000;
const GENERATION_GAP: u64 = 1_024;
/// A damaged file can bring forth any number.
const MAX_BELIEVABLE_GENERATION: u64 = 1 << 40;
/// Unreadable positions in a row after which the rest is given up. A lost page in the middle of
/// the tree hides some thousand.
const MAX_BLIND_STEPS: u64 = 100_000;
const MAX_CUTS_LISTED: usize = 100;

/// Replaces the database by one of what can be proved, and adds to the report what can't.
pub(super) fn rebuild(db: &Path, report: &mut OpenReport) -> Result<(), JournalError> {
    let kept = keep(db)?;
    let kept_db = kept.join("journal.db");
    let new = beside(db, ".rebuilding");
    remove(&new)?;
    let mut target = create(&new)?;
    let mut found = Found::default();
    let tx = target.transaction()?;
    read_view(&kept_db, true, &tx, &mut found)?;
    if beside(&kept_db, "-wal").exists() {
        read_view(&kept_db, false, &tx, &mut found)?;
    }
    if found.events == 0 && size(&kept_db) > NEW_FILE_BYTES {
        // The files lie untouched where they were; the copy isn't needed.
        fs::remove_dir_all(&kept).map_err(io_at(&kept))?;
        return Err(JournalError::corrupt(
            db.display(),
            "not one event can be read. Restore the file from a backup, or move it away to start anew",
        ));
    }
    found.cut_broken_chains(&tx)?;
    found.fence(&tx)?;
    tx.commit()?;
    target.close().map_err(|(_, e)| e)?;
    put_in_place(&new, db)?;
    found.report(report);
    report.rebuilt = true;
    report.kept_at = Some(kept);
    Ok(())
}

/// Copies the files as they are to a folder of their own.
fn keep(db: &Path) -> Result<PathBuf, JournalError> {
    let folder = db.with_file_name(format!("damaged-{}", Timestamp::now().millis()));
    DirBuilder::new().mode(0o700).create(&folder).map_err(io_at(&folder))?;
    for suffix in ["", "-wal"] {
        let (from, to) = (beside(db, suffix), beside(&folder.join("journal.db"), suffix));
        if from.exists() {
            fs::copy(&from, &to).map_err(io_at(&to))?;
            sync(&to)?;
        }
    }
    sync(&folder)?;
    Ok(folder)
}

/// The new file. Not crash-safe while it is filled: it doesn't count before it is complete.
fn create(path: &Path) -> Result<Connection, JournalError> {
    let connection = schema::create(path)?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// From here on the new file is complete; [`finish_swap`] can be repeated until it has happened.
fn put_in_place(new: &Path, db: &Path) -> Result<(), JournalError> {
    sync(new)?;
    let ready = beside(db, ".rebuilt");
    fs::rename(new, &ready).map_err(io_at(&ready))?;
    sync_parent(db)?;
    finish_swap(db)
}

/// Puts a complete new file in the old one's place, also when a crash interrupted that.
pub(super) fn finish_swap(db: &Path) -> Result<(), JournalError> {
    let ready = beside(db, ".rebuilt");
    if !ready.exists() {
        return Ok(());
    }
    // The old log must be gone before the new file bears the name that it belongs to.
    for suffix in ["-wal", "-shm"] {
        remove(&beside(db, suffix))?;
    }
    sync_parent(db)?;
    fs::rename(&ready, db).map_err(io_at(db))?;
    sync_parent(db)
}

/// What came out of the damaged file.
#[derive(Default)]
struct Found {
    events: u64,
    last: Position,
    cuts: Vec<Cut>,
}

/// Reads one view of the damaged file into the new one: with its log or without.
fn read_view(kept: &Path, with_log: bool, target: &Connection, found: &mut Found) -> Result<(), JournalError> {
    // Reading may mend and write back, so it has a copy of its own.
    let copy = kept.with_file_name("view.db");
    let remove_copy = || ["", "-wal", "-shm"].into_iter().try_for_each(|s| remove(&beside(&copy, s)));
    remove_copy()?;
    for suffix in ["", "-wal"].into_iter().filter(|suffix| with_log || suffix.is_empty()) {
        if beside(kept, suffix).exists() {
            fs::copy(beside(kept, suffix), beside(&copy, suffix)).map_err(io_at(&copy))?;
        }
    }
    header::mend(&copy).map_err(io_at(&copy))?;
    let read = schema::mend_tables(&copy).and_then(|()| schema::open_reader(&copy)).and_then(|source| {
        if schema::look_at_tables(&source)? == Tables::None {
            return Ok(());
        }
        read_generations(&source, target)?;
        read_events(&source, target, found)
    });
    remove_copy()?;
    match read {
        // One view that can't be read at all leaves the other.
        Err(error) if is_damage(&error) => Ok(()),
        other => other,
    }
}

fn read_generations(source: &Connection, target: &Connection) -> Result<(), JournalError> {
    let Ok(mut statement) = source.prepare("SELECT stream, generation FROM streams") else {
        return Ok(());
    };
    let rows = statement.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)))?;
    let believable = |(stream, generation): &(String, u64)| {
        stream.parse::<StreamId>().is_ok() && *generation <= MAX_BELIEVABLE_GENERATION
    };
    for (stream, generation) in rows.map_while(Result::ok).filter(believable) {
        raise_generation(target, &stream, generation)?;
    }
    Ok(())
}

fn raise_generation(target: &Connection, stream: &str, generation: u64) -> rusqlite::Result<()> {
    target
        .prepare_cached(
            "INSERT INTO streams (stream, generation) VALUES (?1, ?2) ON CONFLICT (stream)
             DO UPDATE SET generation = max(generation, excluded.generation)",
        )?
        .execute((stream, to_sql(generation)))
        .map(drop)
}

/// Reads every event that can be read, stepping over what can't.
fn read_events(source: &Connection, target: &Connection, found: &mut Found) -> Result<(), JournalError> {
    let last: Option<u64> = source.query_row("SELECT max(position) FROM events", (), |row| row.get(0)).unwrap_or(None);
    let sql = format!("SELECT {COLUMNS} FROM events WHERE position >= ?1 ORDER BY position");
    let mut statement = source.prepare(&sql)?;
    let (mut next, mut blind) = (1u64, 0u64);
    while last.is_none_or(|last| next <= last) && blind <= MAX_BLIND_STEPS {
        let mut rows = statement.query([to_sql(next)])?;
        loop {
            match rows.next().and_then(|row| row.map(StoredRow::read).transpose()) {
                Ok(None) => return Ok(()),
                Ok(Some(row)) => {
                    (next, blind) = (row.position.0.saturating_add(1), 0);
                    found.take(row, target)?;
                }
                // The page behind `next` can't be read; somewhere further on one can.
                Err(_) => break,
            }
        }
        next = next.saturating_add(1);
        blind += 1;
    }
    Ok(())
}

impl Found {
    fn take(&mut self, row: StoredRow, target: &Connection) -> Result<(), JournalError> {
        if !row.is_whole() {
            let place = format!("position {}, stream {:?}, seq {}", row.position, row.stream, row.seq);
            self.cut(place, "its content doesn't match its hash".into());
            return Ok(());
        }
        let inserted = row.insert_or_ignore(target)?;
        self.events += inserted as u64;
        self.last = self.last.max(row.position);
        raise_generation(target, &row.stream, row.generation.0)?;
        Ok(())
    }

    /// Both views may name the same place.
    fn cut(&mut self, place: String, what: String) {
        if !self.cuts.iter().any(|cut| cut.place == place) {
            self.cuts.push(Cut { place, what });
        }
    }

    /// Removes, in each stream, everything from the first missing or unlinked event on.
    fn cut_broken_chains(&mut self, target: &Connection) -> Result<(), JournalError> {
        for (stream, seq) in first_breaks(target)? {
            let n = target.execute("DELETE FROM events WHERE stream = ?1 AND seq >= ?2", (&stream, to_sql(seq)))?;
            let what = format!("{n} whole events are cut off, since the one before them is lost");
            self.cut(format!("stream {stream}, from seq {seq} on"), what);
            self.events -= n as u64;
        }
        Ok(())
    }

    /// Makes sure that no position and no generation of the lost part is given a second time.
    fn fence(&self, target: &Connection) -> Result<(), JournalError> {
        schema::set_meta(target, POSITION_FLOOR, to_sql(self.last.0 + POSITION_GAP))?;
        target.execute("UPDATE streams SET generation = generation + ?1", [to_sql(GENERATION_GAP)])?;
        Ok(())
    }

    fn report(self, report: &mut OpenReport) {
        let more = self.cuts.len().saturating_sub(MAX_CUTS_LISTED);
        report.cuts.extend(self.cuts.into_iter().take(MAX_CUTS_LISTED));
        if more > 0 {
            report.cuts.push(Cut { place: "and".into(), what: format!("{more} more places") });
        }
    }
}

/// The streams whose chain is broken, with the first seq that can't be believed.
fn first_breaks(target: &Connection) -> Result<Vec<(String, u64)>, JournalError> {
    let mut statement =
        target.prepare("SELECT position, stream, seq, prev_hash, hash FROM events ORDER BY stream, seq")?;
    let mut rows = statement.query(())?;
    let mut breaks: Vec<(String, u64)> = Vec::new();
    let mut check = ChainCheck::new();
    while let Some(row) = rows.next()? {
        let stream: String = row.get(1)?;
        let link = Link {
            position: Position(row.get(0)?),
            stream: &stream,
            seq: Seq(row.get(2)?),
            prev_hash: Hash(row.get(3)?),
            hash: Hash(row.get(4)?),
            whole: true,
        };
        let known = breaks.last().is_some_and(|(broken, _)| *broken == stream);
        if !known && !check.follows(&link) {
            breaks.push((stream.clone(), link.seq.0));
        }
        check.start_at(link.stream, link.seq, link.hash);
    }
    Ok(breaks)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn remove(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_at(path)(e)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), JournalError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io_at(path))
}

fn sync_parent(path: &Path) -> Result<(), JournalError> {
    path.parent().map_or(Ok(()), sync)
}

fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
    JournalError::io(path.display().to_string())
}
