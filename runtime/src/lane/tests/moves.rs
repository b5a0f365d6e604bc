//! Messages to actors that move: what is refused follows them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use super::*;
use crate::actor::{ActorAddr, Life, Link, MAILBOX, Slot};
use crate::id::{ActorId, Generation};
use crate::lane::peer::Routes;

/// Ways and moves as the nodes of a cluster know them.
#[derive(Default)]
struct Map {
    peers: Mutex<HashMap<NodeId, Arc<Peer>>>,
    moved: Mutex<Option<ActorAddr>>,
}

impl Routes for Map {
    fn toward(&self, node: NodeId) -> Option<Arc<dyn Link>> {
        let peer: Arc<dyn Link> = self.peers.lock().unwrap().get(&node)?.clone();
        Some(peer)
    }

    fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.lock().unwrap().values().cloned().collect()
    }

    fn moved(&self, from: ActorAddr) -> Option<ActorAddr> {
        self.moved.lock().unwrap().filter(|to| to.follows(&from))
    }
}

/// Nodes that an actor wanders between, and one that sends to it. The actor takes messages only when the test says so.
struct World {
    map: Arc<Map>,
    here: System,
    there: Vec<System>,
    /// At which of them the actor is.
    at: usize,
    slot: Arc<Slot<Msg>>,
    taken: Vec<u32>,
    _lanes: Vec<tokio::task::JoinHandle<LaneError>>,
}

impl World {
    async fn new(mailbox: usize) -> Self {
        let options = LaneOptions {
            channel_messages: 16,
            bulk_from: bytesize::ByteSize::kib(1),
            chunk: bytesize::ByteSize::kib(4),
            ..quick()
        };
        let me = NodeId::new_random();
        let here = System::start(me, Incarnation(1)).await.unwrap();
        let (map, mut there, mut lanes) = (Arc::new(Map::default()), Vec::new(), Vec::new());
        for _ in 0..2 {
            let id = NodeId::new_random();
            let system = System::start(id, Incarnation(1)).await.unwrap();
            let routes: Weak<dyn Routes> = Arc::downgrade(&(map.clone() as Arc<dyn Routes>));
            let way = Peer::with_routes(&here, id, Some(routes), SOON);
            let back = Peer::new(&system, me);
            let (one, other) = tokio::io::duplex(8 << 10);
            let (bulk, other_bulk) = tokio::io::duplex(8 << 10);
            for (peer, interactive, bulk) in [(way.clone(), one, bulk), (back, other, other_bulk)] {
                let options = options.clone();
                lanes.push(tokio::spawn(async move { peer.serve(Incarnation(1), interactive, bulk, &options).await }));
            }
            map.peers.lock().unwrap().insert(id, way);
            there.push(system);
        }
        let life = Life { actor: ActorId::new_random(), generation: Generation(1) };
        let slot = there[0].home().settle("wanderer".into(), mailbox, life);
        Self { map, here, there, at: 0, slot, taken: Vec::new(), _lanes: lanes }
    }

    fn reference(&self) -> Ref<Msg> {
        let addr = self.slot.addr();
        self.map.peers.lock().unwrap()[&addr.node].reference(addr)
    }

    fn take(&mut self) {
        let waiting = self.slot.take_waiting();
        self.note(waiting);
    }

    /// The actor's next life, on the same node: nobody but that node knows of it.
    fn restart(&self) {
        self.slot.move_out();
    }

    /// The actor's next life, on the other node. What it has there it takes along.
    fn wander(&mut self, mailbox: usize) {
        let now = self.slot.addr();
        self.at = 1 - self.at;
        let life = Life { actor: now.actor, generation: now.generation.next() };
        let next = self.there[self.at].home().settle("wanderer".into(), mailbox, life);
        *self.map.moved.lock().unwrap() = Some(next.addr());
        let before = std::mem::replace(&mut self.slot, next);
        self.there[1 - self.at].home().forget(now.actor);
        let waiting = before.close_and_take();
        self.note(waiting);
        self.map.peers.lock().unwrap().values().for_each(|peer| peer.moved());
    }

