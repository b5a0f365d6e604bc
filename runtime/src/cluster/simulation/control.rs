//! The control node's process and its disk: the real registry and the real jobs core, and what is written down for them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::node::AskId;
use crate::cluster::kinds::{KindName, SpawnOrder};
use crate::cluster::message::SpawnRequest;
use crate::cluster::options::ClusterOptions;
use crate::cluster::registry::{About, Book, Bug, ClusterEvent, Now, Registry};
use crate::id::{Generation, Incarnation, JobId, NodeId, Position, Seq, StreamId};
use crate::job::{JobEvent, JobOutcome, JobSubmit, JobsOptions};
use crate::job::{Admission, Decision, JobsCore, RunEnd};
use crate::journal::{Author, Envelope, Hash, NewEvent};
use crate::supervise::Restart;
use crate::time::Timestamp;

/// What survives the process.
#[derive(Default)]
pub(super) struct Disk {
    pub cluster: Vec<(ClusterEvent, Timestamp)>,
    pub jobs: Vec<Envelope>,
}

pub(super) struct Control {
    pub registry: Registry,
    /// Calls to nodes, and until when they are waited for.
    pub asks: BTreeMap<AskId, (usize, About, u64)>,
    /// An append that is under way, and when it is on disk.
    pub append: Option<(u64, Vec<(ClusterEvent, Timestamp)>)>,
    pub append_from: u64,
    pub jobs: Jobs,
}

/// As the jobs actor does it: everything is recorded before it takes effect, one after the other.
pub(super) struct Jobs {
    pub core: JobsCore,
    pub queue: VecDeque<(JobId, JobEvent)>,
    pub in_flight: Option<(u64, JobId, JobEvent)>,
}

pub(super) fn options() -> ClusterOptions {
    ClusterOptions::default()
}

impl Disk {
    /// Everything as it would be read back, with the JSON and with a snapshot in between.
    pub fn book(&self) -> Result<Book, String> {
        let mut book = Book::default();
        for (n, (event, at)) in self.cluster.iter().enumerate() {
            let written = event.write(*at, author()).map_err(|e| e.to_string())?;
            let read = ClusterEvent::read(&envelope(written, "cluster/1", n as u64 + 1, *at));
            let (event, at) = read.ok_or("not an event of the cluster")?.map_err(|e| e.to_string())?;
            book.apply(&event, at);
        }
        let mut again = Book::default();
        book.snapshot().iter().for_each(|part| again.apply(part, Timestamp(0)));
        if again != book {
            return Err(format!("a snapshot gives another book: {again:?} and not {book:?}"));
        }
        Ok(book)
    }

    pub fn record_job(&mut self, job: &JobId, event: &JobEvent, now: u64) -> Envelope {
        let written = event.write(author()).unwrap();
        let n = self.jobs.len() as u64 + 1;
        let envelope = envelope(written, StreamId::job(job).as_str(), n, Timestamp(now.cast_signed()));
        self.jobs.push(envelope.clone());
        envelope
    }
}

impl Control {
    pub fn start(disk: &Disk, me: (NodeId, Incarnation), now: Now, bug: Option<Bug>) -> Result<Self, String> {
        let mut registry = Registry::new(options(), me, disk.book()?, now).map_err(|e| e.to_string())?;
        registry.bug = bug;
        let mut core = JobsCore::new(JobsOptions::default());
        disk.jobs.iter().for_each(|envelope| core.apply(envelope));
        let queue = core.recover(now.wall).into();
        let jobs = Jobs { core, queue, in_flight: None };
        Ok(Self { registry, asks: BTreeMap::new(), append: None, append_from: 0, jobs })
    }
}

impl Jobs {
    /// A submit: the job if it is on disk already.
    pub fn submit(&mut self, n: usize) -> Option<JobId> {
        let job = job_id(n);
        match self.core.admit(&submit(n)) {
            Ok(Admission::Known(job)) => return Some(job),
            Ok(Admission::New(event)) if !self.is_under_way(&job) => self.queue.push_back((job, event)),
            _ => {}
        }
        None
    }

