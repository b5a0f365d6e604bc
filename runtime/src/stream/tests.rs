#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::journal::testing::{event, open, project, stream};
use crate::redact::NoSecrets;

async fn writer(journal: &Arc<dyn Journal>) -> StreamWriter {
    StreamWriter::open(journal.clone(), Arc::new(NoSecrets), stream("s"), project()).await.unwrap()
}

fn journal(dir: &tempfile::TempDir) -> Arc<dyn Journal> {
    Arc::new(open(dir.path()).0)
}

#[tokio::test]
async fn a_new_writer_fences_the_old_one_and_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir);
    let old = writer(&journal).await;
    old.append(event(json!(1))).await.unwrap();
    let new = writer(&journal).await;
    assert!(new.generation() > old.generation());
    let refused = old.append(event(json!(2))).await;
    assert!(matches!(refused, Err(JournalError::Fenced { .. })), "{refused:?}");
    let appended = new.append(event(json!(3))).await.unwrap();
    assert_eq!((appended.seq, appended.generation), (Seq(2), new.generation()));
    let history: Vec<_> = new.history().await.unwrap().into_iter().map(|e| e.payload).collect();
    assert_eq!(history, [json!(1), json!(3)]);
}

#[tokio::test]
async fn clones_of_a_writer_share_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir);
    let writer = writer(&journal).await;
    let appends = (0..40).map(|n| {
        let writer = writer.clone();
        async move { writer.append(event(json!(n))).await.unwrap().seq }
    });
    let mut seqs = futures::future::join_all(appends).await;
    seqs.sort();
    assert_eq!(seqs, (1..=40).map(Seq).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_append_that_was_given_up_on_does_not_stop_the_ones_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir);
    let writer = writer(&journal).await;
    for n in 0..20u64 {
        // Given up at different moments: before it is queued, while it waits, never.
        let append = writer.append(event(json!(n)));
        let _ = tokio::time::timeout(Duration::from_micros(n * 100), append).await;
    }
    let last = writer.append(event(json!("last"))).await.unwrap();
    let history = writer.history().await.unwrap();
    assert_eq!(history.last(), Some(&last));
    assert_eq!(history.len() as u64, last.seq.0);
}
