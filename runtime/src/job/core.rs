//! The jobs as the journal tells of them, and what is to be done next: pure.
//!
//! State changes only by [`JobsCore::apply`], so the live state and a fold over the history can't
//! differ. Decisions are computed from it one at a time; each is carried out by recording an
//! event, which is applied before the next decision is asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map};

use serde::{Deserialize, Serialize};

use super::event::JobEvent;
use super::options::JobsOptions;
use super::queue::{Queue, Turn, turn};
use super::record::{JobError, JobOutcome, JobPage, JobRecord, JobState, JobSubmit};
use crate::id::{Generation, JobId, Position, ProjectId};
use crate::journal::{Author, Envelope};
use crate::time::Timestamp;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start a run of this queued job.
    Start(JobId),
    /// Give this waiting job its place back.
    Resume(JobId),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RunEnd {
    Done(JobOutcome),
    /// It can't be done: not tried again.
    Failed(String),
    /// It broke off: tried again.
    Crashed(String),
    /// It ended because it was told to.
    Cancelled,
    /// Its node is gone, or its lease: not the job's doing.
    Lost(String),
}

/// One job, as recorded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) project: ProjectId,
    pub(super) kind: String,
    pub(super) title: String,
    pub(super) priority: i32,
    pub(super) by: Author,
    pub(super) state: JobState,
    pub(super) submitted: (Position, Timestamp),
    pub(super) first_start: Option<Timestamp>,
    pub(super) last_start: Option<Position>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) outcome: Option<JobOutcome>,
    pub(super) generation: Generation,
    pub(super) run: u32,
    /// Where the latest run is, or was.
    pub(super) node: Option<String>,
    pub(super) crashes: u32,
    /// It has one of the places of `max_running`.
    pub(super) holds_place: bool,
    /// What the latest event said about why it is where it is.
    pub(super) note: Option<String>,
    pub(super) not_before: Timestamp,
    pub(super) stop: Option<(Author, String)>,
    key: (ProjectId, String),
    digest: String,
}

/// All jobs, and the rules of the queue.
#[derive(Clone, Debug, Default)]
pub struct JobsCore {
    pub(super) options: JobsOptions,
    pub(super) jobs: BTreeMap<JobId, Job>,
    keys: HashMap<(ProjectId, String), JobId>,
    /// Follows from the jobs, and from which of them are being placed.
    pub(super) queue: Queue,
    /// Waiting jobs that could go on. Not recorded: a lost run is started anew.
    pub(super) resuming: BTreeSet<Turn>,
    /// Queued jobs for which a node is being found, and why there is none yet. Not recorded: a restart looks again.
    pub(super) placing: BTreeMap<JobId, Option<String>>,
}

/// Equal in what is recorded.
impl PartialEq for JobsCore {
    fn eq(&self, other: &Self) -> bool {
        self.jobs == other.jobs && self.keys == other.keys
    }
}

impl JobsCore {
    pub fn new(options: JobsOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Takes in a recorded event. What an ended job says is history and changes nothing.
    pub fn apply(&mut self, envelope: &Envelope) {
        let (Some(id), Some(event)) = (envelope.stream.as_job(), JobEvent::read(envelope)) else {
            return;
        };
        if let JobEvent::Submitted { .. } = event {
            self.insert(id, event, envelope);
        } else if let Some(job) = self.jobs.get_mut(&id)
            && !job.state.is_ended()
        {
            self.queue.take(job, self.placing.contains_key(&id));
            job.apply(event, envelope);
            if job.state != JobState::Queued {
                self.placing.remove(&id);
            }
            if job.state != JobState::Waiting {
                self.resuming.remove(&turn(job));
            }
            self.queue.put(job, self.placing.contains_key(&id));
        }
    }

    /// What a submit comes to: the job that it already is, or an event to record for a new one.
    pub fn admit(&self, submit: &JobSubmit) -> Result<Admission, JobError> {
        let (key_digest, digest) = digests(submit);
        if let Some(job) = self.keys.get(&(submit.project.clone(), key_digest.clone())) {
            let same = self.jobs.get(job).is_some_and(|j| j.digest == digest);
            return if same { Ok(Admission::Known(job.clone())) } else { Err(JobError::Conflict { job: job.clone() }) };
        }
        let open = self.queue.open();
        if open >= self.options.max_open {
            return Err(JobError::Busy { open });
        }
        Ok(Admission::New(JobEvent::Submitted {
            kind: submit.kind.clone(),
            title: submit.title.clone(),
            spec: submit.spec.clone(),
            priority: submit.priority,
            key_digest,
            digest,
        }))
    }

    /// What to do next, if anything can be done now.
    pub fn next(&mut self, now: Timestamp) -> Option<Decision> {
        if self.running() >= self.options.max_running {
            return None;
        }
        // Whoever has begun goes before whoever hasn't.
        if let Some((_, submitted)) = self.resuming.first() {
            return self.queue.id_of(*submitted).cloned().map(Decision::Resume);
        }
        for id in self.queue.due(now) {
            self.requeue(&id, |_| {});
        }
        self.queue.next().cloned().map(Decision::Start)
    }

    /// When a job whose retry waits becomes ready; nothing changes by time alone before that.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.queue.next_due(now)
    }

