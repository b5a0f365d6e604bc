//! Time passes, messages travel, things fail.

use std::collections::BTreeMap;
use std::time::Duration;

use super::control::{self, Control, Disk, moment};
use super::jobs::{Asker, JobsIn, Order};
use super::node::{AskId, Node};
use super::oracle::Oracle;
use super::plan::{Fault, Plan, Random};
use super::users::{User, actor_key};
use crate::cluster::message::{ControlAnswer, NodeAnswer, ToControl, ToNode};
use crate::cluster::registry::{Act, Bug, Ticket};
use crate::id::ActorId;
use crate::membership::{NodeCommand, NodeFacts, NodeLoad};
use crate::placement::Resources;

const STEP: u64 = 25;
const TICK: u64 = 100;
/// How long a refused node takes to stop its actors.
const CLEARING: u64 = 200;
/// From the healing to when all has to be well: a lease, a wait after a restart, and the jobs that are left.
const SETTLES: u64 = 20_000;

#[derive(Debug)]
pub(super) enum Body {
    ToControl { ticket: Ticket, what: ToControl },
    Answered { ask: AskId, answer: NodeAnswer },
    ToNode { ask: Option<AskId>, what: ToNode },
    Reply { ticket: Ticket, with: ControlAnswer },
    ToJobs(JobsIn),
    Acknowledged(usize),
    ToRunner { to: Asker, order: Order },
    AskToReport(Asker),
}

struct Letter {
    node: usize,
    up: bool,
    /// A connection ends with either of the two processes.
    lives: (u64, u64),
    body: Body,
}

/// What a node wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Lease,
    News,
    Spawn(usize),
    Stop(usize),
    Drain(usize),
    /// A runner for a job.
    Place,
    Removal,
}

