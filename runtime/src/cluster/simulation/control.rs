//! The control node's process and its disk: the real registry, and what is written down for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::jobs::Jobs;
use super::node::AskId;
use crate::cluster::kinds::{KindName, SpawnOrder};
use crate::cluster::message::SpawnRequest;
use crate::cluster::options::ClusterOptions;
use crate::cluster::registry::{About, Book, Bug, ClusterEvent, Now, Registry};
use crate::id::{Generation, Incarnation, JobId, NodeId, Position, Seq, StreamId};
use crate::job::JobEvent;
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

pub(super) fn options() -> ClusterOptions {
    // Some are forgotten within a run, and some of these come back.
    ClusterOptions { forget_after: Duration::from_secs(8), ..ClusterOptions::default() }
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
        Ok(Self { registry, asks: BTreeMap::new(), append: None, append_from: 0, jobs: Jobs::open(disk) })
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
    SpawnRequest { order, demand, owner: None }
}

pub(super) fn moment(clock: Duration, now: u64) -> Now {
    Now { clock: clock + Duration::from_millis(now), wall: Timestamp(now.cast_signed()) }
}

pub(super) fn author() -> Author {
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