    fn is_under_way(&self, job: &JobId) -> bool {
        let flying = self.in_flight.iter().map(|(_, job, _)| job);
        self.queue.iter().map(|(job, _)| job).chain(flying).any(|other| other == job)
    }

    /// Starts what can be started, and ends what has ended, where nothing else waits to be recorded.
    pub fn go_on(&mut self, book: &Book, now: u64, disk: &Disk) {
        if self.in_flight.is_some() || !self.queue.is_empty() {
            return;
        }
        let wall = Timestamp(now.cast_signed());
        if let Some(Decision::Start(job)) = self.core.next(wall) {
            let is_start = |e: &&Envelope| e.kind == "job.started" && e.stream == StreamId::job(&job);
            let run = u32::try_from(disk.jobs.iter().filter(is_start).count()).unwrap_or(u32::MAX) + 1;
            self.queue.push_back((job, JobEvent::Started { run }));
            return;
        }
        let running = self.core.records(wall).into_iter().filter(|job| job.state == crate::job::JobState::Running);
        for job in running {
            let key = key(&job.id);
            let ended = book.by_key(&key).is_none() && book.over(&key).is_some_and(|over| over.why == "it ended");
            if ended {
                let outcome = JobOutcome { success: true, summary: String::new(), detail: serde_json::Value::Null };
                let event = self.core.judge(&job.id, RunEnd::Done(outcome), wall);
                self.queue.extend(event.map(|event| (job.id, event)));
                return;
            }
        }
    }

    /// Jobs that run and whose actor the cluster doesn't know.
    pub fn to_spawn(&self, book: &Book, now: u64) -> Vec<String> {
        let running = |state| state == crate::job::JobState::Running;
        let jobs = self.core.records(Timestamp(now.cast_signed())).into_iter().filter(|job| running(job.state));
        let keys = jobs.map(|job| key(&job.id));
        keys.filter(|key| book.by_key(key).is_none() && book.over(key).is_none_or(|over| over.why != "it ended")).collect()
    }
}

pub(super) fn job_id(n: usize) -> JobId {
    format!("{n:010}").parse().unwrap()
}

fn key(job: &JobId) -> String {
    format!("job/{job}")
}

fn submit(n: usize) -> JobSubmit {
    JobSubmit {
        kind: "work".into(),
        project: "p".parse().unwrap(),
        idempotency_key: n.to_string(),
        title: String::new(),
        spec: serde_json::Value::Null,
        priority: 0,
        by: author(),
    }
}

pub(super) fn request(key: &str) -> SpawnRequest {
    let restart = if key.starts_with("job/") { Restart::Transient } else { Restart::Permanent };
    let kind = KindName { name: "sim".into(), version: 1 };
    let order = SpawnOrder { kind, args: vec![1, 2], key: key.to_owned(), restart };
    let demand = crate::placement::Demand {
        request: "cpu=1".parse().unwrap(),
        strategy: crate::placement::Strategy::Spread,
        ..Default::default()
    };
    SpawnRequest { order, demand }
}

pub(super) fn moment(clock: Duration, now: u64) -> Now {
    Now { clock: clock + Duration::from_millis(now), wall: Timestamp(now.cast_signed()) }
}

fn author() -> Author {
    Author::Node("sim".into())
}

fn envelope(event: NewEvent, stream: &str, n: u64, at: Timestamp) -> Envelope {
    Envelope {
        position: Position(n),
        at,
        by: event.by,
        project: "p".parse().unwrap(),
        stream: stream.parse().unwrap(),
        seq: Seq(n),
        generation: Generation(1),
        kind: event.kind,
        version: event.version,
        caused_by: None,
        facts: event.facts,
        prev_hash: Hash::ZERO,
        hash: Hash::ZERO,
        payload: event.payload,
    }
}
