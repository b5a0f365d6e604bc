//! What a journal promises to its callers.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use crate::journal::testing::{append, appends, event, everything, open, project, stream};
use crate::journal::{Expected, NewEvent};
use crate::redact::{NoSecrets, Redacted};

const G0: Generation = Generation(0);

#[tokio::test]
async fn what_is_appended_is_read_back_as_it_was_acknowledged_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, report) = open(dir.path());
    assert_eq!(report.last_position, Position(0));
    let mut acked = Vec::new();
    for n in 0..5 {
        acked.extend(journal.append(append(&stream("a"), n)).await.unwrap());
        acked.extend(journal.append(append(&stream("b"), n)).await.unwrap());
    }
    assert_eq!(everything(&journal).await, acked);
    drop(journal);
    let (journal, report) = open(dir.path());
    assert_eq!(everything(&journal).await, acked);
    assert!(report.clean && report.cuts.is_empty(), "{report:?}");
    assert_eq!((report.last_position, report.checked), (Position(10), 10));
    assert_eq!(*journal.committed().borrow(), Position(10));
    let of_b = journal.read_stream(&stream("b"), Seq(3), 2).await.unwrap();
    assert_eq!(of_b.iter().map(|e| e.seq.0).collect::<Vec<_>>(), [3, 4]);
    let check = journal.verify().await.unwrap();
    assert!(check.is_whole() && check.events == 10 && check.streams == 2, "{check:?}");
    let next = journal.append(append(&stream("a"), 9)).await.unwrap();
    assert_eq!((next[0].position, next[0].seq), (Position(11), Seq(6)));
    assert_eq!(next[0].prev_hash, acked[8].hash);
}

#[tokio::test]
async fn an_append_that_expects_another_end_is_refused_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let a = stream("a");
    let seq = |n| Expected::Seq(Seq(n));
    journal.append(appends(&a, Expected::NoStream, G0, &[1, 2])).await.unwrap();
    for wrong in [Expected::NoStream, seq(1), seq(3)] {
        let refused = journal.append(appends(&a, wrong, G0, &[9])).await;
        assert!(matches!(refused, Err(JournalError::WrongSeq { actual: Seq(2), .. })), "{wrong:?}: {refused:?}");
    }
    journal.append(appends(&a, seq(2), G0, &[3])).await.unwrap();
    let first = journal.append(appends(&stream("b"), seq(0), G0, &[1])).await.unwrap();
    assert_eq!(first[0].seq, Seq(1));
    assert_eq!(everything(&journal).await.len(), 4);
}

#[tokio::test]
async fn an_older_generation_is_refused_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let a = stream("a");
    let first = journal.claim(&a).await.unwrap();
    journal.append(appends(&a, Expected::Any, first, &[1])).await.unwrap();
    let second = journal.claim(&a).await.unwrap();
    assert!(second > first);
    drop(journal);
    let (journal, _) = open(dir.path());
    let refused = journal.append(appends(&a, Expected::Any, first, &[2])).await;
    assert!(matches!(refused, Err(JournalError::Fenced { have, current, .. }) if have == first && current == second));
    journal.append(appends(&a, Expected::Any, second, &[2])).await.unwrap();
    // A claim that the journal hasn't seen yet raises the fence by appending.
    journal.append(appends(&a, Expected::Any, second.next(), &[3])).await.unwrap();
    assert!(journal.append(appends(&a, Expected::Any, second, &[4])).await.is_err());
    assert!(journal.claim(&a).await.unwrap() > second.next());
}

#[tokio::test]
async fn a_refused_append_does_not_disturb_others_in_the_same_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let (a, b) = (stream("a"), stream("b"));
    let results = tokio::join!(
        journal.append(appends(&a, Expected::NoStream, G0, &[1])),
        journal.append(appends(&a, Expected::NoStream, G0, &[2])),
        journal.append(appends(&b, Expected::NoStream, G0, &[3])),
    );
    assert!(results.0.is_ok() && results.1.is_err() && results.2.is_ok());
    assert_eq!(everything(&journal).await.len(), 2);
}

#[tokio::test]
async fn a_stream_belongs_to_one_project() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append(append(&stream("a"), 1)).await.unwrap();
    let mut other = append(&stream("a"), 2);
    other.project = "other".parse().unwrap();
    assert!(matches!(journal.append(other).await, Err(JournalError::OtherProject { .. })));
}

