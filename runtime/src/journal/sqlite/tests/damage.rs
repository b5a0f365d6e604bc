//! Torn, flipped and truncated files: the damage is found, named and cut; what lies before it stays.

use std::fs;

use proptest::prelude::*;

use super::super::*;
use crate::journal::Expected;
use crate::journal::testing::{append, appends, everything, open, stream};

/// A journal as a crash leaves it, with what had been acknowledged.
struct Wreck {
    dir: tempfile::TempDir,
    acked: Vec<Acked>,
}

struct Acked {
    envelope: Envelope,
    /// How long the log was when this was acknowledged: all of the event lies before.
    log_bytes: u64,
}

fn file(dir: &Path, suffix: &str) -> std::path::PathBuf {
    schema::beside(&schema::db_path(dir), suffix)
}

fn bytes_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// Appends to three streams, and copies the files of the running journal. With a checkpoint every
/// few pages part of it lies in the database and the log has been started over.
async fn wreck(events: u64, checkpoint_pages: u32) -> Wreck {
    let (live, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = JournalOptions { checkpoint_pages, ..JournalOptions::default() };
    let (journal, _) = SqliteJournal::open(live.path(), &options).unwrap();
    let mut acked = Vec::new();
    for n in 0..events {
        let envelope = journal.append(append(&stream(&format!("s{}", n % 3)), n)).await.unwrap().remove(0);
        acked.push(Acked { envelope, log_bytes: bytes_of(&file(live.path(), "-wal")) });
    }
    for suffix in ["", "-wal"] {
        fs::copy(file(live.path(), suffix), file(dir.path(), suffix)).unwrap();
    }
    Wreck { dir, acked }
}

fn flip(path: &Path, at: u64, mask: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= mask;
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path, to: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(to).unwrap();
}

/// Whatever was damaged: what is there is what was acknowledged, in unbroken streams; and the
/// journal goes on without giving a position twice.
async fn survivors(wreck: &Wreck, journal: &SqliteJournal) -> Vec<Envelope> {
    let there = everything(journal).await;
    for envelope in &there {
        assert!(wreck.acked.iter().any(|acked| acked.envelope == *envelope), "made up: {envelope:?}");
    }
    let check = journal.verify().await.unwrap();
    assert!(check.is_whole(), "{check:?}");
    there
}

async fn goes_on(wreck: &Wreck, journal: SqliteJournal, rebuilt: bool) {
    let generation = journal.claim(&stream("s0")).await.unwrap();
    let next = journal.append(appends(&stream("s0"), Expected::Any, generation, &[999])).await.unwrap();
    let used = wreck.acked.last().unwrap().envelope.position;
    if rebuilt {
        assert!(next[0].position > used, "position {} is given a second time", next[0].position);
    }
    drop(journal);
    let (_, report) = open(wreck.dir.path());
    assert!(report.cuts.is_empty() && report.clean && !report.rebuilt, "damaged again: {report:?}");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[tokio::test]
async fn a_wreck_without_damage_is_whole() {
    for checkpoint_pages in [4000, 8] {
        let wreck = wreck(40, checkpoint_pages).await;
        let (journal, report) = open(wreck.dir.path());
        assert!(report.cuts.is_empty() && !report.clean && report.checked == 40, "{report:?}");
        assert_eq!(survivors(&wreck, &journal).await.len(), 40);
        goes_on(&wreck, journal, true).await;
    }
}

#[tokio::test]
async fn a_changed_row_is_named_and_only_its_stream_is_cut_from_there() {
    let wreck = wreck(30, 4000).await;
    drop(open(wreck.dir.path()));
    let connection = rusqlite::Connection::open(file(wreck.dir.path(), "")).unwrap();
    let changed = connection.execute("UPDATE events SET kind = 'test.forged' WHERE position = 14", ());
    assert_eq!(changed.unwrap(), 1);
    drop(connection);
    let (journal, report) = open(wreck.dir.path());
    let forged = &wreck.acked[13].envelope;
    let named = format!("position 14, stream \"{}\", seq {}", forged.stream, forged.seq);
    assert!(report.cuts.iter().any(|cut| cut.to_string().contains(&named)), "{report:?}");
    let there = survivors(&wreck, &journal).await;
    let kept = |acked: &&Acked| acked.envelope.stream != forged.stream || acked.envelope.seq < forged.seq;
    let expected: Vec<_> = wreck.acked.iter().filter(kept).map(|acked| acked.envelope.clone()).collect();
    assert_eq!(there, expected);
    assert!(report.kept_at.as_ref().unwrap().join("journal.db").is_file());
    goes_on(&wreck, journal, true).await;
}

#[tokio::test]
async fn after_a_rebuild_writers_from_before_it_are_fenced() {
    let wreck = wreck(10, 4000).await;
    let (journal, _) = open(wreck.dir.path());
    let generation = journal.claim(&stream("s0")).await.unwrap();
    drop(journal);
    let connection = rusqlite::Connection::open(file(wreck.dir.path(), "")).unwrap();
    connection.execute("UPDATE events SET payload = '{}' WHERE position = 10", ()).unwrap();
    drop(connection);
    let (journal, report) = open(wreck.dir.path());
    assert!(report.rebuilt);
    let zombie = appends(&stream("s0"), Expected::Any, generation, &[1]);
    assert!(matches!(journal.append(zombie).await, Err(JournalError::Fenced { .. })));
}

#[tokio::test]
async fn verify_finds_a_changed_row_that_is_older_than_what_open_checks() {
    let wreck = wreck(30, 4000).await;
    drop(open(wreck.dir.path()));
    let connection = rusqlite::Connection::open(file(wreck.dir.path(), "")).unwrap();
    connection.execute("UPDATE events SET payload = '{}' WHERE position = 4", ()).unwrap();
    drop(connection);
    let options = JournalOptions { verify_at_open: 5, ..JournalOptions::default() };
    let (journal, report) = SqliteJournal::open(wreck.dir.path(), &options).unwrap();
    assert!(report.cuts.is_empty() && report.checked == 5);
    let check = journal.verify().await.unwrap();
    assert_eq!(check.breaks.len(), 1, "{check:?}");
    assert_eq!(check.breaks[0].position, Position(4));
    // And a reader is told instead of given it.
    let read = journal.read_all(Position(0), 10).await;
    assert!(matches!(read, Err(JournalError::Corrupt { .. })));
}

#[tokio::test]
async fn a_damaged_description_of_the_tables_costs_no_event() {
    for (table, to) in [("events", "evants"), ("generation", "generatiom"), ("CREATE", "CR\u{1}ATE")] {
        let wreck = wreck(30, 4000).await;
        drop(open(wreck.dir.path()));
        let db = file(wreck.dir.path(), "");
        let mut bytes = fs::read(&db).unwrap();
        let at = bytes[..4096].windows(table.len()).rposition(|w| w == table.as_bytes()).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        fs::write(&db, bytes).unwrap();
        let (journal, report) = open(wreck.dir.path());
        assert!(report.rebuilt && !report.cuts.is_empty(), "{table}: {report:?}");
        assert_eq!(survivors(&wreck, &journal).await.len(), 30, "{table}");
        goes_on(&wreck, journal, true).await;
    }
}

#[tokio::test]
async fn a_damaged_header_of_the_database_costs_no_event() {
    for at in [0, 15, 16, 18, 19, 20, 21, 47, 59] {
        let wreck = wreck(10, 4000).await;
        drop(open(wreck.dir.path()));
        flip(&file(wreck.dir.path(), ""), at, 4);
        let (journal, report) = open(wreck.dir.path());
        assert!(report.rebuilt && !report.cuts.is_empty(), "byte {at}: {report:?}");
        assert_eq!(survivors(&wreck, &journal).await.len(), 10, "byte {at}");
        goes_on(&wreck, journal, true).await;
    }
}

#[tokio::test]
async fn a_file_that_is_no_journal_any_more_is_refused_and_left_alone() {
    let wreck = wreck(30, 4000).await;
    drop(open(wreck.dir.path()));
    let garbage = vec![0x5a; 100_000];
    fs::write(file(wreck.dir.path(), ""), &garbage).unwrap();
    for _ in 0..2 {
        let refused = SqliteJournal::open(wreck.dir.path(), &JournalOptions::default());
        assert!(matches!(refused, Err(JournalError::Corrupt { .. })));
        assert_eq!(fs::read(file(wreck.dir.path(), "")).unwrap(), garbage);
    }
}

#[tokio::test]
async fn a_log_that_was_damaged_after_it_was_written_back_loses_nothing() {
    let live = tempfile::tempdir().unwrap();
    let (journal, _) = open(live.path());
    let mut acked = Vec::new();
    for n in 0..20 {
        let envelope = journal.append(append(&stream("s0"), n)).await.unwrap().remove(0);
        acked.push(Acked { envelope, log_bytes: 0 });
    }
    let connection = rusqlite::Connection::open(file(live.path(), "")).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(())).unwrap();
    let wreck = Wreck { dir: tempfile::tempdir().unwrap(), acked };
    for suffix in ["", "-wal"] {
        fs::copy(file(live.path(), suffix), file(wreck.dir.path(), suffix)).unwrap();
    }
    flip(&file(wreck.dir.path(), "-wal"), 32 + 5 * 4120 + 2_000, 1);
    let (journal, report) = open(wreck.dir.path());
    assert!(report.rebuilt && report.cuts[0].place.contains("after 5 whole frames"), "{report:?}");
    assert_eq!(survivors(&wreck, &journal).await.len(), 20);
    goes_on(&wreck, journal, true).await;
}

#[test]
fn a_crash_while_the_rebuilt_file_takes_its_place_is_finished_at_the_next_open() {
    block_on(async {
        let wreck = wreck(10, 4000).await;
        let db = schema::db_path(wreck.dir.path());
        let (journal, _) = open(wreck.dir.path());
        assert_eq!(survivors(&wreck, &journal).await.len(), 10);
        drop(journal);
        // As if it had crashed with the new file ready and the damaged one still in place.
        fs::rename(&db, schema::beside(&db, ".rebuilt")).unwrap();
        fs::write(&db, vec![0x5a; 100_000]).unwrap();
        fs::write(schema::beside(&db, "-wal"), vec![0x5a; 10_000]).unwrap();
        let (journal, report) = open(wreck.dir.path());
        assert!(report.cuts.is_empty(), "{report:?}");
        assert_eq!(survivors(&wreck, &journal).await.len(), 10);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_flipped_bit_in_the_log_is_named_and_nothing_acknowledged_before_it_is_lost(
        events in 1..40u64, at: prop::sample::Index, bit in 0..8u8,
    ) {
        block_on(async {
            let wreck = wreck(events, 4000).await;
            let log = file(wreck.dir.path(), "-wal");
            let at = at.index(usize::try_from(bytes_of(&log)).unwrap()) as u64;
            flip(&log, at, 1 << bit);
            let (journal, report) = open(wreck.dir.path());
            prop_assert!(!report.cuts.is_empty(), "byte {at} of {} flipped, not found", bytes_of(&log));
            let there = survivors(&wreck, &journal).await;
            let before = wreck.acked.iter().filter(|acked| acked.log_bytes <= at).count();
            prop_assert!(there.len() >= before, "{} of {before} left: {report:?}", there.len());
            goes_on(&wreck, journal, report.rebuilt).await;
            Ok(())
        })?;
    }

    #[test]
    fn a_log_cut_short_keeps_what_was_acknowledged_before_the_cut(
        events in 1..40u64, at: prop::sample::Index,
    ) {
        block_on(async {
            let wreck = wreck(events, 4000).await;
            let log = file(wreck.dir.path(), "-wal");
            let at = at.index(usize::try_from(bytes_of(&log)).unwrap()) as u64;
            truncate(&log, at);
            let (journal, report) = open(wreck.dir.path());
            let torn = at > 0 && (at < 32 || !(at - 32).is_multiple_of(4120));
            prop_assert_eq!(!report.cuts.is_empty(), torn, "cut at {}: {:?}", at, report);
            let there = survivors(&wreck, &journal).await;
            let before = wreck.acked.iter().filter(|acked| acked.log_bytes <= at).count();
            prop_assert!(there.len() >= before, "{} of {before} left", there.len());
            goes_on(&wreck, journal, report.rebuilt).await;
            Ok(())
        })?;
    }

    #[test]
    fn a_flipped_byte_in_the_database_never_goes_unnoticed_where_it_loses_an_event(
        events in 1..80u64, checkpoint_pages in prop_oneof![Just(4u32), Just(4000)], clean: bool,
        at: prop::sample::Index, mask in 1..=255u8, in_the_first_page: bool,
    ) {
        block_on(async {
            let wreck = wreck(events, checkpoint_pages).await;
            if clean {
                drop(open(wreck.dir.path()));
            }
            let db = file(wreck.dir.path(), "");
            let bytes = if in_the_first_page { 4096 } else { bytes_of(&db) };
            flip(&db, at.index(usize::try_from(bytes).unwrap()) as u64, mask);
            match SqliteJournal::open(wreck.dir.path(), &JournalOptions::default()) {
                Ok((journal, report)) => {
                    let there = survivors(&wreck, &journal).await;
                    let lost = wreck.acked.len() - there.len();
                    prop_assert!(lost == 0 || !report.cuts.is_empty(), "{lost} lost silently");
                    goes_on(&wreck, journal, report.rebuilt).await;
                }
                Err(error) => {
                    let refused = matches!(error, JournalError::Corrupt { .. } | JournalError::Unreadable(_));
                    prop_assert!(refused, "{error}");
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_database_cut_short_is_noticed(events in 30..80u64, at: prop::sample::Index) {
        block_on(async {
            let wreck = wreck(events, 4000).await;
            drop(open(wreck.dir.path()));
            let db = file(wreck.dir.path(), "");
            truncate(&db, at.index(usize::try_from(bytes_of(&db)).unwrap()) as u64);
            match SqliteJournal::open(wreck.dir.path(), &JournalOptions::default()) {
                Ok((journal, report)) => {
                    let there = survivors(&wreck, &journal).await;
                    let lost = wreck.acked.len() - there.len();
                    let emptied = there.is_empty() && report.last_position == Position(0);
                    prop_assert!(lost == 0 || !report.cuts.is_empty() || emptied, "{lost} lost silently");
                }
                Err(error) => prop_assert!(matches!(error, JournalError::Corrupt { .. }), "{error}"),
            }
            Ok(())
        })?;
    }
}
