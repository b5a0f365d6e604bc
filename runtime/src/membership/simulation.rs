//! Nodes and a control node on a network that delays, reorders and loses, with clocks of different origin.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::id::{Incarnation, NodeId};

const STEP: u64 = 25;
const TICK: u64 = 100;
/// How long a node takes to stop its actors before it rejoins.
const CLEARING: u64 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// What the node sends is lost.
    Upwards(usize),
    /// What is sent to the node is lost.
    Downwards(usize),
    Cut(usize),
    Freeze(usize),
    /// The link breaks and comes back.
    Link(usize),
    ControlDown,
    ControlFrozen,
}

/// A fault, from when to when (ms).
pub(super) type Outage = (Fault, u64, u64);

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub seed: u64,
    pub nodes: usize,
    /// In one direction, ms.
    pub max_delay: u64,
    /// Messages lost of a hundred, until `heal`.
    pub loss: u64,
    pub heal: u64,
    pub outages: Vec<Outage>,
}

#[derive(Clone, Copy, Debug)]
enum Payload {
    Join(Renewal),
    Renew(Renewal),
    Grant(Grant),
    Refuse(Refusal),
}

#[derive(Clone, Copy, Debug)]
struct Letter {
    due: u64,
    node: usize,
    payload: Payload,
}

struct Node {
    id: NodeId,
    core: NodeCore,
    clock: Duration,
    ready_at: Option<u64>,
    told_to_act: bool,
}

