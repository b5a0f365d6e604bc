#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use wincode::{SchemaRead, SchemaWrite};

use super::*;
use crate::actor::{Actor, ActorError, AskError, Context, Message, Ref, ReplyTo, SendError, System};
use crate::id::{Incarnation, NodeId};
use crate::net::{Authority, Endpoint, Listener, NetOptions, NodeCredentials, NodeKey, Plane};
use crate::supervise::Restart;

const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, SchemaWrite, SchemaRead)]
enum CounterMsg {
    Add(u64),
    Get(ReplyTo<u64>),
    /// Asks another counter and passes its answer on.
    GetFrom(Ref<CounterMsg>, ReplyTo<u64>),
}

impl Message for CounterMsg {
    const KIND: &'static str = "test.cluster-counter";
}

struct Counter(u64);

impl Actor for Counter {
    type Msg = CounterMsg;
    type Args = u64;

    async fn start(from: u64, _: &Context<CounterMsg>) -> Result<Self, ActorError> {
        match from {
            u64::MAX => Err(ActorError::failed("no counter begins there")),
            from => Ok(Self(from)),
        }
    }

    async fn handle(&mut self, msg: CounterMsg, _: &Context<CounterMsg>) -> Result<(), ActorError> {
        match msg {
            CounterMsg::Add(n) => self.0 += n,
            CounterMsg::Get(reply) => reply.send(self.0),
            CounterMsg::GetFrom(other, reply) => {
                let n = other.ask(SOON, CounterMsg::Get).await.map_err(ActorError::failed)?;
                reply.send(n);
            }
        }
        Ok(())
    }
}

impl ActorKind for Counter {
    const NAME: &'static str = "test.counter";
    const VERSION: u16 = 1;
}

/// A node in this process, with a socket of its own.
struct Node {
    id: NodeId,
    system: System,
    network: Network,
    kinds: ActorKinds,
    listener: Listener,
    accepting: JoinHandle<()>,
}

struct Cluster {
    authority: Authority,
    _dir: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { authority: Authority::open_or_create(dir.path()).unwrap(), _dir: dir }
    }

    fn credentials(&self, id: NodeId) -> NodeCredentials {
        let name = format!("n-{id}").parse().unwrap();
        let key = NodeKey::generate().unwrap();
        let certificate = self.authority.sign(&key.csr().unwrap(), id, &name, SOON * 100).unwrap();
        NodeCredentials::assemble(key, certificate, self.authority.identity().ca.clone()).unwrap()
    }

    async fn node(&self, id: NodeId, incarnation: u64) -> Node {
        let incarnation = Incarnation(incarnation);
        let system = System::start(id, incarnation).await.unwrap();
        let endpoint = Endpoint::new(self.credentials(id), NetOptions::default()).unwrap();
        let gate = Arc::new(|_: NodeId| true);
        let planes = [Plane::Lane, Plane::Bulk];
        let (listener, mut accepted) = endpoint.listen("127.0.0.1:0".parse().unwrap(), &planes, gate).unwrap();
        let options = NetworkOptions { retry: Duration::from_millis(5), ..NetworkOptions::default() };
        let network = Network::new(&system, incarnation, endpoint, options);
        let taking = network.clone();
        let accepting = tokio::spawn(async move {
            while let Some(connection) = accepted.recv().await {
                taking.accept(connection);
            }
        });
        let kinds = ActorKinds::builder().with::<Counter>().build(&system);
        Node { id, system, network, kinds, listener, accepting }
    }
}

impl Node {
    fn addr(&self) -> String {
        self.listener.local_addr().to_string()
    }

    async fn start(&self, key: &str, from: u64) -> crate::ActorAddr {
        let order = SpawnOrder::new::<Counter>(key, &from, Restart::Permanent).unwrap();
        self.kinds.start(order).await.unwrap()
    }

    /// As if its process had been killed.
    async fn die(self) {
        self.accepting.abort();
        self.listener.stop().await;
        self.network.stop().await;
        self.system.shutdown().await;
    }
}