pub(super) struct World {
    pub now: u64,
    pub(super) plan: Plan,
    pub(super) random: Random,
    bug: Option<Bug>,
    pub(super) disk: Disk,
    pub(super) control: Option<Control>,
    pub(super) control_clock: Duration,
    control_life: u64,
    pub(super) nodes: Vec<Node>,
    processes: Vec<u64>,
    wire: BTreeMap<(u64, u64), Letter>,
    pub(super) tickets: BTreeMap<Ticket, (usize, Wants)>,
    pub(super) user: User,
    oracle: Oracle,
    pub(super) last: u64,
    trace: blake3::Hasher,
    /// All that happens, to be read by whoever looks for the reason of a failure.
    pub story: Option<String>,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        Self::with(plan, random, bug)
    }

    pub fn with(plan: Plan, mut random: Random, bug: Option<Bug>) -> Self {
        let control_clock = Duration::from_secs(1_000 + random.below(10_000));
        let nodes: Vec<Node> =
            (0..plan.nodes).map(|n| Node::new(n, Duration::from_secs(1 + random.below(10_000)))).collect();
        let user = User::new(&plan);
        let mut world = Self {
            now: 0,
            processes: vec![0; nodes.len()],
            plan,
            random,
            bug,
            disk: Disk::default(),
            control: None,
            control_clock,
            control_life: 0,
            nodes,
            wire: BTreeMap::new(),
            tickets: BTreeMap::new(),
            user,
            oracle: Oracle::default(),
            last: 0,
            trace: blake3::Hasher::new(),
            story: None,
        };
        world.start_control().unwrap();
        world
    }

    pub fn trace(&self) -> blake3::Hash {
        self.trace.finalize()
    }

    pub fn run(&mut self) -> Result<(), String> {
        while self.now < self.plan.heal + SETTLES {
            self.step()?;
        }
        Ok(())
    }

    pub fn step(&mut self) -> Result<(), String> {
        self.now += STEP;
        self.faults()?;
        // Whether who wakes reads or looks at the clock first is chance.
        if self.random.chance(50) {
            self.deliver();
            self.tick();
        } else {
            self.tick();
            self.deliver();
        }
        self.write()?;
        self.oracle.look(&self.nodes, self.now)
    }

    /// Whether every node holds its lease.
    pub fn all_may_act(&self) -> bool {
        self.nodes.iter().all(|node| node.may_act(self.now))
    }

    pub fn all_is_well(&self) -> Result<(), String> {
        let control = self.control.as_ref().ok_or("there is no control node")?;
        if let Some(why) = self.user.unanswered() {
            return Err(why);
        }
        let actors: Vec<String> = self.user.spawned.keys().map(|n| actor_key(*n)).collect();
        let clock = moment(self.control_clock, self.now).clock;
        self.disk.book()?;
        self.oracle.end(control, &self.nodes, (&actors, self.user.submitted.len()), self.now, clock)
    }

    pub(super) fn note(&mut self, what: &dyn std::fmt::Debug) {
        let line = format!("{} {what:?}\n", self.now);
        self.trace.update(line.as_bytes());
        if let Some(story) = &mut self.story {
            story.push_str(&line);
        }
    }

    pub(super) fn suffers(&self, fault: Fault) -> bool {
        self.plan.outages.iter().any(|&(f, from, to)| f == fault && (from..to).contains(&self.now))
    }

    pub(super) fn is_frozen(&self, n: usize) -> bool {
        self.suffers(if n == 0 { Fault::ControlFreeze } else { Fault::Freeze(n) })
    }

    // Faults.

    fn faults(&mut self) -> Result<(), String> {
        let now = self.now;
        let begins_or_ends = |at: u64| at.div_ceil(STEP) * STEP == now;
        let outages = self.plan.outages.clone();
        for (fault, from, to) in
            outages.into_iter().filter(|(_, from, to)| begins_or_ends(*from) || begins_or_ends(*to))
        {
            let begins = begins_or_ends(from) && self.suffers(fault);
            let ends = begins_or_ends(to) && !self.suffers(fault);
            match fault {
                Fault::Crash(n) if begins => self.crash(n),
                Fault::Crash(n) if ends && self.nodes[n].life.is_none() => self.come_back(n),
                Fault::ControlCrash if begins && self.control.is_some() => self.crash_control()?,
                Fault::ControlCrash if ends && self.control.is_none() => {
                    self.come_back(0);
                    self.start_control()?;
                }
                Fault::Cut(n) if begins => self.link(n, false),
                Fault::Cut(n) if ends => self.link(n, true),
                _ => {}
            }
        }
        Ok(())
    }

    fn crash(&mut self, n: usize) {
        self.note(&("crash", n));
        self.nodes[n].life = None;
        self.processes[n] += 1;
        self.tickets.retain(|_, (node, wants)| *node != n || matches!(wants, Wants::Spawn(_)));
        self.link(n, false);
    }

    fn come_back(&mut self, n: usize) {
        let now = self.now;
        self.nodes[n].begin(now);
        self.processes[n] += 1;
        self.link(n, true);
    }

    fn crash_control(&mut self) -> Result<(), String> {
        self.note(&"the control node crashes");
        if let Some(Control { append: Some((_, batch)), .. }) = self.control.take()
            && self.random.chance(50)
        {
            self.on_disk(batch)?;
        }
        self.control_life += 1;
        self.tickets.clear();
        self.crash(0);
        Ok(())
    }

    fn start_control(&mut self) -> Result<(), String> {
        self.control_life += 1;
        let me = (self.nodes[0].id, self.nodes[0].incarnation);
        let now = moment(self.control_clock, self.now);
        self.control = Some(Control::start(&self.disk, me, now, self.bug)?);
        for n in 0..self.nodes.len() {
            self.link(n, !self.suffers(Fault::Cut(n)));
        }
        Ok(())
    }

    fn link(&mut self, n: usize, up: bool) {
        let (id, now) = (self.nodes[n].id, moment(self.control_clock, self.now));
        if let Some(control) = &mut self.control {
            control.registry.link(id, up, now);
        }
        if up && !self.is_frozen(n) {
            self.with_node(n, |core, clock| core.on_link_up(clock));
        }
        self.carry_out();
    }

    // Messages.

    pub(super) fn send(&mut self, node: usize, up: bool, body: Body) {
        let one_way = if up { Fault::Upwards(node) } else { Fault::Downwards(node) };
        let lost = self.now < self.plan.heal && node != 0 && self.random.chance(self.plan.loss);
        let delay = if node == 0 { 0 } else { self.random.below(self.plan.max_delay + 1) };
        if lost || self.suffers(one_way) || self.suffers(Fault::Cut(node)) {
            return;
        }
        self.last += 1;
        let lives = (self.control_life, self.processes[node]);
        self.wire.insert((self.now + delay, self.last), Letter { node, up, lives, body });
    }

    fn deliver(&mut self) {
        let due: Vec<(u64, u64)> = self.wire.range(..=(self.now, u64::MAX)).map(|(at, _)| *at).collect();
        for at in due {
            let Some(letter) = self.wire.get(&at) else { continue };
            let asleep = if letter.up { self.suffers(Fault::ControlFreeze) } else { self.is_frozen(letter.node) };
            if asleep {
                continue;
            }
            let Some(letter) = self.wire.remove(&at) else { continue };
            if letter.lives == (self.control_life, self.processes[letter.node]) {
                self.note(&(letter.node, letter.up, &letter.body));
                self.open(letter.node, letter.body);
                self.carry_out();
            }
        }
    }

    fn open(&mut self, n: usize, body: Body) {
        let (id, now) = (self.nodes[n].id, moment(self.control_clock, self.now));
        match body {
            Body::ToControl { ticket, what } => {
                let fresh = ActorId(uuid::Uuid::from_u64_pair(self.random.next(), self.random.next()));
                if let Some(control) = &mut self.control {
                    control.registry.said(id, what, ticket, fresh, now);
                }
            }
            Body::Answered { ask, answer } => {
                if let Some(control) = &mut self.control
                    && let Some((_, about, _)) = control.asks.remove(&ask)
                {
                    control.registry.answered(id, about, Some(answer), now);
                }
            }
            Body::ToNode { ask, what } => self.told(n, ask, what),
            Body::Reply { ticket, with } => self.replied(n, ticket, with),
            Body::ToJobs(what) => {
                if let Some(control) = &mut self.control {
                    control.jobs.tell(what);
                }
            }
            Body::ToRunner { to, order } => self.answer_runner(n, &to, order),
            Body::AskToReport(to) => {
                let life = self.nodes[n].life.as_mut();
                if let Some(runner) = life.and_then(|life| life.runner(&to)) {
                    runner.asked_to_report();
                }
            }
            Body::Acknowledged(job) => {
                self.user.acknowledged(job);
            }
        }
    }

    fn told(&mut self, n: usize, ask: Option<AskId>, what: ToNode) {
        let start = self.now + self.random.below(300);
        let node = &mut self.nodes[n];
        let clock = node.clock(self.now);
        let answer = node.life.as_mut().and_then(|life| life.told(what, ask, node.incarnation, (clock, start)));
        if let (Some(answer), Some(ask)) = (answer, ask) {
            self.send(n, true, Body::Answered { ask, answer });
        }
    }

    fn replied(&mut self, n: usize, ticket: Ticket, with: ControlAnswer) {
        let Some((_, wants)) = self.tickets.remove(&ticket) else { return };
        match (wants, with) {
            (_, ControlAnswer::Granted(grant)) => self.with_node(n, |core, clock| core.on_grant(grant, clock)),
            (_, ControlAnswer::Refused(refusal)) => self.with_node(n, |core, clock| core.on_refused(refusal, clock)),
            (Wants::News, ControlAnswer::Done) => {
                let told = self.nodes[n].news_asked.take().map(|(_, told)| told).unwrap_or_default();
                if let Some(life) = &mut self.nodes[n].life {
                    life.exits.retain(|_, exit| !told.contains(&exit.life));
                }
            }
            (Wants::Place, ControlAnswer::Spawned(Ok(addr))) => self.placed(addr),
            (wants, with) => self.user.heard(wants, &with),
        }
    }

    pub(super) fn ask_control(&mut self, n: usize, what: ToControl, wants: Wants) {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.tickets.insert(ticket, (n, wants));
        self.send(n, true, Body::ToControl { ticket, what });
    }

    fn carry_out(&mut self) {
        let acts = self.control.as_mut().map(|control| control.registry.acts()).unwrap_or_default();
        for act in acts {
            self.note(&act);
            match act {
                Act::Reply { ticket, with } => {
                    if let Some((node, _)) = self.tickets.get(&ticket).copied() {
                        self.send(node, false, Body::Reply { ticket, with });
                    }
                }
                Act::Invite { .. } => {}
                Act::Tell { node, what } => self.call(node, what, None),
                Act::Ask { node, what, about } => self.call(node, what, Some(about)),
            }
        }
    }

    fn call(&mut self, node: crate::id::NodeId, what: ToNode, about: Option<crate::cluster::registry::About>) {
        let Some(n) = self.nodes.iter().position(|known| known.id == node) else { return };
        let until = self.now + u64::try_from(control::options().call_deadline.as_millis()).unwrap_or(u64::MAX);
        let ask = about.map(|about| {
            self.last += 1;
            if let Some(control) = &mut self.control {
                control.asks.insert(self.last, (n, about, until));
            }
            self.last
        });
        self.send(n, false, Body::ToNode { ask, what });
    }

    // Nodes.

    fn with_node(
        &mut self,
        n: usize,
        act: impl FnOnce(&mut crate::membership::NodeCore, Duration) -> Vec<NodeCommand>,
    ) {
        let clock = self.nodes[n].clock(self.now);
        let commands = self.nodes[n].life.as_mut().map(|life| act(&mut life.core, clock)).unwrap_or_default();
        for command in commands {
            let Some(life) = &self.nodes[n].life else { return };
            let view = life.ledger.view();
            match command {
                NodeCommand::SendJoin(renewal) => {
                    let facts = NodeFacts { name: format!("n{n}"), ..NodeFacts::default() };
                    let totals: Resources = life.ledger.totals().clone();
                    self.ask_control(n, ToControl::Join { renewal, facts, totals, view }, Wants::Lease);
                }
                NodeCommand::SendRenewal(renewal) => {
                    let load = NodeLoad::default();
                    self.ask_control(n, ToControl::Renew { renewal, load, view }, Wants::Lease);
                }
                NodeCommand::MustRejoin { .. } => self.nodes[n].ready_at = Some(self.now + CLEARING),
                _ => {}
            }
        }
    }

    fn tick(&mut self) {
        self.users();
        for n in 0..self.nodes.len() {
            if !self.is_frozen(n) {
                self.tick_node(n);
            }
        }
        if !self.suffers(Fault::ControlFreeze) && self.now.is_multiple_of(TICK) {
            self.tick_control();
        }
        self.carry_out();
    }

    fn tick_node(&mut self, n: usize) {
        let (now, node) = (self.now, &mut self.nodes[n]);
        let (id, incarnation, clock) = (node.id, node.incarnation, node.clock(self.now));
        if node.ready_at.take_if(|at| *at <= now).is_some() {
            node.clear();
            self.with_node(n, |core, clock| core.on_ready(clock));
            return;
        }
        let Some(life) = &mut node.life else { return };
        life.ledger.expire(clock);
        let answers = life.come_up(id, incarnation, now, clock);
        let may_act = life.core.may_start_effects(clock);
        let mut said = Vec::new();
        for copy in life.copies.values_mut().filter(|copy| copy.addr.is_some()) {
            self.last += 1;
            let me = (n, copy.addr);
            said.extend(copy.runner.as_mut().and_then(|it| it.go_on(me, may_act, STEP, (now, self.last))));
        }
        let exits: Vec<_> = life.exits.values().cloned().collect();
        for (ask, answer) in answers {
            self.send(n, true, Body::Answered { ask, answer });
        }
        said.into_iter().for_each(|what| self.send(n, true, Body::ToJobs(what)));
        if now.is_multiple_of(TICK) {
            self.with_node(n, |core, clock| core.tick(clock));
        }
        let asked = self.nodes[n].news_asked.as_ref().map(|(at, _)| *at);
        let restarted: Vec<_> = self.restarts(n);
        let news = !exits.is_empty() || !restarted.is_empty();
        if news && asked.is_none_or(|at| now >= at + 500) && now.is_multiple_of(TICK) {
            self.nodes[n].news_asked = Some((now, exits.iter().map(|exit| exit.life).collect()));
            self.ask_control(n, ToControl::News { incarnation, restarted, exits }, Wants::News);
        }
    }

    fn restarts(&self, n: usize) -> Vec<(crate::actor::Life, crate::actor::ActorAddr)> {
        let copies = self.nodes[n].life.iter().flat_map(|life| life.copies.values());
        let up = copies.filter_map(|copy| Some((copy.life, copy.addr?)));
        up.filter(|(life, addr)| addr.generation > life.generation).collect()
    }

    // The control node.

    fn tick_control(&mut self) {
        let (now, moment) = (self.now, moment(self.control_clock, self.now));
        let Some(control) = &mut self.control else { return };
        control.registry.tick(moment);
        let late: Vec<_> = control.asks.extract_if(.., |_, (_, _, until)| *until <= now).map(|(_, ask)| ask).collect();
        for (n, about, _) in late {
            control.registry.answered(self.nodes[n].id, about, None, moment);
        }
    }

    /// The disk does its part.
    fn write(&mut self) -> Result<(), String> {
        if self.suffers(Fault::ControlFreeze) {
            return Ok(());
        }
        let latency =
            if self.suffers(Fault::SlowDisk) { 200 + self.random.below(1_500) } else { self.random.below(60) };
        let (now, full, unclear) = (self.now, self.suffers(Fault::FullDisk), self.random.chance(30));
        let Some(control) = &mut self.control else { return Ok(()) };
        if let Some((_, batch)) = control.append.take_if(|(due, _)| *due <= now) {
            if full {
                control.registry.not_appended("the disk is full".into());
                control.append_from = now + 1_000;
            } else {
                control.registry.appended();
            }
            if !full || unclear {
                self.on_disk(batch)?;
            }
            self.carry_out();
        }
        let Some(control) = &mut self.control else { return Ok(()) };
        if control.append.is_none() && control.append_from <= now {
            control.append = control.registry.next_batch().map(|(batch, _)| (now + latency, batch));
        }
        if control.jobs.is_due(now) {
            match full {
                true => control.jobs.refused(&mut self.disk, now, unclear),
                false => control.jobs.appended(&mut self.disk, now),
            }
        }
        control.jobs.go_on(now, latency);
        self.jobs_act();
        Ok(())
    }

    fn on_disk(
        &mut self,
        batch: Vec<(crate::cluster::registry::ClusterEvent, crate::time::Timestamp)>,
    ) -> Result<(), String> {
        for (event, at) in batch {
            self.note(&event);
            self.oracle.recorded(&event, at)?;
            self.disk.cluster.push((event, at));
        }
        Ok(())
    }
}
