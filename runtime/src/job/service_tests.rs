#![allow(clippy::unwrap_used, clippy::expect_used)]
//! The whole service on a real journal.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::*;
use crate::actor::{ReplyTo, System, check_wire};
use crate::blob::{BlobOptions, BlobStore, Blobs};
use crate::effect::Permit;
use crate::id::{Generation, Incarnation, JobId, NodeId, Position, Seq, StreamId};
use crate::job::service::JobsMsg;
use crate::journal::{
    Append, Author, Envelope, Journal, JournalError, JournalOptions, NewEvent, SqliteJournal, StreamHead,
};
use crate::progress::ProgressBus;
use crate::redact::NoSecrets;
use crate::supervise::Backoff;

const SOON: Duration = Duration::from_secs(20);

/// A job that does what its spec says.
#[derive(Default)]
struct Scripted {
    running: AtomicUsize,
    most: AtomicUsize,
    runs: AtomicUsize,
    gate: Notify,
    /// What each run found recorded when it began.
    found: Mutex<Vec<Vec<String>>>,
}

struct Inside(Arc<Scripted>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The trait is the runtime's, so an `Arc` of ours can't have it; this can.
struct Kind(Arc<Scripted>);

impl JobKind for Kind {
    fn name(&self) -> &str {
        "scripted"
    }

    fn check(&self, spec: &Value) -> Result<(), String> {
        spec["do"].as_str().map(drop).ok_or_else(|| "it doesn't say what to do".into())
    }

    fn run(&self, ctx: JobContext) -> BoxFuture<'static, Result<JobOutcome, JobError>> {
        let scripted = self.0.clone();
        Box::pin(async move {
            let inside = scripted.running.fetch_add(1, Ordering::SeqCst) + 1;
            scripted.most.fetch_max(inside, Ordering::SeqCst);
            let _inside = Inside(scripted.clone());
            let run = scripted.runs.fetch_add(1, Ordering::SeqCst) + 1;
            let kinds = ctx.history.iter().map(|e| e.kind.clone()).collect();
            scripted.found.lock().unwrap().push(kinds);
            act(&ctx, &scripted, run).await
        })
    }
}

async fn act(ctx: &JobContext, scripted: &Scripted, run: usize) -> Result<JobOutcome, JobError> {
    match ctx.spec["do"].as_str().unwrap_or_default() {
        "succeed" => Ok(outcome(true)),
        "fail" => Err(JobError::Failed("it can't be done".into())),
        "panic" => panic!("on purpose"),
        "panic twice" if run <= 2 => panic!("on purpose"),
        "panic twice" => Ok(outcome(true)),
        "work until let go" => {
            ctx.writer.append(NewEvent::new(Author::Node("t".into()), "test.step", json!({}))).await?;
            tokio::select! {
                () = scripted.gate.notified() => Ok(outcome(true)),
                () = ctx.cancel.cancelled() => Err(JobError::Cancelled),
            }
        }
        "ignore the stop" => std::future::pending().await,
        "ask a person" => {
            ctx.waiting.during("anna", scripted.gate.notified()).await?;
            Ok(outcome(true))
        }
        other => Err(JobError::Failed(format!("unknown: {other}"))),
    }
}

fn outcome(success: bool) -> JobOutcome {
    JobOutcome { success, summary: "done".into(), detail: json!({ "n": 1 }) }
}

/// A journal that can be told to refuse the next appends.
struct Moody {
    inner: Arc<SqliteJournal>,
    refusals: AtomicUsize,
}

impl Journal for Moody {
    fn append(&self, a: Append) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        let less = |n: usize| n.checked_sub(1);
        if self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Box::pin(async { Err(JournalError::Closed(Some("in a mood".into()))) });
        }
        self.inner.append(a)
    }

    fn read_stream(
        &self,
        stream: &StreamId,
        from: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        self.inner.read_stream(stream, from, limit)
    }

    fn read_all(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        self.inner.read_all(after, limit)
    }

    fn streams(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<StreamHead>, JournalError>> {
        self.inner.streams(prefix)
    }

    fn claim(&self, stream: &StreamId) -> BoxFuture<'_, Result<Generation, JournalError>> {
        self.inner.claim(stream)
    }

    fn committed(&self) -> watch::Receiver<Position> {
        self.inner.committed()
    }

    fn delete_stream(&self, stream: &StreamId) -> BoxFuture<'_, Result<u64, JournalError>> {
        self.inner.delete_stream(stream)
    }
}

/// A node as far as jobs are concerned; dropped and made anew on the same directory it restarts.
struct Node {
    system: System,
    jobs: Jobs,
    journal: Arc<Moody>,
    kind: Arc<Scripted>,
    ports: JobsPorts,
}