    /// A waiting job could go on.
    pub fn wants_resume(&mut self, id: &JobId) {
        if let Some(job) = self.jobs.get(id).filter(|j| j.state == JobState::Waiting) {
            self.resuming.insert(turn(job));
        }
    }

    /// What the end of a run means for its job.
    pub fn judge(&self, id: &JobId, end: RunEnd, now: Timestamp) -> Option<JobEvent> {
        let job = self.jobs.get(id).filter(|j| !j.state.is_ended())?;
        Some(match (end, &job.stop) {
            (RunEnd::Done(outcome), _) if outcome.success => ended(JobState::Succeeded, outcome),
            (RunEnd::Done(outcome), Some(_)) => ended(JobState::Stopped, outcome),
            (RunEnd::Done(outcome), None) => ended(JobState::Failed, outcome),
            (_, Some((by, reason))) => stopped(by, reason),
            (RunEnd::Lost(why), None) => JobEvent::Requeued { why, crash: false, not_before: now },
            (RunEnd::Failed(why), None) => failed(why),
            (RunEnd::Crashed(why), None) => self.retry_or_fail(job, why, now),
            (RunEnd::Cancelled, None) => self.retry_or_fail(job, "it broke off".into(), now),
        })
    }

    /// Jobs that have a run, as far as is recorded.
    pub fn begun(&self) -> Vec<JobId> {
        let begun = |j: &&Job| !j.state.is_ended() && j.state != JobState::Queued;
        self.jobs.values().filter(begun).map(|j| j.id.clone()).collect()
    }

    /// A place is being looked for; the job counts as running until it has started or [`JobsCore::not_placed`] is said.
    pub fn place(&mut self, id: &JobId) {
        self.requeue(id, |placing| {
            if let btree_map::Entry::Vacant(entry) = placing.entry(id.clone()) {
                entry.insert(None);
            }
        });
    }

    /// There is none yet, and why.
    pub fn no_place_yet(&mut self, id: &JobId, why: String) {
        if let Some(reason) = self.placing.get_mut(id) {
            *reason = Some(why);
        }
    }

    pub fn is_placing(&self, id: &JobId) -> bool {
        self.placing.contains_key(id)
    }

    /// It isn't looked for any more.
    pub fn not_placed(&mut self, id: &JobId) {
        self.requeue(id, |placing| {
            placing.remove(id);
        });
    }

    /// The job is deleted; its key may be used again.
    pub fn remove(&mut self, id: &JobId) {
        if let Some(job) = self.jobs.remove(id) {
            let placing = self.placing.remove(id).is_some();
            self.queue.take(&job, placing);
            self.queue.forget_if_empty(&job.project);
            self.resuming.remove(&turn(&job));
            self.keys.remove(&job.key);
        }
    }

    /// Changes whether a place is looked for, and brings the job to where it then belongs.
    fn requeue(&mut self, id: &JobId, change: impl FnOnce(&mut BTreeMap<JobId, Option<String>>)) {
        let Some(job) = self.jobs.get(id) else { return };
        self.queue.take(job, self.placing.contains_key(id));
        change(&mut self.placing);
        self.queue.put(job, self.placing.contains_key(id));
    }

    /// The number of the latest run; 0 before the first.
    pub(crate) fn latest_run(&self, id: &JobId) -> Option<u32> {
        self.jobs.get(id).map(|job| job.run)
    }

    /// Jobs that hold a place.
    pub fn running(&self) -> usize {
        self.queue.places()
    }

    pub fn record(&self, id: &JobId, now: Timestamp) -> Option<JobRecord> {
        self.jobs.get(id).map(|job| self.describe(job, now))
    }

    /// How many jobs are in each state; costs the same however many there are.
    pub fn counts(&self) -> Vec<(JobState, u64)> {
        self.queue.states().map(|(state, jobs)| (state, jobs as u64)).collect()
    }

    /// All jobs, oldest first.
    pub fn records(&self, now: Timestamp) -> Vec<JobRecord> {
        self.page(None, usize::MAX, now).jobs
    }

    /// So many jobs behind `after`, oldest first. O(log of all, for each of the page).
    pub fn page(&self, after: Option<Position>, limit: usize, now: Timestamp) -> JobPage {
        let mut page = JobPage::default();
        for (submitted, id) in self.queue.after(after).take(limit) {
            page.more_after = Some(submitted);
            page.jobs.extend(self.record(id, now));
        }
        page.more_after = page.more_after.filter(|last| self.queue.after(Some(*last)).next().is_some());
        page
    }

