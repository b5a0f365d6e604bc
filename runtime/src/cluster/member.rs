//! A node's own part: keeps its lease, has the last word on its resources, starts what it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use wincode::{SchemaRead, SchemaWrite};

use super::carrier::Carrier;
use super::clock::boot_time;
use super::kinds::{ActorKinds, News, SpawnOrder};
use super::load::LoadMeter;
use super::message::{Answer, ControlAnswer, MemberAddr, NodeAnswer, NodeReport, Running, Said, ToControl, ToNode};
use super::network::Network;
use super::options::ClusterOptions;
use crate::actor::{Actor, ActorAddr, ActorError, Context, Life, Message, ReplyTo};
use crate::codec;
use crate::id::{ActorId, Incarnation, NodeId};
use crate::membership::{Grant, NodeCommand, NodeCore, NodeFacts, Refusal, RefusalReason};
use crate::placement::{NodeLedger, ReservationId, Resources};

#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum MemberMsg {
    Told {
        what: ToNode,
        reply: ReplyTo<NodeAnswer>,
    },
    Started {
        life: Life,
        reservation: ReservationId,
        result: Result<ActorAddr, String>,
        reply: ReplyTo<NodeAnswer>,
    },
    /// The control node has, or hasn't, taken in what was under way.
    NewsTold(bool),
    Granted(Grant),
    Refused(Refusal),
    Answered {
        probe: NodeId,
    },
    /// Answered when the control node was told, or can't be.
    Leave(ReplyTo<()>),
    Tick,
}

impl Message for MemberMsg {
    const KIND: &'static str = "fleet.cluster.member";
}

/// How a node stands with the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has asked to be a member.
    Joining,
    /// It holds its lease: effects may start.
    Member,
    /// Its lease is over: no effect starts, sandboxes are to be killed; actors stay, and wait.
    Fenced,
    /// Its actors may live elsewhere. Nothing of this life may go on: start anew, as this incarnation or a later one.
    MustRejoin { incarnation: Incarnation, why: RefusalReason },
}

/// Until when effects may start, shared with whoever asks.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaseClock(Arc<AtomicU64>);

impl LeaseClock {
    fn set(&self, until: Option<Duration>) {
        let nanos = until.map_or(0, |until| u64::try_from(until.as_nanos()).unwrap_or(u64::MAX));
        self.0.store(nanos, Ordering::Release);
    }

    pub fn holds(&self) -> bool {
        boot_time() < Duration::from_nanos(self.0.load(Ordering::Acquire))
    }
}

#[derive(Clone)]
pub(super) struct MemberArgs {
    pub options: ClusterOptions,
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub facts: NodeFacts,
    pub totals: Resources,
    pub control: NodeId,
    pub carrier: Arc<dyn Carrier>,
    pub network: Network,
    pub kinds: ActorKinds,
    pub lease: LeaseClock,
    pub standing: Arc<watch::Sender<Standing>>,
}

pub(super) struct MemberActor {
    args: MemberArgs,
    core: NodeCore,
    ledger: NodeLedger,
    /// The other members, and where they are.
    known: BTreeMap<NodeId, String>,
    /// Actors of the cluster here, starting or up.
    held: BTreeMap<ActorId, Held>,
    /// What the control node is being told.
    telling: Option<News>,
    load: LoadMeter,
    tasks: TaskTracker,
}

struct Held {
    key: String,
    life: Life,
    reservation: ReservationId,
    /// Starts of it under way.
    starting: usize,
}

impl Actor for MemberActor {
    type Msg = MemberMsg;
    type Args = MemberArgs;

    async fn start(args: MemberArgs, _: &Context<MemberMsg>) -> Result<Self, ActorError> {
        let core = NodeCore::new(args.options.membership.clone(), args.incarnation, boot_time());
        let ledger = NodeLedger::new(args.totals.clone()).map_err(ActorError::failed)?;
        let core = core.map_err(ActorError::failed)?;
        let (known, held, telling, load) = Default::default();
        Ok(Self { args, core, ledger, known, held, telling, load, tasks: TaskTracker::new() })
    }

