//! A node: its real lease core and ledger, and what it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::jobs::Asker;
use super::runner::Runner;
use crate::actor::{ActorAddr, Life};
use crate::cluster::message::{ExitNotice, NodeAnswer, NodeReport, Running, ToNode};
use crate::id::{ActorId, Generation, Incarnation, NodeId};
use crate::membership::{MembershipOptions, NodeCore};
use crate::placement::{NodeLedger, ReservationId};

/// A call that isn't answered yet.
pub(super) type AskId = u64;

pub(super) struct Node {
    pub id: NodeId,
    /// Its clock is so far ahead.
    pub clock: Duration,
    /// On its disk.
    pub incarnation: Incarnation,
    pub life: Option<Alive>,
    /// When the old life's actors have stopped.
    pub ready_at: Option<u64>,
    /// When the control node was told last what has ended here, and of which lives.
    pub news_asked: Option<(u64, Vec<Life>)>,
}

/// A process.
pub(super) struct Alive {
    pub core: NodeCore,
    pub ledger: NodeLedger,
    pub copies: BTreeMap<ActorId, Copy>,
    pub exits: BTreeMap<ActorId, ExitNotice>,
}

/// An actor here.
pub(super) struct Copy {
    pub key: String,
    pub life: Life,
    pub reservation: ReservationId,
    /// Where it is reached, once it is up.
    pub addr: Option<ActorAddr>,
    pub up_at: u64,
    pub asked: Vec<AskId>,
    /// What it does, if it runs a job.
    pub runner: Option<Runner>,
}

pub(super) const CPUS: u64 = 6;

impl Node {
    pub fn new(n: usize, clock: Duration) -> Self {
        let id = NodeId(uuid::Uuid::from_u128(n as u128 + 1));
        let mut node = Self { id, clock, incarnation: Incarnation(0), life: None, ready_at: None, news_asked: None };
        node.begin(0);
        node
    }

    /// A process starts, in a new life.
    pub fn begin(&mut self, now: u64) {
        self.incarnation = self.incarnation.next();
        let core = NodeCore::new(MembershipOptions::default(), self.incarnation, self.clock(now)).unwrap();
        let ledger = NodeLedger::new(format!("cpu={CPUS}").parse().unwrap()).unwrap();
        self.life = Some(Alive { core, ledger, copies: BTreeMap::new(), exits: BTreeMap::new() });
        (self.ready_at, self.news_asked) = (None, None);
    }

    /// The same process, as the next incarnation: all actors have been stopped.
    pub fn clear(&mut self) {
        if let Some(life) = &mut self.life {
            self.incarnation = life.core.incarnation();
            life.ledger = NodeLedger::new(format!("cpu={CPUS}").parse().unwrap()).unwrap();
            (life.copies, life.exits) = Default::default();
        }
    }

    pub fn clock(&self, now: u64) -> Duration {
        self.clock + Duration::from_millis(now)
    }

    pub fn may_act(&self, now: u64) -> bool {
        self.life.as_ref().is_some_and(|life| life.core.may_start_effects(self.clock(now)))
    }
}