    fn describe(&self, job: &Job, now: Timestamp) -> JobRecord {
        JobRecord {
            id: job.id.clone(),
            kind: job.kind.clone(),
            project: job.project.clone(),
            title: job.title.clone(),
            state: job.state,
            priority: job.priority,
            submitted_at: job.submitted.1,
            started_at: job.first_start,
            ended_at: job.ended_at,
            by: job.by.clone(),
            outcome: job.outcome.clone(),
            generation: job.generation,
            node: job.node.clone(),
            why: self.explain(job, now),
        }
    }

    fn retry_or_fail(&self, job: &Job, why: String, now: Timestamp) -> JobEvent {
        let crashes = job.crashes + 1;
        if crashes > self.options.max_restarts {
            return failed(format!("it crashed {crashes} times; last: {why}"));
        }
        let delay = self.options.backoff.after(crashes).as_millis();
        let delay = i64::try_from(delay).unwrap_or(i64::MAX);
        let not_before = Timestamp(now.0.saturating_add(delay));
        JobEvent::Requeued { why, crash: true, not_before }
    }

    fn insert(&mut self, id: JobId, event: JobEvent, envelope: &Envelope) {
        let JobEvent::Submitted { kind, title, priority, key_digest, digest, .. } = event else {
            return;
        };
        self.remove(&id);
        let key = (envelope.project.clone(), key_digest);
        self.keys.insert(key.clone(), id.clone());
        let job = Job {
            id: id.clone(),
            project: envelope.project.clone(),
            kind,
            title,
            priority,
            by: envelope.by.clone(),
            state: JobState::Queued,
            submitted: (envelope.position, envelope.at),
            first_start: None,
            last_start: None,
            ended_at: None,
            outcome: None,
            generation: envelope.generation,
            run: 0,
            node: None,
            crashes: 0,
            holds_place: false,
            note: None,
            not_before: Timestamp(0),
            stop: None,
            key,
            digest,
        };
        self.queue.put(&job, false);
        self.jobs.insert(id, job);
    }
}

/// What a submit comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// It was submitted before.
    Known(JobId),
    /// This is to be recorded under a new id.
    New(JobEvent),
}

impl Job {
    fn apply(&mut self, event: JobEvent, envelope: &Envelope) {
        match event {
            JobEvent::Submitted { .. } => {}
            JobEvent::Started { run, node } => {
                self.enter(JobState::Running, true);
                self.run = run;
                self.node = node;
                self.generation = envelope.generation;
                self.first_start.get_or_insert(envelope.at);
                self.last_start = Some(envelope.position);
            }
            JobEvent::Waiting { what } => {
                self.enter(JobState::Waiting, false);
                self.note = Some(what);
            }
            JobEvent::Resumed {} => self.enter(JobState::Running, true),
            JobEvent::Requeued { why, crash, not_before } => {
                self.enter(JobState::Queued, false);
                self.note = Some(why);
                self.not_before = not_before;
                self.crashes += u32::from(crash);
            }
            JobEvent::StopRequested { reason } => {
                self.enter(JobState::Stopping, self.holds_place);
                self.stop = Some((envelope.by.clone(), reason));
            }
            JobEvent::Ended { state, outcome } => {
                self.enter(state, false);
                self.outcome = Some(outcome);
                self.ended_at = Some(envelope.at);
            }
        }
    }

    fn enter(&mut self, state: JobState, holds_place: bool) {
        // A job that is to stop stays so whatever its run still records, until it ends.
        let stays = self.stop.is_some() && !state.is_ended();
        self.state = if stays { JobState::Stopping } else { state };
        self.holds_place = holds_place;
        self.note = None;
    }
}

fn ended(state: JobState, outcome: JobOutcome) -> JobEvent {
    JobEvent::Ended { state, outcome }
}

fn failed(summary: String) -> JobEvent {
    ended(JobState::Failed, JobOutcome { success: false, summary, detail: serde_json::Value::Null })
}

fn stopped(by: &Author, reason: &str) -> JobEvent {
    let summary = format!("stopped by {by}: {reason}");
    ended(JobState::Stopped, JobOutcome { success: false, summary, detail: serde_json::Value::Null })
}

/// Of the idempotency key, and of all that must be the same for the key to be used again.
fn digests(submit: &JobSubmit) -> (String, String) {
    let key = blake3::hash(submit.idempotency_key.as_bytes()).to_hex().to_string();
    let mut hasher = blake3::Hasher::new();
    let asked = serde_json::json!([submit.kind, submit.title, sorted(&submit.spec)]);
    hasher.update(asked.to_string().as_bytes());
    (key, hasher.finalize().to_hex().to_string())
}

/// The same value with the keys of its objects in order: their order means nothing.
fn sorted(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(map) => {
            let in_order: BTreeMap<&String, &Value> = map.iter().collect();
            Value::Object(in_order.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        other => other.clone(),
    }
}