    async fn handle(&mut self, msg: MemberMsg, ctx: &Context<MemberMsg>) -> Result<(), ActorError> {
        let now = boot_time();
        let commands = match msg {
            MemberMsg::Tick => {
                self.ledger.expire(now);
                self.tell_news(ctx);
                self.core.tick(now)
            }
            MemberMsg::Granted(grant) => self.core.on_grant(grant, now),
            MemberMsg::Refused(refusal) => self.core.on_refused(refusal, now),
            MemberMsg::Answered { probe } => self.core.on_probe_answer(probe, now),
            MemberMsg::Leave(reply) => {
                self.leave(reply);
                Vec::new()
            }
            MemberMsg::NewsTold(told) => {
                if let Some(news) = self.telling.take().filter(|_| told) {
                    self.args.kinds.told(&news);
                }
                Vec::new()
            }
            MemberMsg::Told { what, reply } => {
                self.told(what, reply, ctx);
                Vec::new()
            }
            MemberMsg::Started { life, reservation, result, reply } => {
                reply.send(self.did_start(life, reservation, result));
                Vec::new()
            }
        };
        for command in commands {
            self.carry_out(command, ctx);
        }
        self.args.lease.set(self.core.may_act_until());
        Ok(())
    }

    async fn stopped(&mut self, _: &Context<MemberMsg>) {
        self.args.lease.set(None);
        self.tasks.close();
    }
}

impl MemberActor {
    fn carry_out(&mut self, command: NodeCommand, ctx: &Context<MemberMsg>) {
        let view = self.ledger.view();
        match command {
            NodeCommand::SendJoin(renewal) => {
                let (facts, totals) = (self.args.facts.clone(), self.args.totals.clone());
                self.say(ToControl::Join { renewal, facts, totals, view }, ctx);
            }
            NodeCommand::SendRenewal(renewal) => {
                let load = self.load.read(self.args.kinds.count());
                self.say(ToControl::Renew { renewal, load, view }, ctx);
            }
            NodeCommand::Fence => self.stand(Standing::Fenced),
            NodeCommand::Unfence => self.stand(Standing::Member),
            NodeCommand::MustRejoin { incarnation, why } => self.stand(Standing::MustRejoin { incarnation, why }),
            NodeCommand::SayLeft { incarnation } => self.say(ToControl::Left { incarnation }, ctx),
            NodeCommand::Probe { target } => self.probe(target, ctx),
            NodeCommand::ReportProbe { target, reached } => self.say(ToControl::Probed { target, reached }, ctx),
            // Whoever probes gets its answer from the carrier.
            NodeCommand::ReplyProbe { .. } => {}
        }
    }

    fn stand(&self, standing: Standing) {
        tracing::info!(?standing, "this node");
        self.args.standing.send_replace(standing);
    }

    fn told(&mut self, what: ToNode, reply: ReplyTo<NodeAnswer>, ctx: &Context<MemberMsg>) {
        let now = boot_time();
        match what {
            ToNode::Reserve { incarnation, .. }
            | ToNode::Start { incarnation, .. }
            | ToNode::Stop { incarnation, .. }
            | ToNode::Report { incarnation }
                if incarnation != self.args.incarnation =>
            {
                reply.send(NodeAnswer::NotMe);
            }
            ToNode::Reserve { reservation, request, ttl_ms, .. } => {
                let result = self.ledger.reserve(reservation, &request, Duration::from_millis(ttl_ms), now);
                reply.send(NodeAnswer::Reserved(result));
            }
            ToNode::Start { reservation, life, order, .. } => self.start_actor(reservation, life, order, reply, ctx),
            ToNode::Release { reservation } => {
                self.ledger.release(reservation);
                reply.send(NodeAnswer::Done);
            }
            ToNode::Stop { reservation, life, key, .. } => self.stop_actor(reservation, life, key, reply),
            ToNode::Report { .. } => reply.send(NodeAnswer::Report(self.report())),
            ToNode::Ended(actor) => {
                self.args.network.ended(actor);
                reply.send(NodeAnswer::Done);
            }
            ToNode::Members(members) => {
                self.members(&members);
                reply.send(NodeAnswer::Done);
            }
            ToNode::Moved(actors) => {
                self.args.network.moved(actors);
                reply.send(NodeAnswer::Done);
            }
            ToNode::Probe { target } => {
                let commands = self.core.on_asked_to_probe(target, now);
                commands.into_iter().for_each(|command| self.carry_out(command, ctx));
                reply.send(NodeAnswer::Done);
            }
        }
    }