impl Node {
    async fn start(dir: &Path, max_running: usize) -> Self {
        let (journal, _) = SqliteJournal::open(&dir.join("journal"), &JournalOptions::default()).unwrap();
        let journal = Arc::new(Moody { inner: Arc::new(journal), refusals: AtomicUsize::new(0) });
        let options = JobsOptions {
            max_running,
            max_restarts: 2,
            backoff: Backoff { initial: Duration::from_millis(5), ..Backoff::default() },
            stop_grace: Duration::from_millis(200),
            ..JobsOptions::default()
        };
        let kind = Arc::new(Scripted::default());
        let ports = JobsPorts {
            journal: journal.clone(),
            redactor: Arc::new(NoSecrets),
            blobs: Blobs::alone(BlobStore::open(&dir.join("blobs"), BlobOptions::default()).unwrap()).await.unwrap(),
            progress: ProgressBus::new(),
        };
        let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
        let kinds: Vec<Arc<dyn JobKind>> = vec![Arc::new(Kind(kind.clone()))];
        let jobs = Jobs::start(&system, options, kinds, ports.clone()).await.unwrap();
        Self { system, jobs, journal, kind, ports }
    }

    /// From now on runs are permitted by that.
    fn hold(&self, permit: Permit) {
        let kinds: Vec<Arc<dyn JobKind>> = vec![Arc::new(Kind(self.kind.clone()))];
        let host = JobHost::new("test", kinds, self.ports.clone(), self.jobs.service());
        self.system.provide(JobHost { permit, ..host });
    }

    async fn submit(&self, what: &str, key: &str) -> JobRecord {
        self.jobs.submit(ask(what, key)).await.unwrap()
    }

    async fn reach(&self, job: &JobId, state: JobState) -> JobRecord {
        let deadline = Instant::now() + SOON;
        loop {
            let record = self.jobs.get(job).await.unwrap();
            if record.state == state {
                return record;
            }
            assert!(Instant::now() < deadline, "it never was {state}: {record:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn began(&self, job: &JobId) {
        let deadline = Instant::now() + SOON;
        while !self.kinds(job).await.contains(&"test.step".to_owned()) {
            assert!(Instant::now() < deadline, "it never began");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn kinds(&self, job: &JobId) -> Vec<String> {
        let events = self.journal.read_stream(&StreamId::job(job), Seq(1), 100).await.unwrap();
        events.into_iter().map(|e| e.kind).collect()
    }

    /// Ends the process as far as this test can: everything in memory goes.
    async fn end(self) {
        self.system.shutdown().await;
        drop(self.jobs);
        let journal = Arc::downgrade(&self.journal);
        drop((self.journal, self.ports));
        drop(self.system);
        let deadline = Instant::now() + SOON;
        while journal.strong_count() > 0 {
            assert!(Instant::now() < deadline, "somebody still holds the journal");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn ask(what: &str, key: &str) -> JobSubmit {
    JobSubmit {
        kind: "scripted".into(),
        project: "p".parse().unwrap(),
        idempotency_key: key.into(),
        title: what.into(),
        spec: json!({ "do": what }),
        priority: 0,
        by: anna(),
    }
}

fn anna() -> Author {
    Author::Person("anna".into())
}

#[tokio::test]
async fn a_job_is_recorded_before_the_submit_is_acknowledged_and_then_done() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 2).await;
    let record = node.submit("succeed", "k").await;
    assert_eq!(node.kinds(&record.id).await[0], "job.submitted");
    let record = node.reach(&record.id, JobState::Succeeded).await;
    assert_eq!(record.outcome, Some(outcome(true)));
    assert_eq!(node.kinds(&record.id).await, ["job.submitted", "job.started", "job.ended"]);
    assert_eq!(record.by, anna());
    assert!(record.started_at.is_some() && record.ended_at.is_some());
}

#[tokio::test]
async fn what_can_never_run_is_refused_before_it_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 2).await;
    let unknown = JobSubmit { kind: "other".into(), ..ask("succeed", "k") };
    let known = vec!["scripted".to_owned()];
    let refused = JobError::UnknownKind { kind: "other".into(), known };
    assert_eq!(node.jobs.submit(unknown).await, Err(refused));
    let bad = JobSubmit { spec: json!({}), ..ask("succeed", "k") };
    let refused = JobError::InvalidSpec("it doesn't say what to do".into());
    assert_eq!(node.jobs.submit(bad).await, Err(refused));
    assert_eq!(node.jobs.list().await.unwrap(), []);
}

#[tokio::test]
async fn many_submits_with_one_key_at_the_same_time_make_one_job() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 1).await;
    let submits = (0..16).map(|_| node.jobs.submit(ask("succeed", "same")));
    let ids: std::collections::BTreeSet<JobId> =
        futures::future::join_all(submits).await.into_iter().map(|r| r.unwrap().id).collect();
    assert_eq!(ids.len(), 1);
    node.reach(ids.first().unwrap(), JobState::Succeeded).await;
    assert_eq!(node.kind.runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_restart_in_the_middle_runs_the_job_again_with_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 2).await;
    let first = node.submit("work until let go", "k").await;
    node.began(&first.id).await;
    let generation = node.jobs.get(&first.id).await.unwrap().generation;
    node.end().await;

    let node = Node::start(dir.path(), 2).await;
    let again = node.submit("work until let go", "k").await;
    assert_eq!(again.id, first.id, "the submit is idempotent over the restart");
    node.reach(&first.id, JobState::Running).await;
    node.kind.gate.notify_one();
    let record = node.reach(&first.id, JobState::Succeeded).await;
    assert!(record.generation > generation, "the new run fences the old one");
    let found = node.kind.found.lock().unwrap().clone();
    let expected = ["job.submitted", "job.started", "test.step", "job.requeued", "job.started"].map(str::to_owned);
    assert_eq!(found, [expected.to_vec()]);
    node.end().await;

    let node = Node::start(dir.path(), 2).await;
    let record = node.jobs.get(&first.id).await.unwrap();
    assert_eq!(record.state, JobState::Succeeded);
    assert_eq!(node.kind.runs.load(Ordering::SeqCst), 0, "an ended job never runs again");
    let other = JobSubmit { spec: json!({ "do": "succeed" }), ..ask("work until let go", "k") };
    assert_eq!(node.jobs.submit(other).await, Err(JobError::Conflict { job: first.id }));
}

#[tokio::test]
async fn a_panic_is_tried_again_and_the_job_can_still_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 2).await;
    let job = node.submit("panic twice", "k").await.id;
    node.reach(&job, JobState::Succeeded).await;
    assert_eq!(node.kind.runs.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_job_that_panics_every_time_fails_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 2).await;
    let job = node.submit("panic", "k").await.id;
    let record = node.reach(&job, JobState::Failed).await;
    assert_eq!(record.why.unwrap(), "it crashed 3 times; last: panicked: on purpose");
}

