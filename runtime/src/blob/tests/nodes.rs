//! Blobs between nodes with sockets, mutual TLS and lanes.

use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use wincode::{SchemaRead, SchemaWrite};

use super::world::*;
use crate::actor::{Actor, ActorAddr, ActorError, Context, Message, ReplyTo, System};
use crate::blob::*;
use crate::cluster::{Network, NetworkOptions};
use crate::id::{Incarnation, NodeId};
use crate::net::{Authority, Endpoint, Listener, NetOptions, NodeCredentials, NodeKey, Plane};
use crate::supervise::ChildOptions;

const MIB: usize = 1 << 20;

/// A node with a socket of its own.
struct Linked {
    id: NodeId,
    network: Network,
    listener: Listener,
    accepting: JoinHandle<()>,
    node: Node,
}

fn credentials(authority: &Authority, id: NodeId) -> NodeCredentials {
    let key = NodeKey::generate().unwrap();
    let certificate = authority.sign(&key.csr().unwrap(), id, &format!("n-{id}").parse().unwrap(), SOON * 100).unwrap();
    NodeCredentials::assemble(key, certificate, authority.identity().ca.clone()).unwrap()
}

impl Linked {
    /// Beside `keeper`, or the keeper itself.
    async fn start(authority: &Authority, keeper: Option<&Self>, options: BlobsOptions) -> Self {
        let id = NodeId::new_random();
        let system = System::start(id, Incarnation(1)).await.unwrap();
        let endpoint = Endpoint::new(credentials(authority, id), NetOptions::default()).unwrap();
        let (planes, gate) = ([Plane::Lane, Plane::Bulk], Arc::new(|_: NodeId| true));
        let (listener, mut accepted) = endpoint.listen("127.0.0.1:0".parse().unwrap(), &planes, gate).unwrap();
        let retry = Duration::from_millis(5);
        let network =
            Network::new(&system, Incarnation(1), endpoint, NetworkOptions { retry, ..NetworkOptions::default() });
        let taking = network.clone();
        let accepting = tokio::spawn(async move {
            while let Some(connection) = accepted.recv().await {
                taking.accept(connection);
            }
        });
        let (role, peers): (_, Arc<dyn BlobPeers>) = match keeper {
            None => (BlobRole::Keeper, Arc::new(NoPeers)),
            Some(keeper) => {
                let service = ActorAddr::service(keeper.id, BlobActor::NAME);
                (BlobRole::Cache, Arc::new(network.reference::<BlobMsg>(service)))
            }
        };
        let node = Node::begin(tempfile::tempdir().unwrap(), system, role, peers, options).await;
        Self { id, network, listener, accepting, node }
    }

    fn cut(&self, other: &Self) {
        self.network.forget(other.id);
        other.network.forget(self.id);
    }

    async fn link(&self, other: &Self) {
        for (one, other) in [(self, other), (other, self)] {
            one.network.want(other.id, &other.listener.local_addr().to_string());
        }
        until("a lane", || self.network.is_up(other.id) && other.network.is_up(self.id)).await;
    }

    async fn end(self) {
        self.node.blobs.stop().await;
        self.accepting.abort();
        self.listener.stop().await;
        self.network.stop().await;
        self.node.system.shutdown().await;
    }
}

/// A keeper and a node beside it.
async fn two(options: BlobsOptions) -> (TempDir, Linked, Linked) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(dir.path()).unwrap();
    let keeper = Linked::start(&authority, None, options.clone()).await;
    let other = Linked::start(&authority, Some(&keeper), options).await;
    keeper.link(&other).await;
    (dir, keeper, other)
}

/// An actor that needs a blob for its work.
struct Worker(Blobs);

#[derive(Debug, SchemaWrite, SchemaRead)]
enum WorkerMsg {
    /// Answers with the length of the blob, and with where it lies in memory.
    Load(Digest, ReplyTo<(u64, u64)>),
}

impl Message for WorkerMsg {
    const KIND: &'static str = "test.blob-worker";
}

impl Actor for Worker {
    type Msg = WorkerMsg;
    type Args = Blobs;

    async fn start(blobs: Blobs, _: &Context<WorkerMsg>) -> Result<Self, ActorError> {
        Ok(Self(blobs))
    }

