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

#[tokio::test]
async fn writers_of_one_generation_on_two_nodes_append_in_turns_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir);
    let first = writer(&journal).await;
    let second = StreamWriter::join(journal.clone(), Arc::new(NoSecrets), stream("s"), project(), first.generation());
    let appends = (0..40).map(|n| {
        let writer = if n % 2 == 0 { first.clone() } else { second.clone() };
        async move { writer.append(event(json!(n))).await.unwrap() }
    });
    futures::future::join_all(appends).await;
    let mut there: Vec<_> = first.history().await.unwrap().iter().map(|e| e.payload.as_u64().unwrap()).collect();
    there.sort_unstable();
    assert_eq!(there, (0..40).collect::<Vec<_>>());
}

/// What becomes of an append on its way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    /// It never gets there.
    Away,
    /// It gets there, the answer doesn't come back.
    AnswerLost,
    /// Neither.
    Lost,
}

/// A journal at the end of a bad line.
struct BadLine {
    journal: Arc<dyn Journal>,
    fates: std::sync::Mutex<std::collections::VecDeque<Fate>>,
}

impl Journal for BadLine {
    fn append(&self, append: Append) -> futures::future::BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Arrives);
        Box::pin(async move {
            match fate {
                Fate::Arrives => self.journal.append(append).await,
                Fate::Away => Err(JournalError::Away("test".into())),
                Fate::Lost => Err(JournalError::Unclear("test".into())),
                Fate::AnswerLost => {
                    self.journal.append(append).await?;
                    Err(JournalError::Unclear("test".into()))
                }
            }
        })
    }

    fn read_stream(
        &self,
        stream: &StreamId,
        from: Seq,
        limit: usize,
    ) -> futures::future::BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        self.journal.read_stream(stream, from, limit)
    }

    fn read_all(
        &self,
        after: crate::id::Position,
        limit: usize,
    ) -> futures::future::BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        self.journal.read_all(after, limit)
    }

    fn streams(
        &self,
        prefix: &str,
    ) -> futures::future::BoxFuture<'_, Result<Vec<crate::journal::StreamHead>, JournalError>> {
        self.journal.streams(prefix)
    }

    fn claim(&self, stream: &StreamId) -> futures::future::BoxFuture<'_, Result<Generation, JournalError>> {
        self.journal.claim(stream)
    }

    fn committed(&self) -> tokio::sync::watch::Receiver<crate::id::Position> {
        self.journal.committed()
    }

    fn delete_stream(&self, stream: &StreamId) -> futures::future::BoxFuture<'_, Result<u64, JournalError>> {
        self.journal.delete_stream(stream)
    }
}

mod on_a_bad_line {
    use proptest::prelude::*;

    use super::*;

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![Just(Fate::Arrives), Just(Fate::Away), Just(Fate::AnswerLost), Just(Fate::Lost)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Also with equal events, and beside another writer of the same generation.
        #[test]
        fn every_append_is_recorded_once(
            fates in proptest::collection::vec(fate(), 0..10),
            payloads in proptest::collection::vec(0..2u8, 1..5),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let dir = tempfile::tempdir().unwrap();
                let journal = journal(&dir);
                let near = writer(&journal).await;
                let line = BadLine { journal: journal.clone(), fates: std::sync::Mutex::new(fates.into()) };
                let far = StreamWriter::join(
                    Arc::new(line), Arc::new(NoSecrets), stream("s"), project(), near.generation(),
                );
                for payload in &payloads {
                    far.append(event(json!(["far", payload]))).await.unwrap();
                    near.append(event(json!("near"))).await.unwrap();
                }
                let history = near.history().await.unwrap();
                let there: Vec<_> = history.into_iter().map(|e| e.payload).filter(|p| p.is_array()).collect();
                let sent: Vec<_> = payloads.iter().map(|payload| json!(["far", payload])).collect();
                assert_eq!(there, sent);
            });
        }
    }
}