    /// Off this actor: a slow start must not hold up the lease.
    fn start_actor(
        &mut self,
        reservation: ReservationId,
        life: Life,
        order: SpawnOrder,
        reply: ReplyTo<NodeAnswer>,
        ctx: &Context<MemberMsg>,
    ) {
        if self.args.kinds.exit_of(life).is_some() {
            // It did start. Of its end the control node is told as well.
            let (node, incarnation) = (self.args.node, self.args.incarnation);
            let addr = ActorAddr { node, incarnation, actor: life.actor, generation: life.generation };
            return reply.send(NodeAnswer::Started(Ok(addr)));
        }
        // First of all: an order that was overtaken by its own end must not start anything.
        if let Err(error) = self.ledger.confirm(reservation, boot_time()) {
            tracing::debug!(key = order.key, %error, "an actor isn't started");
            return reply.send(NodeAnswer::NotHeld);
        }
        let fresh = || Held { key: order.key.clone(), life, reservation, starting: 0 };
        let held = self.held.entry(life.actor).or_insert_with(fresh);
        if held.life.precedes(&life) {
            *held = fresh();
        }
        held.starting += 1;
        let (kinds, me) = (self.args.kinds.clone(), ctx.myself());
        self.tasks.spawn(async move {
            let result = kinds.start_as(life, order).await.map_err(|e| e.to_string());
            // If this node is ending, the reply is dropped with the message and the control node asks again.
            let _ = me.tell(MemberMsg::Started { life, reservation, result, reply }).await;
        });
    }

    fn did_start(&mut self, life: Life, reservation: ReservationId, result: Result<ActorAddr, String>) -> NodeAnswer {
        let held = self.held.get_mut(&life.actor).filter(|held| held.life == life);
        let key = held.map(|held| {
            held.starting = held.starting.saturating_sub(1);
            held.key.clone()
        });
        let ended = self.ledger.confirm(reservation, boot_time()).is_err() && self.args.kinds.exit_of(life).is_none();
        match (result, key) {
            // It was told to stop meanwhile.
            (Ok(_), Some(key)) if ended => {
                let kinds = self.args.kinds.clone();
                self.tasks.spawn(async move { kinds.stop_life(&key, life).await });
                NodeAnswer::NotHeld
            }
            (Ok(addr), _) => NodeAnswer::Started(Ok(addr)),
            (Err(why), _) => {
                self.ledger.release(reservation);
                self.held.retain(|_, held| held.life != life);
                NodeAnswer::Started(Err(why))
            }
        }
    }

    fn stop_actor(&mut self, reservation: ReservationId, life: Life, key: String, reply: ReplyTo<NodeAnswer>) {
        self.ledger.release(reservation);
        if self.held.get(&life.actor).is_some_and(|held| held.life == life && held.starting > 0) {
            // Once it is up it finds its reservation ended, and ends as well. The control node asks again.
            return reply.send(NodeAnswer::NotHeld);
        }
        self.held.retain(|_, held| held.life != life);
        let kinds = self.args.kinds.clone();
        self.tasks.spawn(async move {
            kinds.stop_life(&key, life).await;
            reply.send(NodeAnswer::Done);
        });
    }