    async fn handle(&mut self, msg: WorkerMsg, _: &Context<WorkerMsg>) -> Result<(), ActorError> {
        let WorkerMsg::Load(digest, reply) = msg;
        let bytes = self.0.get(&digest).await.map_err(ActorError::failed)?;
        reply.send((bytes.len() as u64, bytes.as_ptr() as u64));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_a_hundred_actors_of_a_node_need_travels_to_it_once() {
    let (_dir, keeper, other) = two(BlobsOptions { deadline: SOON, ..BlobsOptions::default() }).await;
    let bytes = content(16 * MIB);
    let digest = keeper.node.blobs.put(bytes.clone()).await.unwrap();
    let mut workers = Vec::new();
    for n in 0..100 {
        let (name, blobs) = (format!("worker-{n}"), other.node.blobs.clone());
        workers.push(other.node.system.spawn::<Worker>(name, blobs, ChildOptions::default()).await.unwrap());
    }
    let loads = workers.iter().map(|worker| worker.ask(SOON, |reply| WorkerMsg::Load(digest, reply)));
    let loaded = futures::future::try_join_all(loads).await.unwrap();
    assert!(loaded.iter().all(|one| *one == (16 * MIB as u64, loaded[0].1)), "one copy in memory for all");
    let served = keeper.node.blobs.stats();
    assert_eq!((served.served_pieces, served.served_bytes), (16, 16 * MIB as u64));
    let here = other.node.blobs.stats();
    assert_eq!((here.fetched, here.fetched_bytes, here.disk_reads), (1, 16 * MIB as u64, 1));
    assert_eq!(other.node.store.get(&digest).await.unwrap(), bytes);
    other.end().await;
    keeper.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_whose_lane_is_cut_goes_on_where_it_was() {
    const PIECES: u64 = 64;
    let options = BlobsOptions { piece: ByteSize::kib(64), ..options() };
    let (_dir, keeper, other) = two(options.clone()).await;
    let bytes = content(PIECES as usize * 64 * 1024);
    let digest = keeper.node.blobs.put(bytes.clone()).await.unwrap();
    let mut gate = Gatekeeper::before(&keeper.node, |n| if n == 30 { Verdict::Hold } else { Verdict::Pass }).await;
    // It lives where the keeper lives, and is asked over the lane.
    let through_gate = Arc::new(other.network.reference::<BlobMsg>(gate.actor.addr()));
    let fetching = Node::start(BlobRole::Cache, through_gate, options).await;
    let blobs = fetching.blobs.clone();
    let fetched = tokio::spawn(async move { blobs.get(&digest).await });
    gate.held.recv().await.unwrap();
    until("what came before is on disk", || {
        fetching.partial(&digest).metadata().is_ok_and(|part| part.len() == 30 * 64 * 1024)
    })
    .await;
    keeper.cut(&other);
    until("the lane is down", || !keeper.network.is_up(other.id) && !other.network.is_up(keeper.id)).await;
    gate.go.add_permits(1);
    gate.offsets();
    keeper.link(&other).await;
    assert_eq!(fetched.await.unwrap().unwrap(), bytes);
    let after = gate.offsets();
    assert!(after.iter().all(|offset| *offset >= 30 * 64 * 1024), "{after:?}");
    let served = keeper.node.blobs.stats().served_pieces;
    assert!(served <= PIECES + 8, "{served} pieces of {PIECES} were given");
    other.end().await;
    keeper.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_puts_is_kept_when_that_node_is_lost() {
    let (_dir, keeper, other) = two(BlobsOptions { deadline: SOON, ..BlobsOptions::default() }).await;
    let bytes = content(3 * MIB + 5);
    let digest = other.node.blobs.put(bytes.clone()).await.unwrap();
    other.node.blobs.hold(&digest, &"job/a".parse().unwrap()).await.unwrap();
    other.end().await;
    assert_eq!(keeper.node.blobs.get(&digest).await.unwrap(), bytes);
    keeper.node.blobs.retain_only([]);
    keeper.node.ahead.hours(100);
    assert_eq!(keeper.node.blobs.sweep().await.unwrap(), []);
    keeper.end().await;
}