async fn acquaint(nodes: &[&Node]) {
    for one in nodes {
        for other in nodes {
            one.network.want(other.id, &other.addr());
        }
    }
    tokio::time::timeout(SOON, async {
        for one in nodes {
            for other in nodes.iter().filter(|other| other.id != one.id) {
                while !one.network.is_up(other.id) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
    })
    .await
    .expect("every node has a lane to every other");
}

#[tokio::test]
async fn actors_of_three_nodes_talk_and_hand_references_on() {
    let cluster = Cluster::new();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(cluster.node(NodeId::new_random(), 1).await);
    }
    let [a, b, c] = nodes.as_slice() else { unreachable!() };
    acquaint(&[a, b, c]).await;
    let on_b: Ref<CounterMsg> = a.network.reference(b.start("b", 1).await);
    let on_c: Ref<CounterMsg> = a.network.reference(c.start("c", 40).await);
    on_c.tell(CounterMsg::Add(2)).await.unwrap();
    assert_eq!(on_c.ask(SOON, CounterMsg::Get).await, Ok(42));
    // From a to b with a reference to c: b sends to c directly.
    assert_eq!(on_b.ask(SOON, |r| CounterMsg::GetFrom(on_c.clone(), r)).await, Ok(42));
    for node in nodes {
        node.die().await;
    }
}

#[tokio::test]
async fn a_node_that_begins_a_new_life_gets_a_lane_and_messages_to_the_old_one_are_refused() {
    let cluster = Cluster::new();
    let mut ids = [NodeId::new_random(), NodeId::new_random()];
    ids.sort();
    // The one with the higher id is dialled, so its death is met by the one that dials.
    let here = cluster.node(ids[0], 1).await;
    let there = cluster.node(ids[1], 1).await;
    acquaint(&[&here, &there]).await;
    let old: Ref<CounterMsg> = here.network.reference(there.start("c", 5).await);
    assert_eq!(old.ask(SOON, CounterMsg::Get).await, Ok(5));
    there.die().await;
    let told = tokio::time::timeout(SOON, async {
        loop {
            match old.tell(CounterMsg::Add(1)).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(e) => break e,
            }
        }
    });
    assert!(matches!(told.await.unwrap(), SendError::NotSent(_)));
    let there = cluster.node(ids[1], 2).await;
    acquaint(&[&here, &there]).await;
    assert!(matches!(old.ask(SOON, CounterMsg::Get).await, Err(AskError::NotSent(why)) if why.contains("new life")));
    let new: Ref<CounterMsg> = here.network.reference(there.start("c", 6).await);
    assert_eq!(new.ask(SOON, CounterMsg::Get).await, Ok(6));
    here.network.forget(there.id);
    tokio::time::timeout(SOON, async {
        while there.network.is_up(here.id) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("the other side sees that it was given up");
    here.die().await;
    there.die().await;
}

#[tokio::test]
async fn an_actor_is_started_once_for_a_key_and_wrong_orders_are_refused() {
    let cluster = Cluster::new();
    let node = cluster.node(NodeId::new_random(), 1).await;
    let order = SpawnOrder::new::<Counter>("one", &7, Restart::Permanent).unwrap();
    let (first, again) = tokio::join!(node.kinds.start(order.clone()), node.kinds.start(order.clone()));
    assert_eq!(first.unwrap(), again.unwrap());
    let refused = |changed: SpawnOrder| {
        let kinds = node.kinds.clone();
        async move { kinds.start(changed).await.unwrap_err().code() }
    };
    let other = SpawnOrder::new::<Counter>("one", &8, Restart::Permanent).unwrap();
    assert_eq!(refused(other).await, "FLT-C007");
    let newer = SpawnOrder { kind: KindName { version: 2, ..order.kind.clone() }, key: "two".into(), ..order.clone() };
    assert_eq!(refused(newer).await, "FLT-C004");
    let torn = SpawnOrder { args: vec![255], key: "three".into(), ..order.clone() };
    assert_eq!(refused(torn).await, "FLT-C005");
    let failing = SpawnOrder::new::<Counter>("four", &u64::MAX, Restart::Permanent).unwrap();
    assert_eq!(refused(failing.clone()).await, "FLT-C006");
    // The key of one that didn't start is free again.
    let better = SpawnOrder::new::<Counter>("four", &1, Restart::Permanent).unwrap();
    node.kinds.start(better).await.unwrap();
    assert!(node.kinds.stop("one").await);
    assert!(!node.kinds.stop("one").await);
    node.start("one", 9).await;
    node.die().await;
}