    fn report(&self) -> NodeReport {
        let running = self.held.values().map(|held| Running {
            key: held.key.clone(),
            life: held.life,
            reservation: held.reservation,
            addr: self.args.kinds.addr(&held.key, held.life),
        });
        let exits = self.args.kinds.news().unwrap_or_default().exits;
        NodeReport { view: self.ledger.view(), running: running.collect(), exits: exits.into_values().collect() }
    }

    /// Until the control node has acknowledged it.
    fn tell_news(&mut self, ctx: &Context<MemberMsg>) {
        let Some(news) = self.args.kinds.news() else { return };
        for exit in news.exits.values() {
            let ended = self.held.extract_if(.., |_, held| held.life == exit.life);
            for (_, held) in ended {
                self.ledger.release(held.reservation);
            }
        }
        if self.telling.is_some() {
            return;
        }
        let (restarted, exits) = (news.restarted.values().copied().collect(), news.exits.values().cloned().collect());
        self.telling = Some(news);
        self.say(ToControl::News { incarnation: self.args.incarnation, restarted, exits }, ctx);
    }

    fn leave(&mut self, reply: ReplyTo<()>) {
        let commands = self.core.leave(boot_time());
        let left = commands.into_iter().find_map(|command| match command {
            NodeCommand::SayLeft { incarnation } => Some(incarnation),
            _ => None,
        });
        self.args.lease.set(None);
        let Some(incarnation) = left else { return reply.send(()) };
        let (carrier, control) = (self.args.carrier.clone(), self.args.control);
        let deadline = self.args.options.membership.renew_every;
        self.tasks.spawn(async move {
            // If it doesn't hear this, our lease runs out.
            if let Ok(message) = codec::encode(&Said::ToControl(ToControl::Left { incarnation })) {
                let _ = carrier.call(control, message, deadline).await;
            }
            reply.send(());
        });
    }

    fn members(&mut self, members: &[MemberAddr]) {
        let now: BTreeMap<NodeId, String> = members.iter().map(|m| (m.node, m.addr.clone())).collect();
        for gone in self.known.keys().filter(|node| !now.contains_key(node)) {
            self.args.network.forget(*gone);
        }
        // One that is back in a new life may be elsewhere.
        for (node, addr) in now.iter().filter(|(node, addr)| self.known.get(node) != Some(addr)) {
            self.args.network.want(*node, addr);
        }
        self.known = now;
    }

    fn probe(&self, target: NodeId, ctx: &Context<MemberMsg>) {
        let (carrier, deadline, me) = (self.args.carrier.clone(), self.args.options.call_deadline, ctx.myself());
        self.tasks.spawn(async move {
            let Ok(message) = codec::encode(&Said::AreYouThere) else { return };
            if carrier.call(target, message, deadline).await.is_ok() {
                let _ = me.tell(MemberMsg::Answered { probe: target }).await;
            }
        });
    }

    fn say(&self, what: ToControl, ctx: &Context<MemberMsg>) {
        let (carrier, control, me) = (self.args.carrier.clone(), self.args.control, ctx.myself());
        let deadline = self.args.options.membership.lease;
        self.tasks.spawn(async move {
            let news = matches!(what, ToControl::News { .. });
            let asked = async {
                let message = codec::encode(&Said::ToControl(what)).ok()?;
                let called = carrier.call(control, message, deadline).await;
                codec::decode(&called.inspect_err(|error| tracing::debug!(%error, "no control node")).ok()?).ok()
            };
            let answer = asked.await;
            let told = match answer {
                Some(Answer::Control(ControlAnswer::Granted(grant))) => MemberMsg::Granted(grant),
                Some(Answer::Control(ControlAnswer::Refused(refusal))) => MemberMsg::Refused(refusal),
                answer if news => MemberMsg::NewsTold(matches!(answer, Some(Answer::Control(ControlAnswer::Done)))),
                // The next renewal comes by itself.
                _ => return,
            };
            let _ = me.tell(told).await;
        });
    }
}