#[tokio::test]
async fn an_event_over_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let mut large = append(&stream("a"), 1);
    large.events = vec![Redacted::event(&NoSecrets, &project(), event(json!("x".repeat(1 << 20))))];
    assert!(matches!(journal.append(large).await, Err(JournalError::TooLarge { .. })));
}

#[tokio::test]
async fn streams_are_listed_by_prefix_with_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for (name, n) in [("job/b", 1), ("job/a", 1), ("job/a", 2), ("jobs/c", 1)] {
        journal.append(append(&name.parse().unwrap(), n)).await.unwrap();
    }
    let generation = journal.claim(&"job/a".parse().unwrap()).await.unwrap();
    journal.claim(&"job/empty".parse().unwrap()).await.unwrap();
    let heads = journal.streams("job/").await.unwrap();
    let seen: Vec<_> = heads.iter().map(|h| (h.stream.as_str(), h.last_seq.0)).collect();
    assert_eq!(seen, [("job/a", 2), ("job/b", 1)]);
    assert_eq!(heads[0].generation, generation);
    assert_eq!(journal.streams("").await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_deleted_stream_is_gone_its_writer_fenced_and_its_positions_used_up() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append(append(&stream("kept"), 0)).await.unwrap();
    let a = stream("a");
    let generation = journal.claim(&a).await.unwrap();
    let secret = event(json!("a-very-particular-text"));
    let mut with_secret = appends(&a, Expected::Any, generation, &[1, 2]);
    with_secret.events.push(Redacted::event(&NoSecrets, &project(), secret));
    journal.append(with_secret).await.unwrap();
    assert_eq!(journal.delete_stream(&a).await.unwrap(), 3);
    assert_eq!(journal.read_stream(&a, Seq(1), 10).await.unwrap(), []);
    assert_eq!(journal.streams("").await.unwrap().len(), 1);
    let zombie = journal.append(appends(&a, Expected::Any, generation, &[4])).await;
    assert!(matches!(zombie, Err(JournalError::Fenced { .. })), "{zombie:?}");
    drop(journal);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(22).any(|w| w == b"a-very-particular-text"));
    }
    let (journal, _) = open(dir.path());
    let next = journal.append(append(&stream("kept"), 1)).await.unwrap();
    assert_eq!(next[0].position, Position(5), "a reader may have seen position 4 already");
    assert!(journal.verify().await.unwrap().is_whole());
}

#[tokio::test]
async fn the_journal_is_for_its_owner_and_for_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("journal");
    let (journal, _) = open(&dir);
    journal.append(append(&stream("a"), 1)).await.unwrap();
    let second = SqliteJournal::open(&dir, &JournalOptions::default());
    assert!(matches!(second, Err(JournalError::InUse(_))));
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
    assert!(SqliteJournal::verify_dir(&dir).unwrap().is_whole());
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let connection = rusqlite::Connection::open(schema::db_path(dir.path())).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let refused = SqliteJournal::open(dir.path(), &JournalOptions::default());
    assert!(matches!(refused, Err(JournalError::Unreadable(_))));
}

fn any_event() -> impl Strategy<Value = NewEvent> {
    (crate::journal::event::tests::any_json(), "[a-z.]{1,12}", 0..4u16, prop::option::of(1..99u64)).prop_map(
        |(payload, kind, version, cause): (Value, String, u16, Option<u64>)| NewEvent {
            version,
            caused_by: cause.map(Position),
            ..NewEvent::new(crate::journal::Author::Person("anna".into()), kind, payload)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_is_appended_is_what_is_read(
        batches in prop::collection::vec((0..3usize, prop::collection::vec(any_event(), 1..5)), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (journal, _) = open(dir.path());
            let mut acked = Vec::new();
            for (to, events) in batches {
                let redacted = events.iter().map(|e| Redacted::event(&NoSecrets, &project(), e.clone()));
                let request = Append {
                    events: redacted.collect(),
                    ..append(&stream(&to.to_string()), 0)
                };
                let envelopes = journal.append(request).await.unwrap();
                for (envelope, event) in envelopes.iter().zip(&events) {
                    prop_assert_eq!(&envelope.payload, &event.payload);
                    prop_assert_eq!(envelope.compute_hash().unwrap(), envelope.hash);
                }
                acked.extend(envelopes);
            }
            drop(journal);
            let (journal, _) = open(dir.path());
            prop_assert_eq!(everything(&journal).await, acked);
            prop_assert!(journal.verify().await.unwrap().is_whole());
            Ok(())
        })?;
    }
}