#[tokio::test]
async fn a_job_that_cannot_be_done_fails_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 2).await;
    let job = node.submit("fail", "k").await.id;
    let record = node.reach(&job, JobState::Failed).await;
    assert_eq!(record.outcome.unwrap().summary, "it can't be done");
    assert_eq!(node.kind.runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn never_more_than_max_running_run_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 2).await;
    let mut jobs = Vec::new();
    for n in 0..6 {
        jobs.push(node.submit("work until let go", &n.to_string()).await.id);
    }
    for job in jobs {
        let deadline = Instant::now() + SOON;
        while node.jobs.get(&job).await.unwrap().state != JobState::Succeeded {
            assert!(Instant::now() < deadline);
            node.kind.gate.notify_one();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(node.kind.most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stop_returns_when_the_job_has_ended_and_says_who_asked() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 2).await;
    let job = node.submit("work until let go", "k").await.id;
    node.reach(&job, JobState::Running).await;
    let record = node.jobs.stop(&job, anna(), "enough").await.unwrap();
    assert_eq!(record.state, JobState::Stopped);
    assert_eq!(record.why.unwrap(), "stopped by person:anna: enough");
    assert_eq!(node.kind.running.load(Ordering::SeqCst), 0);
    let again = node.jobs.stop(&job, anna(), "again").await.unwrap();
    assert_eq!(again.state, JobState::Stopped);
}

#[tokio::test]
async fn a_job_that_ignores_the_stop_is_killed_after_its_grace() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 1).await;
    let job = node.submit("ignore the stop", "k").await.id;
    let queued = node.submit("succeed", "behind").await.id;
    node.reach(&job, JobState::Running).await;
    let record = node.jobs.stop(&job, anna(), "enough").await.unwrap();
    assert_eq!(record.state, JobState::Stopped);
    node.reach(&queued, JobState::Succeeded).await;
    assert_eq!(node.kind.running.load(Ordering::SeqCst), 0, "its future was dropped");
}

