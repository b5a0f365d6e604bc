//! A node's own part: keeps its lease, has the last word on its resources, starts what it is told to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use wincode::{SchemaRead, SchemaWrite};

use super::carrier::Carrier;
use super::clock::boot_time;
use super::kinds::{ActorKinds, SpawnOrder};
use super::message::{Answer, ControlAnswer, MemberAddr, NodeAnswer, Said, ToControl, ToNode};
use super::network::Network;
use super::options::ClusterOptions;
use crate::actor::{Actor, ActorAddr, ActorError, Context, Life, Message, ReplyTo};
use crate::codec;
use crate::id::{Incarnation, NodeId};
use crate::membership::{Grant, NodeCommand, NodeCore, NodeFacts, NodeLoad, Refusal, RefusalReason};
use crate::placement::{NodeLedger, ReservationId, Resources};

#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum MemberMsg {
    Told { what: ToNode, reply: ReplyTo<NodeAnswer> },
    Started { reservation: ReservationId, result: Result<ActorAddr, String>, reply: ReplyTo<NodeAnswer> },
    Granted(Grant),
    Refused(Refusal),
    Answered { probe: NodeId },
    Leave,
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
    known: BTreeSet<NodeId>,
    tasks: TaskTracker,
}

impl Actor for MemberActor {
    type Msg = MemberMsg;
    type Args = MemberArgs;

    async fn start(args: MemberArgs, _: &Context<MemberMsg>) -> Result<Self, ActorError> {
        let core = NodeCore::new(args.options.membership.clone(), args.incarnation, boot_time());
        let ledger = NodeLedger::new(args.totals.clone()).map_err(ActorError::failed)?;
        let core = core.map_err(ActorError::failed)?;
        Ok(Self { args, core, ledger, known: BTreeSet::new(), tasks: TaskTracker::new() })
    }

    async fn handle(&mut self, msg: MemberMsg, ctx: &Context<MemberMsg>) -> Result<(), ActorError> {
        let now = boot_time();
        let commands = match msg {
            MemberMsg::Tick => {
                self.ledger.expire(now);
                self.core.tick(now)
            }
            MemberMsg::Granted(grant) => self.core.on_grant(grant, now),
            MemberMsg::Refused(refusal) => self.core.on_refused(refusal, now),
            MemberMsg::Answered { probe } => self.core.on_probe_answer(probe, now),
            MemberMsg::Leave => self.core.leave(now),
            MemberMsg::Told { what, reply } => {
                self.told(what, reply, ctx);
                Vec::new()
            }
            MemberMsg::Started { reservation, result, reply } => {
                self.did_start(reservation, &result);
                reply.send(NodeAnswer::Started(result));
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
                let load = NodeLoad::default();
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
            ToNode::Reserve { incarnation, .. } | ToNode::Start { incarnation, .. }
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
            ToNode::Stop { key, reservation } => {
                self.ledger.release(reservation);
                let kinds = self.args.kinds.clone();
                self.tasks.spawn(async move {
                    kinds.stop(&key).await;
                    reply.send(NodeAnswer::Done);
                });
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
        &self,
        reservation: ReservationId,
        life: Life,
        order: SpawnOrder,
        reply: ReplyTo<NodeAnswer>,
        ctx: &Context<MemberMsg>,
    ) {
        let (kinds, me) = (self.args.kinds.clone(), ctx.myself());
        self.tasks.spawn(async move {
            let result = kinds.start_as(life, order).await.map_err(|e| e.to_string());
            // If this node is ending, the reply is dropped with the message and the control node asks again.
            let _ = me.tell(MemberMsg::Started { reservation, result, reply }).await;
        });
    }

    fn did_start(&mut self, reservation: ReservationId, result: &Result<ActorAddr, String>) {
        match result {
            Ok(addr) => {
                if let Err(error) = self.ledger.confirm(reservation, boot_time()) {
                    tracing::warn!(%addr, %error, "an actor runs on a reservation that is over");
                }
            }
            Err(_) => drop(self.ledger.release(reservation)),
        }
    }

    fn members(&mut self, members: &[MemberAddr]) {
        let now: BTreeSet<NodeId> = members.iter().map(|member| member.node).collect();
        for gone in self.known.difference(&now) {
            self.args.network.forget(*gone);
        }
        for member in members.iter().filter(|member| !self.known.contains(&member.node)) {
            self.args.network.want(member.node, &member.addr);
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
            let Ok(message) = codec::encode(&Said::ToControl(what)) else { return };
            let answer = match carrier.call(control, message, deadline).await {
                Ok(bytes) => codec::decode(&bytes),
                // The next renewal comes by itself.
                Err(error) => return tracing::debug!(%error, "the control node was not reached"),
            };
            let told = match answer {
                Ok(Answer::Control(ControlAnswer::Granted(grant))) => MemberMsg::Granted(grant),
                Ok(Answer::Control(ControlAnswer::Refused(refusal))) => MemberMsg::Refused(refusal),
                _ => return,
            };
            let _ = me.tell(told).await;
        });
    }
}