    fn note(&mut self, messages: Vec<Msg>) {
        for message in messages {
            match message {
                Msg::Note(n, _) => self.taken.push(n),
                Msg::Sum(reply) => reply.send(7),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many bytes from that sender.
    Tell(usize, usize),
    Restart,
    Wander,
    Take,
    /// The others get on with it.
    Pause(u8),
}

const SENDERS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..SENDERS, prop_oneof![0..100_usize, 900..20_000_usize]).prop_map(|(who, len)| Step::Tell(who, len)),
        1 => Just(Step::Restart),
        1 => Just(Step::Wander),
        2 => Just(Step::Take),
        4 => (0..20_u8).prop_map(Step::Pause),
    ];
    proptest::collection::vec(step, 1..150)
}

/// Each sender's messages, numbered, as the actor took them.
async fn play(steps: Vec<Step>, mailbox: usize) -> (Vec<u32>, [u32; SENDERS]) {
    let mut world = World::new(mailbox).await;
    let mut sent = [0; SENDERS];
    let mut senders = Vec::new();
    let mut telling = tokio::task::JoinSet::new();
    for _ in 0..SENDERS {
        let (queue, mut lengths) = mpsc::channel::<(u32, usize)>(1024);
        let to = world.reference();
        telling.spawn(async move {
            while let Some((n, len)) = lengths.recv().await {
                to.tell(Msg::Note(n, payload(len))).await.unwrap();
            }
        });
        senders.push(queue);
    }
    for step in steps {
        match step {
            Step::Tell(who, len) => {
                let n = u32::try_from(who).unwrap() << 16 | sent[who];
                senders[who].try_send((n, len)).unwrap();
                sent[who] += 1;
            }
            Step::Restart => world.restart(),
            Step::Wander => world.wander(mailbox),
            Step::Take => world.take(),
            Step::Pause(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    drop(senders);
    let all = sent.iter().sum::<u32>() as usize;
    let complete = tokio::time::timeout(SOON, async {
        while world.taken.len() < all || !telling.is_empty() {
            world.take();
            if let Some(told) = telling.try_join_next() {
                told.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(complete.await.is_ok(), "{:?} of {all} arrived, {} still tell", world.taken, telling.len());
    // Nothing comes twice, even late.
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.take();
    world.here.shutdown().await;
    (world.taken, sent)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn messages_follow_their_actor_once_and_in_the_order_of_their_sender(
        steps in steps(), mailbox in prop_oneof![1..8_usize, Just(MAILBOX)], threads in 1..3_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
        let playing = runtime.spawn(play(steps, mailbox));
        let (taken, sent) = runtime.block_on(playing).unwrap();
        for who in 0..SENDERS as u32 {
            let of_one: Vec<u32> = taken.iter().filter(|n| **n >> 16 == who).map(|n| n & 0xffff).collect();
            prop_assert_eq!(of_one, (0..sent[who as usize]).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_question_on_its_way_to_an_actor_that_moves_is_answered_from_where_it_is() {
    let mut world = World::new(1).await;
    let to = world.reference();
    // The mailbox holds one; the question waits behind it.
    to.tell(Msg::Note(0, payload(1))).await.unwrap();
    let asker = to.clone();
    let asked = tokio::spawn(async move { asker.ask(SOON, Msg::Sum).await });
    let way = world.map.peers.lock().unwrap()[&to.addr().node].clone();
    while way.waiting() < 1 {
        tokio::task::yield_now().await;
    }
    world.wander(1);
    while !asked.is_finished() {
        world.take();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(asked.await.unwrap(), Ok(7));
    assert_eq!(way.waiting(), 0);
    to.tell(Msg::Note(1, payload(1))).await.unwrap();
    while world.taken.len() < 2 {
        world.take();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(to.addr(), world.slot.addr());
    assert_eq!(world.taken, [0, 1]);
}
