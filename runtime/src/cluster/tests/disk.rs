//! The control node's disk fails for a while.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::*;
use crate::cluster::archive::Archive;
use crate::cluster::registry::{Book, ClusterEvent};
use crate::id::{ActorId, Generation, Position, Seq, StreamId};
use crate::journal::{Append, Envelope, Journal, JournalError, StreamHead};
use crate::membership::MemberState;
use crate::time::Timestamp;

/// A journal on a disk that has no room while it is told so.
struct Faulty {
    inner: Arc<dyn Journal>,
    disk: AtomicU8,
    /// Appends until one is written and yet answered by an error; 0: never.
    lies_in: AtomicU64,
}

const GOOD: u8 = 0;
const FULL: u8 = 1;

impl Faulty {
    fn new(ports: &ControlPorts) -> Arc<Self> {
        let inner = ports.journal.clone();
        Arc::new(Self { inner, disk: AtomicU8::new(GOOD), lies_in: AtomicU64::new(0) })
    }

    fn ports(self: &Arc<Self>, ports: &ControlPorts) -> ControlPorts {
        ControlPorts { journal: self.clone(), redactor: ports.redactor.clone() }
    }

    fn is(&self, disk: u8) {
        self.disk.store(disk, Ordering::SeqCst);
    }

    fn room(&self) -> Result<(), JournalError> {
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        match self.disk.load(Ordering::SeqCst) {
            FULL => Err(rusqlite::Error::SqliteFailure(full, Some("database or disk is full".into())).into()),
            _ => Ok(()),
        }
    }
}

