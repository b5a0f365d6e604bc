//! The control node's part: who is a member, which actor runs where, and what follows when a node is gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use wincode::{SchemaRead, SchemaWrite};

use super::carrier::{Carrier, CarrierError};
use super::clock::boot_time;
use super::message::{Answer, ControlAnswer, MemberAddr, NodeAnswer, Said, SpawnRequest, ToControl, ToNode};
use super::options::ClusterOptions;
use crate::actor::{Actor, ActorAddr, ActorError, Context, Life, Message, Ref, ReplyTo};
use crate::codec;
use crate::id::{ActorId, Generation, Incarnation, NodeId};
use crate::membership::{ControlCommand, ControlCore, Member, MemberEvent, MemberState, NodeFacts, Renewal};
use crate::placement::{Accepts, Command, NodeUp, NodeView, PlacementCore, ReservationId, ReserveResult, Resources};
use crate::supervise::Restart;

#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum ControlMsg {
    Said { from: NodeId, what: ToControl, reply: ReplyTo<ControlAnswer> },
    Reserved { node: NodeId, reservation: ReservationId, result: ReserveResult },
    Started { life: Life, result: Start },
    Link { node: NodeId, up: bool },
    Drain(NodeId),
    Tick,
}

/// What came of starting an actor on a node.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum Start {
    Up(ActorAddr),
    /// The node, or the actor, says no.
    Failed(String),
    /// Nobody knows; the node may be gone, or it is asked again.
    Unclear,
}

impl Message for ControlMsg {
    const KIND: &'static str = "fleet.cluster.control";
}

#[derive(Clone)]
pub(super) struct ControlArgs {
    pub options: ClusterOptions,
    pub incarnation: Incarnation,
    pub carrier: Arc<dyn Carrier>,
    /// What people and tests see of the members.
    pub members: Arc<tokio::sync::watch::Sender<Vec<Member>>>,
}

pub(super) struct Control {
    args: ControlArgs,
    membership: ControlCore,
    placement: PlacementCore,
    /// What each node said of itself when it joined.
    joined: BTreeMap<NodeId, (Incarnation, Resources, NodeView)>,
    actors: BTreeMap<ActorId, Entry>,
    by_key: HashMap<String, ActorId>,
    tasks: TaskTracker,
}

struct Entry {
    request: SpawnRequest,
    generation: Generation,
    place: Option<Place>,
    addr: Option<ActorAddr>,
    waiting: Vec<ReplyTo<ControlAnswer>>,
    failures: u32,
    /// Start it again under the same reservation: the last answer didn't come.
    unclear: bool,
}

#[derive(Clone, Copy)]
struct Place {
    node: NodeId,
    incarnation: Incarnation,
    reservation: ReservationId,
}

impl Actor for Control {
    type Msg = ControlMsg;
    type Args = ControlArgs;

    async fn start(args: ControlArgs, _: &Context<ControlMsg>) -> Result<Self, ActorError> {
        let membership = ControlCore::new(args.options.membership.clone(), boot_time()).map_err(ActorError::failed)?;
        let placement = PlacementCore::new(args.options.placement.clone(), args.incarnation);
        Ok(Self {
            args,
            membership,
            placement,
            joined: BTreeMap::new(),
            actors: BTreeMap::new(),
            by_key: HashMap::new(),
            tasks: TaskTracker::new(),
        })
    }

    async fn handle(&mut self, msg: ControlMsg, ctx: &Context<ControlMsg>) -> Result<(), ActorError> {
        let now = boot_time();
        match msg {
            ControlMsg::Said { from, what, reply } => self.said(from, what, reply, ctx),
            ControlMsg::Reserved { node, reservation, result } => {
                let commands = self.placement.reserve_result(reservation, node, result, now);
                self.place(commands, ctx);
            }
            ControlMsg::Started { life, result } => self.started(life, result, ctx),
            ControlMsg::Link { node, up } => self.link(node, up, ctx),
            ControlMsg::Drain(node) => {
                let commands = self.membership.drain(node, now);
                self.members(commands, None, ctx);
            }
            ControlMsg::Tick => self.tick(ctx),
        }
        Ok(())
    }

    async fn stopped(&mut self, _: &Context<ControlMsg>) {
        self.tasks.close();
    }
}