pub(super) struct World {
    plan: Plan,
    now: u64,
    random: u64,
    control: Option<ControlCore>,
    control_clock: Duration,
    nodes: Vec<Node>,
    wire: Vec<Letter>,
    /// What was written down, which survives the control node.
    pub log: BTreeMap<(NodeId, Incarnation), Vec<MemberEvent>>,
    dead: BTreeSet<(NodeId, Incarnation)>,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let clock = |n: u64| Duration::from_secs((n * 7919) % 1000);
        let node = |n: usize| Node {
            id: NodeId(Uuid::from_u128(n as u128 + 1)),
            core: NodeCore::new(MembershipOptions::default(), Incarnation(1), clock(n as u64 + 1)).unwrap(),
            clock: clock(n as u64 + 1),
            ready_at: None,
            told_to_act: false,
        };
        let control_clock = Duration::from_secs(5000);
        Self {
            now: 0,
            random: plan.seed,
            control: Some(ControlCore::new(MembershipOptions::default(), control_clock).unwrap()),
            control_clock,
            nodes: (0..plan.nodes).map(node).collect(),
            wire: Vec::new(),
            log: BTreeMap::new(),
            dead: BTreeSet::new(),
            plan,
        }
    }

    pub fn run(&mut self, until: u64) -> Result<(), String> {
        while self.now < until {
            self.now += STEP;
            self.outages_begin_and_end();
            // Whether who wakes reads or looks at the clock first is chance.
            if self.chance(2) == 0 {
                self.deliver()?;
                self.tick()?;
            } else {
                self.tick()?;
                self.deliver()?;
            }
            self.nobody_dead_acts()?;
        }
        Ok(())
    }

    pub fn deaths(&self) -> usize {
        self.dead.len()
    }

    /// Everybody is a member who may act and is given work.
    pub fn all_is_well(&self) -> Result<(), String> {
        let control = self.control.as_ref().ok_or("no control node")?;
        for node in &self.nodes {
            let member = control.member(node.id, self.control_now());
            let alive = member
                .as_ref()
                .is_some_and(|m| m.state == MemberState::Alive && m.incarnation == node.core.incarnation());
            if !alive || !control.accepts_work(node.id, self.control_now()) || !node.told_to_act {
                return Err(format!("not well at {}: {member:?} {:?}", self.now, node.core));
            }
        }
        Ok(())
    }

    /// Splitmix64.
    fn chance(&mut self, of: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % of
    }

    fn suffers(&self, fault: Fault) -> bool {
        self.plan.outages.iter().any(|&(f, from, to)| f == fault && (from..to).contains(&self.now))
    }

    fn control_now(&self) -> Duration {
        self.control_clock + Duration::from_millis(self.now)
    }

    fn node_now(&self, n: usize) -> Duration {
        self.nodes[n].clock + Duration::from_millis(self.now)
    }

    fn outages_begin_and_end(&mut self) {
        let is_now = |at: u64, now: u64| at.div_ceil(STEP) * STEP == now;
        for (fault, from, to) in self.plan.outages.clone() {
            if is_now(from, self.now) && self.suffers(fault) {
                self.begins(fault);
            }
            if is_now(to, self.now) && !self.suffers(fault) {
                self.ends(fault);
            }
        }
    }

    fn begins(&mut self, fault: Fault) {
        match fault {
            Fault::ControlDown => self.control = None,
            Fault::Link(n) => {
                let (id, incarnation, now) = (self.nodes[n].id, self.nodes[n].core.incarnation(), self.control_now());
                let commands = self.control.as_mut().map(|c| c.on_link_down(id, incarnation, now));
                self.obey_control(commands.unwrap_or_default());
            }
            _ => {}
        }
    }

    fn ends(&mut self, fault: Fault) {
        match fault {
            Fault::ControlDown if self.control.is_none() => {
                let options = MembershipOptions::default();
                self.control = Some(ControlCore::restarted(options, self.known(), self.control_now()).unwrap());
                (0..self.nodes.len()).for_each(|n| self.link_up(n));
            }
            Fault::Link(n) => self.link_up(n),
            _ => {}
        }
    }

    fn link_up(&mut self, n: usize) {
        let (now, id, incarnation) = (self.control_now(), self.nodes[n].id, self.nodes[n].core.incarnation());
        if let Some(control) = &mut self.control {
            control.on_link_up(id, incarnation, now);
        }
        if !self.suffers(Fault::Freeze(n)) {
            let commands = self.with_node(n, |core, now| core.on_link_up(now));
            self.obey_node(n, commands).unwrap();
        }
    }

    fn known(&self) -> Vec<KnownMember> {
        let known = |(&(node, incarnation), events): (&(NodeId, Incarnation), &Vec<MemberEvent>)| {
            let mut known = KnownMember::joined(node, incarnation, NodeFacts::default());
            events.iter().for_each(|event| known.apply(event));
            known
        };
        // The order in which they are read back is not the order of their lives.
        self.log.iter().rev().map(known).collect()
    }

    fn tick(&mut self) -> Result<(), String> {
        if !self.now.is_multiple_of(TICK) {
            return Ok(());
        }
        let now = self.control_now();
        if !self.suffers(Fault::ControlFrozen) {
            let commands = self.control.as_mut().map(|c| c.tick(now));
            self.obey_control(commands.unwrap_or_default());
        }
        for n in 0..self.nodes.len() {
            if self.suffers(Fault::Freeze(n)) {
                continue;
            }
            if self.nodes[n].ready_at.take_if(|at| *at <= self.now).is_some() {
                let commands = self.with_node(n, |core, now| core.on_ready(now));
                self.obey_node(n, commands)?;
            }
            let commands = self.with_node(n, |core, now| core.tick(now));
            self.obey_node(n, commands)?;
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), String> {
        let control_frozen = self.suffers(Fault::ControlFrozen);
        let (mut due, mut later) = (Vec::new(), Vec::new());
        for letter in std::mem::take(&mut self.wire) {
            let upwards = matches!(letter.payload, Payload::Join(_) | Payload::Renew(_));
            let asleep = if upwards { control_frozen } else { self.suffers(Fault::Freeze(letter.node)) };
            if letter.due <= self.now && !asleep { due.push(letter) } else { later.push(letter) }
        }
        self.wire = later;
        due.sort_by_key(|letter| letter.due);
        due.into_iter().try_for_each(|letter| self.open(letter))
    }

    fn open(&mut self, letter: Letter) -> Result<(), String> {
        let (n, id, now) = (letter.node, self.nodes[letter.node].id, self.control_now());
        match letter.payload {
            Payload::Grant(grant) => {
                let commands = self.with_node(n, |core, now| core.on_grant(grant, now));
                return self.obey_node(n, commands);
            }
            Payload::Refuse(refusal) => {
                let commands = self.with_node(n, |core, now| core.on_refused(refusal, now));
                return self.obey_node(n, commands);
            }
            Payload::Join(renewal) | Payload::Renew(renewal) => {
                let Some(control) = &mut self.control else {
                    return Ok(());
                };
                let mut commands = Vec::new();
                if matches!(letter.payload, Payload::Join(_)) {
                    commands = control.on_joined(id, renewal.incarnation, NodeFacts::default(), now);
                }
                if !commands.iter().any(|c| matches!(c, ControlCommand::Refuse { .. })) {
                    commands.extend(control.on_renewal(id, renewal, NodeLoad::default(), now));
                }
                self.obey_control(commands);
            }
        }
        Ok(())
    }

    fn with_node<T>(&mut self, n: usize, act: impl FnOnce(&mut NodeCore, Duration) -> T) -> T {
        let now = self.node_now(n);
        act(&mut self.nodes[n].core, now)
    }

    fn send(&mut self, node: usize, payload: Payload) {
        let upwards = matches!(payload, Payload::Join(_) | Payload::Renew(_));
        let one_way = if upwards { Fault::Upwards(node) } else { Fault::Downwards(node) };
        let lost = self.now < self.plan.heal && self.chance(100) < self.plan.loss;
        if !lost && ![one_way, Fault::Cut(node), Fault::Link(node)].into_iter().any(|f| self.suffers(f)) {
            let due = self.now + self.chance(self.plan.max_delay + 1);
            self.wire.push(Letter { due, node, payload });
        }
    }

    fn obey_control(&mut self, commands: Vec<ControlCommand>) {
        let index = |nodes: &[Node], id: NodeId| nodes.iter().position(|n| n.id == id).unwrap();
        for command in commands {
            match command {
                ControlCommand::GrantLease { node, grant } => {
                    self.send(index(&self.nodes, node), Payload::Grant(grant))
                }
                ControlCommand::Refuse { node, refusal } => {
                    self.send(index(&self.nodes, node), Payload::Refuse(refusal));
                }
                ControlCommand::AskToProbe { .. } => {}
                ControlCommand::Event { node, incarnation, event } => {
                    if matches!(event, MemberEvent::Dead { .. }) {
                        self.dead.insert((node, incarnation));
                    }
                    self.log.entry((node, incarnation)).or_default().push(event);
                }
            }
        }
    }

    fn obey_node(&mut self, n: usize, commands: Vec<NodeCommand>) -> Result<(), String> {
        for command in commands {
            let acts = self.nodes[n].told_to_act;
            match command {
                NodeCommand::SendJoin(renewal) => self.send(n, Payload::Join(renewal)),
                NodeCommand::SendRenewal(renewal) => self.send(n, Payload::Renew(renewal)),
                NodeCommand::Fence if acts => self.nodes[n].told_to_act = false,
                NodeCommand::Unfence if !acts => self.nodes[n].told_to_act = true,
                NodeCommand::MustRejoin { .. } if !acts => self.nodes[n].ready_at = Some(self.now + CLEARING),
                other => return Err(format!("{other:?} at {} of node {n}, which acts: {acts}", self.now)),
            }
        }
        Ok(())
    }

    /// Frozen ones too: what they would answer if they woke at this very moment.
    fn nobody_dead_acts(&self) -> Result<(), String> {
        for (n, node) in self.nodes.iter().enumerate() {
            let dead = self.dead.contains(&(node.id, node.core.incarnation()));
            if dead && node.core.may_start_effects(self.node_now(n)) {
                return Err(format!("node {n} is dead and may act at {}: {:?}", self.now, node.core));
            }
        }
        Ok(())
    }
}

/// Whether these are the events of one incarnation as [`MemberEvent`] promises them.
pub(super) fn in_order(events: &[MemberEvent]) -> bool {
    let (mut up, mut suspect, mut draining, mut forgotten, mut ended) = (false, false, false, false, false);
    for (n, event) in events.iter().enumerate() {
        if (n == 0) != (*event == MemberEvent::Joined) {
            return false;
        }
        let legal = match event {
            MemberEvent::Joined => true,
            MemberEvent::Up => !std::mem::replace(&mut up, true) && !draining && !ended,
            MemberEvent::Suspect { .. } => (up || draining) && !ended && !std::mem::replace(&mut suspect, true),
            MemberEvent::Recovered => !ended && std::mem::replace(&mut suspect, false),
            MemberEvent::Draining => !ended && !std::mem::replace(&mut draining, true),
            MemberEvent::Dead { .. } | MemberEvent::Left => !std::mem::replace(&mut ended, true),
            MemberEvent::Forgotten => !std::mem::replace(&mut forgotten, true),
        };
        if !legal {
            return false;
        }
    }
    true
}
