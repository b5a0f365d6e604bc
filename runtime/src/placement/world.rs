//! A cluster for tests: the core, a ledger on each node, and messages that arrive when a test says so.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::id::{ActorId, Incarnation, NodeId};

pub(super) fn node(n: u64) -> NodeId {
    NodeId(Uuid::from_u128(u128::from(n)))
}

pub(super) fn actor(n: u64) -> ActorId {
    ActorId(Uuid::from_u128(u128::from(n)))
}

pub(super) fn demand(request: &str) -> Demand {
    Demand { request: request.parse().unwrap(), ..Demand::default() }
}

pub(super) enum Message {
    ToNode(Command),
    ToCore(ReservationId, NodeId, ReserveResult),
}

pub(super) struct World {
    pub core: PlacementCore,
    pub ledgers: BTreeMap<NodeId, (Incarnation, NodeLedger)>,
    pub wire: VecDeque<Message>,
    pub now: Duration,
    /// Those that run now.
    pub running: BTreeMap<ActorId, (NodeId, ReservationId)>,
    /// Those that have ever had a place.
    pub ever_placed: BTreeSet<ActorId>,
    pub failed: BTreeSet<ActorId>,
    pub log: Vec<Command>,
    lives: u64,
}

impl World {
    pub fn new(options: PlacementOptions, nodes: &[&str]) -> Self {
        let mut world = Self {
            core: PlacementCore::new(options, Incarnation(1)),
            ledgers: BTreeMap::new(),
            wire: VecDeque::new(),
            now: Duration::ZERO,
            running: BTreeMap::new(),
            ever_placed: BTreeSet::new(),
            failed: BTreeSet::new(),
            log: Vec::new(),
            lives: 0,
        };
        for (n, totals) in (1..).zip(nodes) {
            world.up(node(n), totals);
        }
        world
    }

    pub fn up(&mut self, id: NodeId, totals: &str) {
        self.lives += 1;
        let incarnation = Incarnation(self.lives);
        let ledger = NodeLedger::new(totals.parse().unwrap()).unwrap();
        let (totals, view) = (ledger.totals().clone(), ledger.view());
        self.ledgers.insert(id, (incarnation, ledger));
        self.running.retain(|_, (at, _)| *at != id);
        let up = NodeUp { node: id, incarnation, totals, view, accepts: Accepts::Yes };
        let commands = self.core.node_up(up, self.now);
        self.absorb(commands);
    }

    pub fn down(&mut self, id: NodeId) {
        self.ledgers.remove(&id);
        self.running.retain(|_, (at, _)| *at != id);
        let commands = self.core.node_down(id, self.now);
        self.absorb(commands);
    }

    pub fn request(&mut self, n: u64, demand: Demand) {
        self.gang(vec![(n, demand)]);
    }

    pub fn gang(&mut self, members: Vec<(u64, Demand)>) {
        let members = members.into_iter().map(|(n, d)| (actor(n), d)).collect();
        if let Ok(commands) = self.core.request_gang(members, self.now) {
            self.absorb(commands);
        }
    }

    /// An actor ends in good order.
    pub fn end(&mut self, id: ActorId) {
        let Some((at, reservation)) = self.running.remove(&id) else { return };
        self.ledgers.get_mut(&at).unwrap().1.release(reservation);
        let commands = self.core.released(id, self.now);
        self.absorb(commands);
    }

    pub fn report(&mut self, id: NodeId) {
        if let Some((incarnation, ledger)) = self.ledgers.get(&id) {
            let commands = self.core.node_view(id, *incarnation, ledger.view(), self.now);
            self.absorb(commands);
        }
    }

    pub fn accepts(&mut self, id: NodeId, accepts: Accepts) {
        let commands = self.core.node_accepts(id, accepts, self.now);
        self.absorb(commands);
    }

    pub fn cancel(&mut self, id: ActorId) {
        let commands = self.core.cancel(id, self.now);
        self.absorb(commands);
        self.failed.insert(id);
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.ledgers.values_mut().for_each(|(_, ledger)| drop(ledger.expire(self.now)));
        let commands = self.core.tick(self.now);
        self.absorb(commands);
    }

    /// Time passes in steps, all messages arrive.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.wait(Duration::from_secs(1));
            self.settle();
        }
    }

    pub fn settle(&mut self) {
        while !self.wire.is_empty() {
            self.deliver(0);
        }
    }

    pub fn deliver(&mut self, at: usize) {
        let Some(message) = self.wire.remove(at) else { return };
        match message {
            Message::ToNode(Command::Reserve { node, incarnation, reservation, request, ttl }) => {
                if let Some((life, ledger)) = self.ledgers.get_mut(&node)
                    && *life == incarnation
                {
                    let result = ledger.reserve(reservation, &request, ttl, self.now);
                    self.wire.push_back(Message::ToCore(reservation, node, result));
                }
            }
            Message::ToNode(Command::Release { node, reservation }) => {
                self.ledgers.get_mut(&node).map(|(_, ledger)| ledger.release(reservation));
            }
            Message::ToNode(other) => panic!("not for a node: {other:?}"),
            Message::ToCore(reservation, node, result) => {
                let commands = self.core.reserve_result(reservation, node, result, self.now);
                self.absorb(commands);
            }
        }
    }

    pub fn place_of(&self, n: u64) -> Option<NodeId> {
        self.running.get(&actor(n)).map(|(at, _)| *at)
    }

    pub fn explain(&self, n: u64) -> Explanation {
        self.core.explain(actor(n), self.now).unwrap()
    }

    fn absorb(&mut self, commands: Vec<Command>) {
        self.log.extend(commands.iter().cloned());
        for command in commands {
            match command {
                Command::Reserve { .. } | Command::Release { .. } => self.wire.push_back(Message::ToNode(command)),
                Command::Placed { id, node, reservation, assigned } => {
                    self.ever_placed.insert(id);
                    let held = self.ledgers.get_mut(&node).unwrap().1.confirm(reservation, self.now).cloned();
                    if held == Ok(assigned) {
                        self.running.insert(id, (node, reservation));
                    } else {
                        let commands = self.core.released(id, self.now);
                        self.absorb(commands);
                    }
                }
                Command::Failed { id, .. } => {
                    self.failed.insert(id);
                }
                Command::Waiting { .. } => {}
            }
        }
    }
}