impl Control {
    fn said(&mut self, from: NodeId, what: ToControl, reply: ReplyTo<ControlAnswer>, ctx: &Context<ControlMsg>) {
        let now = boot_time();
        match what {
            ToControl::Join { renewal, facts, totals, view } => {
                self.join(from, renewal, facts, (totals, view), reply, ctx)
            }
            ToControl::Renew { renewal, load, view } => {
                let commands = self.membership.on_renewal(from, renewal, load, now);
                self.members(commands, Some((from, reply)), ctx);
                let commands = self.placement.node_view(from, renewal.incarnation, view, now);
                self.place(commands, ctx);
            }
            ToControl::Left { incarnation } => {
                let commands = self.membership.on_left(from, incarnation, now);
                self.members(commands, None, ctx);
                reply.send(ControlAnswer::Done);
            }
            ToControl::Probed { target, reached } => {
                self.membership.on_probe_result(target, from, reached, now);
                reply.send(ControlAnswer::Done);
            }
            ToControl::Spawn(request) => self.spawn(request, reply, ctx),
            ToControl::Stop { key } => self.stop(&key, reply, ctx),
            ToControl::Find { key } => {
                let entry = self.by_key.get(&key).and_then(|actor| self.actors.get(actor));
                reply.send(ControlAnswer::Found(entry.and_then(|entry| entry.addr)));
            }
        }
    }

    fn join(
        &mut self,
        node: NodeId,
        renewal: Renewal,
        facts: NodeFacts,
        (totals, view): (Resources, NodeView),
        reply: ReplyTo<ControlAnswer>,
        ctx: &Context<ControlMsg>,
    ) {
        let now = boot_time();
        self.joined.insert(node, (renewal.incarnation, totals, view));
        let mut commands = self.membership.on_joined(node, renewal.incarnation, facts, now);
        commands.extend(self.membership.on_renewal(node, renewal, Default::default(), now));
        self.members(commands, Some((node, reply)), ctx);
    }

    fn link(&mut self, node: NodeId, up: bool, ctx: &Context<ControlMsg>) {
        let now = boot_time();
        let Some(incarnation) = self.membership.member(node, now).map(|member| member.incarnation) else { return };
        match up {
            true => self.membership.on_link_up(node, incarnation, now),
            false => {
                let commands = self.membership.on_link_down(node, incarnation, now);
                self.members(commands, None, ctx);
            }
        }
    }

    fn tick(&mut self, ctx: &Context<ControlMsg>) {
        let now = boot_time();
        let commands = self.membership.tick(now);
        self.members(commands, None, ctx);
        let commands = self.placement.tick(now);
        self.place(commands, ctx);
        let again: Vec<ActorId> = self.actors.iter().filter(|(_, e)| e.unclear).map(|(id, _)| *id).collect();
        for actor in again {
            self.start(actor, ctx);
        }
        self.args.members.send_replace(self.membership.members(now).collect());
    }

    /// Carries out what membership has decided. The reply is for the node whose message this answers.
    fn members(
        &mut self,
        commands: Vec<ControlCommand>,
        mut reply: Option<(NodeId, ReplyTo<ControlAnswer>)>,
        ctx: &Context<ControlMsg>,
    ) {
        let mut answer = |to: NodeId, with: ControlAnswer| {
            if let Some((_, reply)) = reply.take_if(|(node, _)| *node == to) {
                reply.send(with);
            }
        };
        let mut changed = false;
        for command in commands {
            match command {
                ControlCommand::GrantLease { node, grant } => answer(node, ControlAnswer::Granted(grant)),
                ControlCommand::Refuse { node, refusal } => answer(node, ControlAnswer::Refused(refusal)),
                ControlCommand::AskToProbe { target, through } => {
                    for node in through {
                        self.tell(node, ToNode::Probe { target });
                    }
                }
                ControlCommand::Event { node, incarnation, event } => {
                    tracing::info!(%node, %incarnation, ?event, "member");
                    changed = true;
                    self.happened(node, incarnation, &event, ctx);
                }
            }
        }
        if changed {
            self.broadcast_members();
        }
    }

    fn happened(&mut self, node: NodeId, incarnation: Incarnation, event: &MemberEvent, ctx: &Context<ControlMsg>) {
        let now = boot_time();
        let commands = match event {
            MemberEvent::Up => match self.joined.get(&node) {
                Some((of, totals, view)) if *of == incarnation => {
                    let (totals, view) = (totals.clone(), view.clone());
                    let up = NodeUp { node, incarnation, totals, view, accepts: Accepts::Yes };
                    self.placement.node_up(up, now)
                }
                _ => Vec::new(),
            },
            MemberEvent::Suspect { .. } => self.placement.node_accepts(node, Accepts::Suspect, now),
            MemberEvent::Recovered => self.placement.node_accepts(node, Accepts::Yes, now),
            MemberEvent::Draining => self.placement.node_accepts(node, Accepts::Draining, now),
            MemberEvent::Dead { .. } | MemberEvent::Left => {
                let mut commands = self.placement.node_down(node, now);
                commands.extend(self.lost(node, incarnation));
                commands
            }
            MemberEvent::Joined | MemberEvent::Forgotten => Vec::new(),
        };
        self.place(commands, ctx);
    }

