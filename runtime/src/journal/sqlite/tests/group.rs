//! Group commit: many producers, few fsyncs.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::super::*;
use crate::journal::testing::{append, everything, open, stream};

/// How many transactions the write-ahead log holds: frames that carry the size of the file.
fn commits_in_log(dir: &Path) -> usize {
    let log = std::fs::read(schema::beside(&schema::db_path(dir), "-wal")).unwrap();
    let salts = &log[16..24];
    let ours = log[32..].chunks_exact(24 + 4096).take_while(|frame| &frame[8..16] == salts);
    ours.filter(|frame| frame[4..8] != [0; 4]).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_wait_together_share_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()).0);
    journal.append(append(&stream("first"), 0)).await.unwrap();
    let before = commits_in_log(dir.path());
    // Another writer holds the file, so that the appends pile up behind the first of them.
    let blocker = rusqlite::Connection::open(schema::db_path(dir.path())).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting: Vec<_> = (0..64)
        .map(|n| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.append(append(&stream(&n.to_string()), n)).await.unwrap() })
        })
        .collect();
    // Less than the time after which the writer gives up on the file.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(4);
    while journal.queue.as_ref().unwrap().held() < 64 {
        assert!(tokio::time::Instant::now() < deadline, "the appends never arrived");
        tokio::task::yield_now().await;
    }
    blocker.execute_batch("ROLLBACK").unwrap();
    let mut positions = Vec::new();
    for task in waiting {
        positions.push(task.await.unwrap()[0].position.0);
    }
    positions.sort_unstable();
    assert_eq!(positions, (2..=65).collect::<Vec<_>>());
    let commits = commits_in_log(dir.path()) - before;
    assert!(commits <= 2, "64 appends took {commits} commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_producers_get_unbroken_streams() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()).0);
    let mut committed = journal.committed();
    let producers: Vec<_> = (0..64)
        .map(|p| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for n in 0..20 {
                    let acked = journal.append(append(&stream(&format!("p{}", p % 32)), n)).await.unwrap();
                    // What is acknowledged is visible to every reader.
                    let read = journal.read_stream(&acked[0].stream, acked[0].seq, 1).await.unwrap();
                    assert_eq!(read, acked);
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.unwrap();
    }
    let last = committed.wait_for(|position| position.0 == 64 * 20).await.unwrap().0;
    let all = everything(&*journal).await;
    assert_eq!(all.len() as u64, last);
    assert!(all.iter().zip(1..).all(|(e, n)| e.position.0 == n));
    let check = journal.verify().await.unwrap();
    assert!(check.is_whole() && check.streams == 32, "{check:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_stays_full_says_busy_and_works_again_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        JournalOptions { queue_requests: 2, wait_for_room: Duration::from_millis(20), ..JournalOptions::default() };
    let journal = Arc::new(SqliteJournal::open(dir.path(), &options).unwrap().0);
    let blocker = rusqlite::Connection::open(schema::db_path(dir.path())).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut appends: FuturesUnordered<_> = (0..8).map(|n| journal.append(append(&stream("a"), n))).collect();
    // One is held up in the writer, two wait behind it; the others are told.
    let first = tokio::time::timeout(Duration::from_secs(4), appends.next()).await.unwrap().unwrap();
    assert!(matches!(first, Err(JournalError::Busy)), "{first:?}");
    blocker.execute_batch("ROLLBACK").unwrap();
    let mut written = 0;
    while let Some(result) = appends.next().await {
        match result {
            Ok(_) => written += 1,
            Err(e) => assert!(matches!(e, JournalError::Busy), "{e}"),
        }
    }
    assert_eq!(everything(&*journal).await.len(), written);
    journal.append(append(&stream("a"), 10)).await.unwrap();
}