#[tokio::test]
async fn a_queued_job_is_stopped_without_ever_running() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 0).await;
    let job = node.submit("succeed", "k").await.id;
    assert_eq!(node.jobs.stop(&job, anna(), "no").await.unwrap().state, JobState::Stopped);
    assert_eq!(node.kind.runs.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_job_that_waits_for_a_person_lets_others_run() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 1).await;
    let asking = node.submit("ask a person", "1").await.id;
    let record = node.reach(&asking, JobState::Waiting).await;
    assert_eq!(record.why.unwrap(), "it waits for anna");
    let other = node.submit("succeed", "2").await.id;
    node.reach(&other, JobState::Succeeded).await;
    node.kind.gate.notify_one();
    node.reach(&asking, JobState::Succeeded).await;
    let kinds = node.kinds(&asking).await;
    assert_eq!(kinds, ["job.submitted", "job.started", "job.waiting", "job.resumed", "job.ended"]);
}

#[tokio::test]
async fn a_job_is_deleted_only_when_it_has_ended_and_then_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 1).await;
    let job = node.submit("work until let go", "k").await.id;
    node.reach(&job, JobState::Running).await;
    let refused = JobError::NotEnded { job: job.clone(), state: JobState::Running };
    assert_eq!(node.jobs.delete(&job).await, Err(refused));
    node.jobs.stop(&job, anna(), "enough").await.unwrap();
    node.jobs.delete(&job).await.unwrap();
    assert_eq!(node.jobs.get(&job).await, Err(JobError::NotFound(job.clone())));
    assert_eq!(node.kinds(&job).await, [] as [String; 0]);
}

#[tokio::test]
async fn a_service_that_the_journal_refused_starts_again_from_what_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 1).await;
    let running = node.submit("work until let go", "1").await.id;
    node.reach(&running, JobState::Running).await;
    let queued = node.submit("succeed", "2").await.id;
    node.journal.refusals.store(1, Ordering::SeqCst);
    // Whether this one was recorded is unknown to its asker, so it asks again with the same key.
    let refused = node.jobs.submit(ask("succeed", "3")).await;
    assert!(matches!(refused, Err(JobError::Unavailable(_))), "{refused:?}");
    let third = node.submit("succeed", "3").await.id;
    let deadline = Instant::now() + SOON;
    while node.jobs.get(&running).await.unwrap().state != JobState::Succeeded {
        assert!(Instant::now() < deadline);
        node.kind.gate.notify_one();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    node.reach(&queued, JobState::Succeeded).await;
    node.reach(&third, JobState::Succeeded).await;
    assert_eq!(node.kind.most.load(Ordering::SeqCst), 1, "the run of the failed service ended first");
}

#[tokio::test]
async fn the_services_messages_travel() {
    let (reply, _answer) = ReplyTo::channel();
    let submit = ask("succeed", "k");
    let JobsMsg::Submit { submit: copy, .. } =
        check_wire(&JobsMsg::Submit { submit: submit.clone().into(), reply }).unwrap()
    else {
        panic!("another message arrived");
    };
    assert_eq!(copy.take().unwrap(), submit);
}

#[tokio::test]
async fn a_run_goes_on_while_the_service_begins_anew_and_its_end_still_counts() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 1).await;
    let job = node.submit("work until let go", "1").await.id;
    let before = node.reach(&job, JobState::Running).await;
    node.began(&job).await;
    node.journal.refusals.store(1, Ordering::SeqCst);
    let refused = node.jobs.submit(ask("succeed", "2")).await;
    assert!(matches!(refused, Err(JobError::Unavailable(_))), "{refused:?}");
    let after = node.reach(&job, JobState::Running).await;
    assert_eq!(after.generation, before.generation, "nobody has fenced it");
    let deadline = Instant::now() + SOON;
    while node.jobs.get(&job).await.unwrap().state != JobState::Succeeded {
        assert!(Instant::now() < deadline);
        node.kind.gate.notify_one();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(node.kind.runs.load(Ordering::SeqCst), 1);
    assert_eq!(node.kinds(&job).await, ["job.submitted", "job.started", "test.step", "job.ended"]);
}

#[tokio::test]
async fn a_run_ends_with_its_nodes_lease_and_is_begun_again_when_the_node_may_act() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), 1).await;
    let permitted = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = permitted.clone();
    node.hold(Permit::new(move || asked.load(Ordering::SeqCst)));
    let job = node.submit("work until let go", "1").await.id;
    let first = node.reach(&job, JobState::Running).await;
    let deadline = Instant::now() + SOON;
    permitted.store(false, Ordering::SeqCst);
    while node.kind.running.load(Ordering::SeqCst) > 0 || node.kind.runs.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "it still runs");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    permitted.store(true, Ordering::SeqCst);
    while node.jobs.get(&job).await.unwrap().state != JobState::Succeeded {
        assert!(Instant::now() < deadline);
        node.kind.gate.notify_one();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let record = node.jobs.get(&job).await.unwrap();
    assert!(record.generation > first.generation, "what the first run left behind is fenced");
    assert_eq!(node.kind.runs.load(Ordering::SeqCst), 2);
}