    /// The lease of that life of the node is over: its actors begin anew elsewhere.
    fn lost(&mut self, node: NodeId, incarnation: Incarnation) -> Vec<Command> {
        let now = boot_time();
        let was_there =
            |entry: &Entry| entry.place.is_some_and(|place| (place.node, place.incarnation) == (node, incarnation));
        let lost: Vec<ActorId> = self.actors.iter().filter(|(_, e)| was_there(e)).map(|(id, _)| *id).collect();
        let mut commands = Vec::new();
        for actor in lost {
            let Some(entry) = self.actors.get_mut(&actor) else { continue };
            if entry.request.order.restart == Restart::Temporary {
                self.forget(actor, "its node is gone, and it isn't to be started again");
                continue;
            }
            (entry.place, entry.addr, entry.unclear) = (None, None, false);
            entry.generation = entry.generation.next();
            commands.extend(self.ask_for_place(actor, now));
        }
        commands
    }

    fn ask_for_place(&mut self, actor: ActorId, now: Duration) -> Vec<Command> {
        let Some(demand) = self.actors.get(&actor).map(|entry| entry.request.demand.clone()) else {
            return Vec::new();
        };
        match self.placement.request(actor, demand, now) {
            Ok(commands) => commands,
            Err(why) => {
                self.forget(actor, &why.to_string());
                Vec::new()
            }
        }
    }

    fn spawn(&mut self, request: SpawnRequest, reply: ReplyTo<ControlAnswer>, ctx: &Context<ControlMsg>) {
        let key = request.order.key.clone();
        if let Some(entry) = self.by_key.get(&key).and_then(|actor| self.actors.get_mut(actor)) {
            match (entry.request == request, entry.addr) {
                (false, _) => {
                    let why = format!("the key {key:?} was used for another actor");
                    reply.send(ControlAnswer::Spawned(Err(why)));
                }
                (true, Some(addr)) => reply.send(ControlAnswer::Spawned(Ok(addr))),
                (true, None) => entry.waiting.push(reply),
            }
            return;
        }
        let actor = ActorId::new_random();
        let entry = Entry {
            request,
            generation: Generation(1),
            place: None,
            addr: None,
            waiting: vec![reply],
            failures: 0,
            unclear: false,
        };
        self.by_key.insert(key, actor);
        self.actors.insert(actor, entry);
        let commands = self.ask_for_place(actor, boot_time());
        self.place(commands, ctx);
    }

    fn stop(&mut self, key: &str, reply: ReplyTo<ControlAnswer>, ctx: &Context<ControlMsg>) {
        let now = boot_time();
        if let Some(actor) = self.by_key.get(key).copied() {
            if let Some(place) = self.actors.get(&actor).and_then(|entry| entry.place) {
                self.tell(place.node, ToNode::Stop { key: key.to_owned(), reservation: place.reservation });
            }
            let mut commands = self.placement.cancel(actor, now);
            commands.extend(self.placement.released(actor, now));
            self.forget(actor, "it was stopped");
            self.place(commands, ctx);
        }
        reply.send(ControlAnswer::Done);
    }

    /// Carries out what placement has decided.
    fn place(&mut self, commands: Vec<Command>, ctx: &Context<ControlMsg>) {
        for command in commands {
            match command {
                Command::Reserve { node, incarnation, reservation, request, ttl } => {
                    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                    let what = ToNode::Reserve { incarnation, reservation, request, ttl_ms };
                    self.ask(node, what, ctx, move |answer| match answer {
                        Ok(NodeAnswer::Reserved(result)) => Some(ControlMsg::Reserved { node, reservation, result }),
                        // Placement gives up waiting by itself.
                        _ => None,
                    });
                }
                Command::Release { node, reservation } => self.tell(node, ToNode::Release { reservation }),
                Command::Placed { id, node, reservation, .. } => {
                    let incarnation = self.joined.get(&node).map_or(Incarnation(0), |(of, ..)| *of);
                    if let Some(entry) = self.actors.get_mut(&id) {
                        entry.place = Some(Place { node, incarnation, reservation });
                    }
                    self.start(id, ctx);
                }
                Command::Waiting { id, why } => tracing::debug!(actor = %id, ?why, "an actor waits for a place"),
                Command::Failed { id, why } => self.forget(id, &why.to_string()),
            }
        }
    }

