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

mod disk;
mod people;
mod restart;
mod traces;

const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, SchemaWrite, SchemaRead)]
enum CounterMsg {
    Add(u64),
    Get(ReplyTo<u64>),
    /// Asks another counter and passes its answer on.
    GetFrom(Ref<CounterMsg>, ReplyTo<u64>),
    /// Ends in good order.
    End,
    Fail,
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

    async fn handle(&mut self, msg: CounterMsg, ctx: &Context<CounterMsg>) -> Result<(), ActorError> {
        match msg {
            CounterMsg::End => ctx.stop(),
            CounterMsg::Fail => return Err(ActorError::failed("it was told to")),
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
    incarnation: Incarnation,
    system: System,
    network: Network,
    kinds: ActorKinds,
    listener: Listener,
    accepting: JoinHandle<()>,
}

struct Cluster {
    authority: Authority,
    ports: std::sync::OnceLock<ControlPorts>,
    dir: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(dir.path()).unwrap();
        Self { authority, ports: std::sync::OnceLock::new(), dir }
    }

    /// The same journal each time, as the disk is after a crash.
    fn ports(&self) -> ControlPorts {
        let alone = || ControlPorts::alone(&self.dir.path().join("journal")).unwrap();
        self.ports.get_or_init(alone).clone()
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
        let options = NetworkOptions {
            retry: Duration::from_millis(5),
            parked: Duration::from_millis(300),
            ..NetworkOptions::default()
        };
        let network = Network::new(&system, incarnation, endpoint, options);
        let taking = network.clone();
        let accepting = tokio::spawn(async move {
            while let Some(connection) = accepted.recv().await {
                taking.accept(connection);
            }
        });
        let kinds = ActorKinds::builder().with::<Counter>().build(&system);
        Node { id, incarnation, system, network, kinds, listener, accepting }
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

/// Carries control messages between the nodes of this process; a node that was taken out is not reached.
#[derive(Clone, Default)]
struct Hub(Arc<std::sync::Mutex<std::collections::HashMap<NodeId, ClusterNode>>>);

struct Line {
    hub: Hub,
    from: NodeId,
}

impl Carrier for Line {
    fn call(
        &self,
        to: NodeId,
        message: Vec<u8>,
        deadline: Duration,
    ) -> futures::future::BoxFuture<'static, Result<Vec<u8>, CarrierError>> {
        let nodes = self.hub.0.lock().unwrap();
        let (from, target) = (self.from, nodes.get(&to).filter(|_| nodes.contains_key(&self.from)).cloned());
        Box::pin(async move {
            let target = target.ok_or_else(|| CarrierError::NotSent("no link".into()))?;
            match tokio::time::timeout(deadline, target.handle(from, message)).await {
                Ok(answer) => answer.map_err(CarrierError::Refused),
                Err(_) => Err(CarrierError::Unknown("the deadline has passed".into())),
            }
        })
    }
}

/// Three times as fast as a real cluster.
fn fast() -> ClusterOptions {
    let ms = Duration::from_millis;
    let membership = crate::membership::MembershipOptions {
        renew_every: ms(150),
        lease: ms(1000),
        fence_after: ms(800),
        suspect_after: ms(650),
        probe_timeout: ms(150),
        ..Default::default()
    };
    ClusterOptions { membership, tick: ms(30), ..ClusterOptions::default() }
}

async fn member(node: &Node, hub: &Hub, name: &str, role: Role, cpu_milli: u64) -> ClusterNode {
    member_with(fast(), node, hub, name, role, cpu_milli).await
}

async fn member_with(
    options: ClusterOptions,
    node: &Node,
    hub: &Hub,
    name: &str,
    role: Role,
    cpu_milli: u64,
) -> ClusterNode {
    let amounts = crate::placement::Amounts { cpu_milli, ..Default::default() };
    let setup = ClusterSetup {
        role,
        node: node.id,
        incarnation: node.incarnation,
        facts: crate::membership::NodeFacts { name: name.to_owned(), addr: node.addr(), ..Default::default() },
        totals: crate::placement::Resources { amounts, ..Default::default() },
        kinds: node.kinds.clone(),
        network: node.network.clone(),
        carrier: Arc::new(Line { hub: hub.clone(), from: node.id }),
        options,
    };
    let started = ClusterNode::start(&node.system, setup).await.unwrap();
    hub.0.lock().unwrap().insert(node.id, started.clone());
    started
}

fn one_cpu() -> crate::placement::Demand {
    let request = crate::placement::Request { cpu_milli: 1000, ..Default::default() };
    crate::placement::Demand { request, strategy: crate::placement::Strategy::Spread, ..Default::default() }
}

/// Three nodes; the first is the control node and offers nothing, so that all actors are on the others.
async fn three() -> (Cluster, Hub, Vec<(Node, ClusterNode)>) {
    three_with(fast()).await
}

async fn three_with(options: ClusterOptions) -> (Cluster, Hub, Vec<(Node, ClusterNode)>) {
    let (cluster, hub) = (Cluster::new(), Hub::default());
    let mut nodes: Vec<(Node, ClusterNode)> = Vec::new();
    for n in 0..3 {
        let node = cluster.node(NodeId::new_random(), 1).await;
        let role = match nodes.first() {
            None => Role::Control(cluster.ports()),
            Some((control, _)) => Role::Member { control: control.id },
        };
        let cpu = if n == 0 { 0 } else { 20_000 };
        let part = member_with(options.clone(), &node, &hub, &format!("n{n}"), role, cpu).await;
        nodes.push((node, part));
    }
    let mut members = nodes[0].1.members();
    let up = |members: &Vec<crate::membership::Member>| {
        members.iter().filter(|m| m.state == crate::membership::MemberState::Alive).count() == 3
    };
    tokio::time::timeout(SOON, members.wait_for(up)).await.expect("all three are members").unwrap();
    (cluster, hub, nodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn actors_of_a_node_that_dies_begin_anew_elsewhere_and_references_follow_them() {
    let (_cluster, hub, mut nodes) = three().await;
    let control = nodes[0].1.clone();
    assert!(nodes.iter().all(|(_, part)| part.may_start_effects()));
    let mut counters: Vec<Ref<CounterMsg>> = Vec::new();
    for n in 0..20 {
        let key = format!("counter/{n}");
        let spawned = control.spawn::<Counter>(&key, &n, Restart::Permanent, one_cpu(), SOON).await;
        counters.push(spawned.unwrap());
    }
    let dying = nodes.pop().unwrap();
    let on_dying = |counters: &[Ref<CounterMsg>]| counters.iter().filter(|c| c.addr().node == dying.0.id).count();
    assert_eq!(on_dying(&counters), 10, "spread evenly");
    for (n, counter) in counters.iter().enumerate() {
        assert_eq!(counter.ask(SOON, CounterMsg::Get).await, Ok(n as u64));
    }
    hub.0.lock().unwrap().remove(&dying.0.id);
    let died = std::time::Instant::now();
    dying.1.stop().await;
    assert!(!dying.1.may_start_effects());
    dying.0.die().await;
    for (n, counter) in counters.iter().enumerate() {
        // Each is told to wait for its actor, not that it is gone.
        let answer = tokio::time::timeout(SOON, async {
            loop {
                match counter.ask(SOON, CounterMsg::Get).await {
                    Ok(value) => break value,
                    Err(AskError::NotSent(_) | AskError::Unknown(_)) => tokio::task::yield_now().await,
                    Err(e) => panic!("{e}"),
                }
            }
        });
        assert_eq!(answer.await.expect("it lives again"), n as u64);
        assert_eq!(counter.addr().node, nodes[1].0.id);
    }
    assert!(died.elapsed() > fast().membership.fence_after, "not before the lease was over");
    let found: Ref<CounterMsg> = nodes[1].1.find("counter/3").await.unwrap().unwrap();
    assert_eq!(found.ask(SOON, CounterMsg::Get).await, Ok(3));
    control.stop_actor("counter/3").await.unwrap();
    assert!(control.find::<CounterMsg>("counter/3").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_fences_itself_and_is_one_of_us_no_more() {
    let (_cluster, hub, nodes) = three().await;
    let (node, part) = &nodes[2];
    let counter = part.spawn::<Counter>("c", &1, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    counter.tell(CounterMsg::Add(1)).await.unwrap();
    let cut = hub.0.lock().unwrap().remove(&node.id).unwrap();
    let mut standing = part.standing();
    tokio::time::timeout(SOON, standing.wait_for(|s| *s == Standing::Fenced)).await.expect("it fences itself").unwrap();
    assert!(!part.may_start_effects());
    let mut members = nodes[0].1.members();
    let dead = |members: &Vec<crate::membership::Member>| {
        members.iter().any(|m| m.node == node.id && m.state == crate::membership::MemberState::Dead)
    };
    tokio::time::timeout(SOON, members.wait_for(dead)).await.expect("its lease ends").unwrap();
    hub.0.lock().unwrap().insert(node.id, cut);
    let rejoin = |standing: &Standing| matches!(standing, Standing::MustRejoin { .. });
    tokio::time::timeout(SOON, standing.wait_for(rejoin)).await.expect("it is told").unwrap();
    assert!(!part.may_start_effects());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_fits_nowhere_is_refused_with_the_reason_and_a_key_means_one_actor() {
    let (_cluster, _hub, nodes) = three().await;
    let part = &nodes[1].1;
    let huge = crate::placement::Request { cpu_milli: 64_000, ..Default::default() };
    let demand = crate::placement::Demand { request: huge, ..Default::default() };
    let refused = part.spawn::<Counter>("huge", &1, Restart::Permanent, demand, SOON).await.unwrap_err();
    assert_eq!(refused.code(), "FLT-C008");
    assert!(refused.to_string().contains("cpu"), "{refused}");
    let one = part.spawn::<Counter>("one", &1, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    let again = nodes[2].1.spawn::<Counter>("one", &1, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    assert_eq!(one.addr(), again.addr());
    let other = part.spawn::<Counter>("one", &2, Restart::Permanent, one_cpu(), SOON).await.unwrap_err();
    assert!(other.to_string().contains("key"), "{other}");
    let failing = part.spawn::<Counter>("bad", &u64::MAX, Restart::Permanent, one_cpu(), SOON).await.unwrap_err();
    assert!(failing.to_string().contains("no counter begins there"), "{failing}");
}