impl Alive {
    /// As the member's actor takes it. `None`: the answer comes later.
    pub fn told(
        &mut self,
        what: ToNode,
        ask: Option<AskId>,
        incarnation: Incarnation,
        (clock, up_at): (Duration, u64),
    ) -> Option<NodeAnswer> {
        match what {
            ToNode::Reserve { incarnation: meant, .. }
            | ToNode::Start { incarnation: meant, .. }
            | ToNode::Stop { incarnation: meant, .. }
            | ToNode::Report { incarnation: meant }
                if meant != incarnation =>
            {
                Some(NodeAnswer::NotMe)
            }
            ToNode::Reserve { reservation, request, ttl_ms, .. } => {
                let ttl = Duration::from_millis(ttl_ms);
                Some(NodeAnswer::Reserved(self.ledger.reserve(reservation, &request, ttl, clock)))
            }
            ToNode::Release { reservation } => {
                self.ledger.release(reservation);
                Some(NodeAnswer::Done)
            }
            ToNode::Start { reservation, life, order, .. } => {
                if self.exits.get(&life.actor).is_some_and(|exit| exit.life == life) {
                    let node = NodeId(uuid::Uuid::nil());
                    let addr = ActorAddr { node, incarnation, actor: life.actor, generation: life.generation };
                    return Some(NodeAnswer::Started(Ok(addr)));
                }
                if !self.core.may_start_effects(clock) {
                    return Some(NodeAnswer::Fenced);
                }
                if self.ledger.confirm(reservation, clock).is_err() {
                    return Some(NodeAnswer::NotHeld);
                }
                if let Some(addr) = self.copies.get(&life.actor).filter(|c| c.life == life).and_then(|c| c.addr) {
                    return Some(NodeAnswer::Started(Ok(addr)));
                }
                let runner = Runner::of(&order.key);
                let fresh = Copy { key: order.key, life, reservation, addr: None, up_at, asked: Vec::new(), runner };
                self.copies.entry(life.actor).or_insert(fresh).asked.extend(ask);
                None
            }
            ToNode::Stop { reservation, life, .. } => {
                self.ledger.release(reservation);
                if self.copies.get(&life.actor).is_some_and(|copy| copy.life == life && copy.addr.is_none()) {
                    return Some(NodeAnswer::NotHeld);
                }
                self.copies.retain(|_, copy| copy.life != life);
                Some(NodeAnswer::Done)
            }
            ToNode::Report { .. } => Some(NodeAnswer::Report(self.report())),
            ToNode::Members(_) | ToNode::Moved(_) | ToNode::Ended(_) | ToNode::Probe { .. } => Some(NodeAnswer::Done),
        }
    }

    fn report(&self) -> NodeReport {
        let running = self.copies.values().map(|copy| Running {
            key: copy.key.clone(),
            life: copy.life,
            reservation: copy.reservation,
            addr: copy.addr,
        });
        let exits = self.exits.values().cloned().collect();
        NodeReport { view: self.ledger.view(), running: running.collect(), exits }
    }

    /// Starts that take their time come to their end; who waits for them is answered.
    pub fn come_up(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        now: u64,
        clock: Duration,
    ) -> Vec<(AskId, NodeAnswer)> {
        let due: Vec<ActorId> =
            self.copies.iter().filter(|(_, c)| c.addr.is_none() && c.up_at <= now).map(|(actor, _)| *actor).collect();
        let mut answers = Vec::new();
        for actor in due {
            let Some(copy) = self.copies.get_mut(&actor) else { continue };
            let asked = std::mem::take(&mut copy.asked);
            if self.ledger.confirm(copy.reservation, clock).is_err() {
                self.copies.remove(&actor);
                answers.extend(asked.into_iter().map(|ask| (ask, NodeAnswer::NotHeld)));
                continue;
            }
            let addr = ActorAddr { node, incarnation, actor, generation: copy.life.generation };
            copy.addr = Some(addr);
            answers.extend(asked.into_iter().map(|ask| (ask, NodeAnswer::Started(Ok(addr)))));
        }
        answers
    }

    /// The runner of that start, if it is up.
    pub fn runner(&mut self, asker: &Asker) -> Option<&mut Runner> {
        let up = self.copies.values_mut().filter(|copy| copy.addr.is_some());
        up.filter_map(|copy| copy.runner.as_mut()).find(|runner| runner.is(asker))
    }

    /// The runner has nothing more to do: it ends for good.
    pub fn end_runner(&mut self, asker: &Asker) {
        let is_it = |copy: &Copy| copy.addr.is_some() && copy.runner.as_ref().is_some_and(|runner| runner.is(asker));
        for (actor, copy) in self.copies.extract_if(.., |_, copy| is_it(copy)) {
            self.ledger.release(copy.reservation);
            self.exits.insert(actor, ExitNotice { life: copy.life, why: "it ended".into() });
        }
    }

    /// One actor fails and is started again, under the next generation.
    pub fn fail(&mut self, key: &str) {
        for copy in self.copies.values_mut().filter(|copy| copy.key == key) {
            if let Some(addr) = &mut copy.addr {
                addr.generation = Generation(addr.generation.0 + 1);
            }
        }
    }
}