impl Journal for Faulty {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        Box::pin(async move {
            self.room()?;
            let appended = self.inner.append(append).await;
            match self.lies_in.load(Ordering::SeqCst) {
                0 => appended,
                left => {
                    self.lies_in.store(left - 1, Ordering::SeqCst);
                    if left == 1 { Err(JournalError::Closed(None)) } else { appended }
                }
            }
        })
    }

    fn read_stream(&self, s: &StreamId, from: Seq, n: usize) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        self.inner.read_stream(s, from, n)
    }

    fn read_all(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        self.inner.read_all(after, limit)
    }

    fn streams(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<StreamHead>, JournalError>> {
        self.inner.streams(prefix)
    }

    fn claim(&self, stream: &StreamId) -> BoxFuture<'_, Result<Generation, JournalError>> {
        match self.room() {
            Ok(()) => self.inner.claim(stream),
            Err(e) => Box::pin(std::future::ready(Err(e))),
        }
    }

    fn committed(&self) -> watch::Receiver<Position> {
        self.inner.committed()
    }

    fn delete_stream(&self, stream: &StreamId) -> BoxFuture<'_, Result<u64, JournalError>> {
        match self.room() {
            Ok(()) => self.inner.delete_stream(stream),
            Err(e) => Box::pin(std::future::ready(Err(e))),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_gives_refusals_that_say_so_and_all_goes_on_when_there_is_room() {
    let (cluster, hub) = (Cluster::new(), Hub::default());
    let plain = cluster.ports();
    let faulty = Faulty::new(&plain);
    let control_node = cluster.node(NodeId::new_random(), 1).await;
    let control = member(&control_node, &hub, "n0", Role::Control(faulty.ports(&plain)), 0).await;
    let node = cluster.node(NodeId::new_random(), 1).await;
    let part = member(&node, &hub, "n1", Role::Member { control: control_node.id }, 20_000).await;
    restart::alive(&control, &[control_node.id, node.id]).await;
    let there = part.spawn::<Counter>("there", &7, Restart::Permanent, one_cpu(), SOON).await.unwrap();

    faulty.is(FULL);
    let says_so =
        |refusal: &ClusterError| matches!(refusal, ClusterError::Refused(why) if why.contains("disk is full"));
    let refused = part.spawn::<Counter>("new", &1, Restart::Permanent, one_cpu(), SOON).await.unwrap_err();
    assert!(says_so(&refused), "{refused}");
    let refused = part.stop_actor("there").await.unwrap_err();
    assert!(says_so(&refused), "{refused}");
    // What is there goes on and is found, and people can ask what is wrong.
    let found: Ref<CounterMsg> = part.find("there").await.unwrap().expect("it is there");
    assert_eq!((found.ask(SOON, CounterMsg::Get).await, found.addr()), (Ok(7), there.addr()));
    let again = part.spawn::<Counter>("there", &7, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    assert_eq!(again.addr(), there.addr());
    let explained = part.explain_node("n1").await.unwrap().unwrap();
    assert!(explained.why.iter().any(|why| why.contains("disk is full")), "{explained:?}");
    assert_eq!(explained.record.state, MemberState::Alive);

    faulty.is(GOOD);
    let new = tokio::time::timeout(SOON, async {
        loop {
            match part.spawn::<Counter>("new", &1, Restart::Permanent, one_cpu(), SOON).await {
                Ok(new) => break new,
                Err(refused) => assert!(says_so(&refused), "{refused}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let new = new.await.expect("it goes on");
    assert_eq!(new.ask(SOON, CounterMsg::Get).await, Ok(1));
    let (_, book, _) = Archive::open(plain, control_node.id).await.unwrap();
    assert!(book.by_key("new").is_some() && book.by_key("there").is_some());
    for (node, part) in [(node, part), (control_node, control)] {
        part.stop().await;
        node.die().await;
    }
}

fn spawned(n: u128, key: &str, args: usize) -> ClusterEvent {
    let kind = KindName { name: "test".into(), version: 1 };
    let order = SpawnOrder { kind, args: vec![200; args], key: key.into(), restart: Restart::Permanent };
    let request = Box::new(crate::cluster::message::SpawnRequest { order, demand: one_cpu(), owner: None });
    ClusterEvent::Spawned { actor: actor(n), request }
}

fn actor(n: u128) -> ActorId {
    ActorId(uuid::Uuid::from_u128(n))
}

#[tokio::test]
async fn what_is_appended_after_a_snapshot_that_seemed_to_fail_is_read_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let plain = ControlPorts::alone(dir.path()).unwrap();
    let faulty = Faulty::new(&plain);
    let (mut archive, mut book, _) = Archive::open(faulty.ports(&plain), NodeId::new_random()).await.unwrap();
    let first = spawned(1, "first", 0);
    archive.append(&[(first.clone(), Timestamp(1))]).await.unwrap();
    book.apply(&first, Timestamp(1));

    // The snapshot is on disk as a whole, and nobody says so.
    faulty.lies_in.store(1, Ordering::SeqCst);
    archive.begin_next(&book).await.unwrap_err();
    let second = spawned(2, "second", 0);
    faulty.is(FULL);
    archive.append(&[(second.clone(), Timestamp(2))]).await.unwrap_err();
    faulty.is(GOOD);
    archive.append(&[(second.clone(), Timestamp(2))]).await.unwrap();
    book.apply(&second, Timestamp(2));

    let (mut archive, read, _) = Archive::open(plain.clone(), NodeId::new_random()).await.unwrap();
    assert_eq!(read, book);
    archive.begin_next(&book).await.unwrap();
    assert_eq!(Archive::open(plain, NodeId::new_random()).await.unwrap().1, book);
}

#[test]
fn a_batch_that_was_written_twice_means_the_same_as_once() {
    let over = |n| ClusterEvent::Over { actor: actor(n), why: "it was stopped".into() };
    let batch = [spawned(1, "k", 0), over(1), spawned(2, "k", 0)];
    let (mut once, mut twice) = (Book::default(), Book::default());
    batch.iter().for_each(|event| once.apply(event, Timestamp(1)));
    batch.iter().chain(&batch).for_each(|event| twice.apply(event, Timestamp(1)));
    assert_eq!(twice.by_key("k").map(|(found, _)| found), Some(actor(2)));
    assert_eq!(once, twice);
}

#[tokio::test]
async fn a_snapshot_of_large_orders_is_written_in_parts_that_the_journal_takes() {
    let dir = tempfile::tempdir().unwrap();
    let ports = ControlPorts::alone(dir.path()).unwrap();
    let (mut archive, mut book, _) = Archive::open(ports.clone(), NodeId::new_random()).await.unwrap();
    for n in 0..20 {
        let event = spawned(n, &n.to_string(), 150 << 10);
        archive.append(&[(event.clone(), Timestamp(1))]).await.unwrap();
        book.apply(&event, Timestamp(1));
    }
    archive.begin_next(&book).await.unwrap();
    assert_eq!(Archive::open(ports, NodeId::new_random()).await.unwrap().1, book);
}