    fn start(&mut self, actor: ActorId, ctx: &Context<ControlMsg>) {
        let Some(entry) = self.actors.get_mut(&actor) else { return };
        let Some(Place { node, incarnation, reservation }) = entry.place else { return };
        entry.unclear = false;
        let life = Life { actor, generation: entry.generation };
        let what = ToNode::Start { incarnation, reservation, life, order: entry.request.order.clone() };
        self.ask(node, what, ctx, move |answer| {
            let result = match answer {
                Ok(NodeAnswer::Started(Ok(addr))) => Start::Up(addr),
                Ok(NodeAnswer::Started(Err(why))) | Err(CarrierError::Refused(why)) => Start::Failed(why),
                Ok(_) => Start::Failed("the node has begun a new life".into()),
                Err(_) => Start::Unclear,
            };
            Some(ControlMsg::Started { life, result })
        });
    }

    fn started(&mut self, life: Life, result: Start, ctx: &Context<ControlMsg>) {
        let now = boot_time();
        let Some(entry) = self.actors.get_mut(&life.actor).filter(|entry| entry.generation == life.generation) else {
            return;
        };
        match result {
            Start::Up(addr) => {
                entry.addr = Some(addr);
                entry.failures = 0;
                entry.waiting.drain(..).for_each(|reply| reply.send(ControlAnswer::Spawned(Ok(addr))));
                if life.generation > Generation(1) {
                    self.broadcast(&ToNode::Moved(vec![addr]));
                }
            }
            // The next tick asks again; if the node is gone, its death is what happens next.
            Start::Unclear => entry.unclear = true,
            Start::Failed(why) => {
                entry.failures += 1;
                let again = life.generation > Generation(1) && entry.failures < self.args.options.start_attempts;
                let mut commands = self.placement.released(life.actor, now);
                match again {
                    true => commands.extend(self.ask_for_place(life.actor, now)),
                    false => self.forget(life.actor, &why),
                }
                self.place(commands, ctx);
            }
        }
    }

    /// The actor is no more; whoever waits for it is told why.
    fn forget(&mut self, actor: ActorId, why: &str) {
        let Some(entry) = self.actors.remove(&actor) else { return };
        self.by_key.remove(&entry.request.order.key);
        tracing::info!(%actor, key = entry.request.order.key, why, "an actor of the cluster is over");
        for reply in entry.waiting {
            reply.send(ControlAnswer::Spawned(Err(why.to_owned())));
        }
    }

    fn living(&self) -> Vec<MemberAddr> {
        let members = self.membership.members(boot_time());
        let living = members.filter(|m| !matches!(m.state, MemberState::Dead | MemberState::Left));
        living.map(|m| MemberAddr { node: m.node, incarnation: m.incarnation, addr: m.facts.addr }).collect()
    }

    fn broadcast_members(&self) {
        self.broadcast(&ToNode::Members(self.living()));
    }

    fn broadcast(&self, what: &ToNode) {
        for member in self.living() {
            self.tell(member.node, what.clone());
        }
    }

    /// Calls a node without caring for the answer.
    fn tell(&self, node: NodeId, what: ToNode) {
        let call = self.call(node, what);
        self.tasks.spawn(async move {
            if let Err(error) = call.await {
                tracing::debug!(%node, %error, "a node was not reached");
            }
        });
    }

    /// Calls a node; what `then` makes of the answer comes back as a message.
    fn ask(
        &self,
        node: NodeId,
        what: ToNode,
        ctx: &Context<ControlMsg>,
        then: impl FnOnce(Result<NodeAnswer, CarrierError>) -> Option<ControlMsg> + Send + 'static,
    ) {
        let (call, me): (_, Ref<ControlMsg>) = (self.call(node, what), ctx.myself());
        self.tasks.spawn(async move {
            if let Some(msg) = then(call.await) {
                // The control actor may have ended; then nobody needs the answer.
                let _ = me.tell(msg).await;
            }
        });
    }

    fn call(
        &self,
        node: NodeId,
        what: ToNode,
    ) -> impl Future<Output = Result<NodeAnswer, CarrierError>> + Send + use<> {
        let (carrier, deadline) = (self.args.carrier.clone(), self.args.options.call_deadline);
        async move {
            let unreadable = |e: codec::CodecError| CarrierError::Unknown(e.to_string());
            let message = codec::encode(&Said::ToNode(what)).map_err(|e| CarrierError::NotSent(e.to_string()))?;
            let answer = carrier.call(node, message, deadline).await?;
            match codec::decode(&answer).map_err(unreadable)? {
                Answer::Node(answer) => Ok(answer),
                _ => Err(CarrierError::Unknown("it answered another question".into())),
            }
        }
    }
}
