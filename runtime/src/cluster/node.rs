//! A node of a cluster: the one thing that a program starts, and asks for actors.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ClusterError;
use super::archive::ControlPorts;
use super::carrier::{Carrier, CarrierError};
use super::control::{Control, ControlArgs, ControlMsg, Desk};
use super::kinds::{ActorKind, ActorKinds, SpawnOrder};
use super::member::{LeaseClock, MemberActor, MemberArgs, MemberMsg, Standing};
use super::message::{Answer, ControlAnswer, Said, SpawnRequest, ToControl};
use super::network::Network;
use super::options::ClusterOptions;
use super::view::{ActorCounts, ActorExplanation, ActorFilter, ActorRecord, NodeExplanation, NodeRecord};
use super::watching::{ActorWatch, Following};
use crate::actor::{ActorAddr, ActorFigures, Json, Message, Ref, System};
use crate::codec;
use crate::id::{Incarnation, NodeId};
use crate::lane::LaneFigures;
use crate::membership::{Member, NodeFacts};
use crate::placement::{Demand, Resources};
use crate::supervise::{ChildOptions, Restart};

/// What a node is in its cluster.
#[derive(Clone, Debug)]
pub enum Role {
    /// It keeps the others together, and runs actors like them.
    Control(ControlPorts),
    /// It belongs to the cluster of that control node.
    Member { control: NodeId },
}

/// What a node is started with.
pub struct ClusterSetup {
    pub role: Role,
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// What it says of itself.
    pub facts: NodeFacts,
    /// What it offers.
    pub totals: Resources,
    /// What it can start.
    pub kinds: ActorKinds,
    pub network: Network,
    pub carrier: Arc<dyn Carrier>,
    pub options: ClusterOptions,
}

/// A node of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterNode(Arc<Inner>);

struct Inner {
    control_node: NodeId,
    system: System,
    network: Network,
    carrier: Arc<dyn Carrier>,
    options: ClusterOptions,
    control: Option<Ref<ControlMsg>>,
    member: Ref<MemberMsg>,
    lease: LeaseClock,
    kinds: ActorKinds,
    standing: watch::Receiver<Standing>,
    members: watch::Receiver<Vec<Member>>,
    following: Following,
    /// Somebody follows another actor.
    follow_now: Notify,
    ended: CancellationToken,
    tasks: TaskTracker,
}

const CONTROL: &str = "cluster-control";
const MEMBER: &str = "cluster-member";

impl ClusterNode {
    /// Starts the node's part in the cluster; it joins by itself as soon as the carrier reaches the control node. The
    /// control node itself goes on from what its journal has.
    pub async fn start(system: &System, setup: ClusterSetup) -> Result<Self, ClusterError> {
        Self::start_with(system, setup, None).await
    }

    /// The same for a control node that has the cluster's certificate authority.
    pub(super) async fn start_with(
        system: &System,
        setup: ClusterSetup,
        desk: Option<Desk>,
    ) -> Result<Self, ClusterError> {
        let ClusterSetup { role, node, incarnation, facts, totals, kinds, network, carrier, options } = setup;
        let failed = |source| ClusterError::Start { name: "cluster".into(), source };
        let (members, seen) = watch::channel(Vec::new());
        let (standing, stands) = watch::channel(Standing::Joining);
        let lease = LeaseClock::default();
        // What a call to this very node goes to; it is filled in below.
        let home = Arc::new(Homing { node, carrier: carrier.clone(), me: std::sync::OnceLock::new() });
        let to_all: Arc<dyn Carrier> = home.clone();
        let (control_node, control) = match role {
            Role::Member { control } => (control, None),
            Role::Control(ports) => {
                let (options, carrier, members) = (options.clone(), to_all.clone(), Arc::new(members));
                let args = ControlArgs { options, node, incarnation, ports, desk, carrier, members };
                let started = system.spawn::<Control>(CONTROL, args, ChildOptions::default()).await;
                (node, Some(started.map_err(failed)?))
            }
        };
        let args = MemberArgs {
            options: options.clone(),
            node,
            incarnation,
            facts,
            totals,
            control: control_node,
            carrier: to_all.clone(),
            network: network.clone(),
            kinds: kinds.clone(),
            lease: lease.clone(),
            standing: Arc::new(standing),
        };
        let member = system.spawn::<MemberActor>(MEMBER, args, ChildOptions::default()).await.map_err(failed)?;
        let me = Self(Arc::new(Inner {
            control_node,
            system: system.clone(),
            network,
            carrier: to_all,
            options,
            control,
            member,
            lease,
            kinds,
            standing: stands,
            members: seen,
            following: Following::default(),
            follow_now: Notify::new(),
            ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        let _ = home.me.set(Arc::downgrade(&me.0));
        me.0.tasks.spawn(tick(me.0.clone()));
        me.0.tasks.spawn(follow(me.0.clone()));
        Ok(me)
    }

    /// Takes a control message of another node, which the carrier has authenticated; gives the answer to it.
    pub async fn handle(&self, from: NodeId, message: Vec<u8>) -> Result<Vec<u8>, String> {
        self.0.handle(from, &message).await
    }

    /// The carrier has got, or lost, its link to that node.
    pub async fn link(&self, node: NodeId, up: bool) {
        if let Some(control) = &self.0.control {
            // It ends only with this node.
            let _ = control.tell(ControlMsg::Link { node, up }).await;
        }
    }

    /// Has an actor started somewhere in the cluster, and gives a reference to it that follows it wherever it goes.
    ///
    /// `key` names it in the whole cluster: asked for again with the same key and arguments, it is the same actor. When
    /// its node is lost it begins anew elsewhere from its arguments, unless `restart` is [`Restart::Temporary`].
    /// Waits up to `deadline` for a place.
    pub async fn spawn<A: ActorKind>(
        &self,
        key: &str,
        args: &A::Args,
        restart: Restart,
        demand: Demand,
        deadline: Duration,
    ) -> Result<Ref<A::Msg>, ClusterError> {
        let order = SpawnOrder::new::<A>(key, args, restart)?;
        self.request(SpawnRequest { order, demand, owner: None }, deadline).await
    }

    /// The same for an actor that belongs to another one of the cluster, whose key is `owner`: when that one is over, for
    /// whatever reason, this one is stopped. It isn't when its owner only begins anew, here or elsewhere.
    pub async fn spawn_owned<A: ActorKind>(
        &self,
        owner: &str,
        key: &str,
        args: &A::Args,
        restart: Restart,
        demand: Demand,
        deadline: Duration,
    ) -> Result<Ref<A::Msg>, ClusterError> {
        let order = SpawnOrder::new::<A>(key, args, restart)?;
        self.request(SpawnRequest { order, demand, owner: Some(owner.to_owned()) }, deadline).await
    }

    async fn request<M: Message>(&self, request: SpawnRequest, deadline: Duration) -> Result<Ref<M>, ClusterError> {
        let key = request.order.key.clone();
        match self.0.ask_control(ToControl::Spawn(request), deadline).await? {
            ControlAnswer::Spawned(Ok(addr)) => Ok(self.0.network.reference(addr)),
            ControlAnswer::Spawned(Err(why)) => Err(ClusterError::NotPlaced { key, why }),
            other => Err(unexpected(other)),
        }
    }

    /// A reference to an actor that was started under this key, wherever it runs now.
    pub async fn find<M: Message>(&self, key: &str) -> Result<Option<Ref<M>>, ClusterError> {
        let find = ToControl::Find { key: key.to_owned() };
        match self.0.ask_control(find, self.0.options.call_deadline).await? {
            ControlAnswer::Found(addr) => Ok(addr.map(|addr| self.0.network.reference(addr))),
            other => Err(unexpected(other)),
        }
    }

    /// A reference to the actor at that address, on whichever node; it follows the actor.
    pub fn reference<M: Message>(&self, addr: ActorAddr) -> Ref<M> {
        self.0.network.reference(addr)
    }

    /// A service of the control node, by name, in whichever life it and the node are: see
    /// [`System::spawn_service`].
    pub fn service<M: Message>(&self, name: &str) -> Ref<M> {
        self.0.network.reference(ActorAddr::service(self.0.control_node, name))
    }

    /// The same on any node.
    pub fn service_on<M: Message>(&self, node: NodeId, name: &str) -> Ref<M> {
        self.0.network.reference(ActorAddr::service(node, name))
    }

    /// Ends an actor of the cluster, and returns when it has ended, wherever it runs; one that isn't there is ended
    /// already. If this gives an error, it is ended as soon as its node can be reached, or its lease is over.
    pub async fn stop_actor(&self, key: &str) -> Result<(), ClusterError> {
        let stop = ToControl::Stop { key: key.to_owned() };
        self.done(stop, self.0.options.call_deadline).await
    }

    /// Gives a node, by its name or id, no new work, and moves its permanent actors elsewhere: each is stopped there and
    /// begins anew on another node. Returns when that has begun. From any node.
    pub async fn drain(&self, node: &str) -> Result<(), ClusterError> {
        self.done(ToControl::Drain { node: node.to_owned() }, self.0.options.call_deadline).await
    }

    /// A one-time token, to be shown once to whoever brings the new node. From any node.
    pub async fn invite(&self) -> Result<String, ClusterError> {
        match self.ask(ToControl::Invite).await? {
            ControlAnswer::Invited(token) => Ok(token),
            other => Err(unexpected(other)),
        }
    }

    /// A certificate (DER) in the name of this node, for the key of a request (PKCS #10, DER).
    pub(super) async fn certify(&self, request: Vec<u8>) -> Result<Vec<u8>, ClusterError> {
        match self.ask(ToControl::Certify { request }).await? {
            ControlAnswer::Certified(certificate) => Ok(certificate),
            other => Err(unexpected(other)),
        }
    }

    /// All nodes that are, or were, members. From any node, as is all that follows.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, ClusterError> {
        match self.ask(ToControl::Nodes).await? {
            ControlAnswer::Nodes(nodes) => readable(nodes),
            other => Err(unexpected(other)),
        }
    }

    /// The actors of the cluster, by key; what is over, or ending, comes last.
    pub async fn actors(&self, filter: ActorFilter) -> Result<Vec<ActorRecord>, ClusterError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = match self.ask(ToControl::Actors { filter: filter.clone(), after }).await? {
                ControlAnswer::Actors(page) => readable(page)?,
                other => return Err(unexpected(other)),
            };
            all.extend(page.actors);
            if page.more_after.is_none() {
                return Ok(all);
            }
            after = page.more_after;
        }
    }

    /// How many actors of the cluster are in each state.
    pub async fn actor_counts(&self) -> Result<ActorCounts, ClusterError> {
        match self.ask(ToControl::Count).await? {
            ControlAnswer::Counts(counts) => readable(counts),
            other => Err(unexpected(other)),
        }
    }

    /// Why an actor is as it is; `None` if no actor of that key is known (any more).
    pub async fn explain_actor(&self, key: &str) -> Result<Option<ActorExplanation>, ClusterError> {
        match self.ask(ToControl::ExplainActor { key: key.to_owned() }).await? {
            ControlAnswer::Actor(explanation) => readable(explanation),
            other => Err(unexpected(other)),
        }
    }

    /// Why a node, by name or id, is as it is; `None` if it isn't known.
    pub async fn explain_node(&self, node: &str) -> Result<Option<NodeExplanation>, ClusterError> {
        match self.ask(ToControl::ExplainNode { node: node.to_owned() }).await? {
            ControlAnswer::Node(explanation) => readable(explanation),
            other => Err(unexpected(other)),
        }
    }

    /// What becomes of an actor of the cluster from now on, beginning with where it lives. Events come at most about a
    /// renewal interval late.
    pub fn watch(&self, key: &str) -> ActorWatch {
        let watch = self.0.following.follow(key);
        self.0.follow_now.notify_one();
        watch
    }

    async fn ask(&self, what: ToControl) -> Result<ControlAnswer, ClusterError> {
        self.0.ask_control(what, self.0.options.call_deadline).await
    }

    async fn done(&self, what: ToControl, deadline: Duration) -> Result<(), ClusterError> {
        match self.0.ask_control(what, deadline).await? {
            ControlAnswer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// What has gone over the lanes between this node and each other that it has known.
    pub fn lane_figures(&self) -> Vec<LaneFigures> {
        self.0.network.figures()
    }

    /// What the actors of this process have done and have before them.
    pub fn actor_figures(&self) -> ActorFigures {
        self.0.system.figures()
    }

    /// Whether an effect may start now: this node holds its lease. Asked before each effect.
    pub fn may_start_effects(&self) -> bool {
        self.0.lease.holds()
    }

    /// How this node stands with its cluster.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.clone()
    }

    /// The members as the control node sees them; empty elsewhere.
    pub fn members(&self) -> watch::Receiver<Vec<Member>> {
        self.0.members.clone()
    }

    /// Leaves the cluster in good order: ends the actors that were started here for it, says so, then ends.
    pub async fn leave(&self) {
        self.0.kinds.stop_all().await;
        // If nobody hears it, the lease runs out.
        let _ = self.0.member.ask(self.0.options.call_deadline, MemberMsg::Leave).await;
        self.stop().await;
    }

    /// Ends this node's part without a word, as a crash would.
    pub async fn stop(&self) {
        self.0.ended.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.following.end();
        self.0.system.stop(MEMBER).await;
        self.0.system.stop(CONTROL).await;
    }
}

impl Inner {
    async fn ask_control(&self, what: ToControl, deadline: Duration) -> Result<ControlAnswer, ClusterError> {
        let unreadable = |e: codec::CodecError| ClusterError::Control(e.to_string());
        let message = codec::encode(&Said::ToControl(what)).map_err(unreadable)?;
        let answer = self.carrier.call(self.control_node, message, deadline).await?;
        match codec::decode(&answer).map_err(unreadable)? {
            Answer::Control(answer) => Ok(answer),
            _ => Err(ClusterError::Control("it answered another question".into())),
        }
    }

    /// Asks how those stand that somebody follows.
    async fn ask_after(&self) {
        let keys = self.following.keys();
        for some in keys.chunks(FOLLOWED_AT_ONCE) {
            let asked = self.ask_control(ToControl::Follow { keys: some.to_vec() }, self.options.call_deadline).await;
            match asked {
                Ok(ControlAnswer::Followed(stand)) => self.following.take(some, stand),
                // It is asked again soon.
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "nothing is known of the actors that are followed"),
            }
        }
    }

    async fn handle(&self, from: NodeId, message: &[u8]) -> Result<Vec<u8>, String> {
        let said: Said = codec::decode(message).map_err(|e| e.to_string())?;
        let answer = match (said, &self.control) {
            (Said::AreYouThere, _) => Answer::Here,
            (Said::ToControl(what), Some(control)) => {
                // Spawns wait for a place as long as the caller does, who has a deadline of its own.
                let asked = control.ask(LONGEST, |reply| ControlMsg::Said { from, what, reply }).await;
                Answer::Control(asked.map_err(|e| e.to_string())?)
            }
            (Said::ToControl(_), None) => return Err("this isn't the control node".into()),
            (Said::ToNode(_), _) if from != self.control_node => return Err("only the control node says that".into()),
            (Said::ToNode(what), _) => {
                let asked = self.member.ask(LONGEST, |reply| MemberMsg::Told { what, reply }).await;
                Answer::Node(asked.map_err(|e| e.to_string())?)
            }
        };
        codec::encode(&answer).map_err(|e| e.to_string())
    }
}

/// Keys in one question.
const FOLLOWED_AT_ONCE: usize = 1000;

fn unexpected(answer: ControlAnswer) -> ClusterError {
    match answer {
        ControlAnswer::No(why) => ClusterError::Refused(why),
        _ => ClusterError::Control("it answered another question".into()),
    }
}

fn readable<T>(answer: Json<T>) -> Result<T, ClusterError> {
    answer.take().map_err(ClusterError::Control)
}

async fn follow(inner: Arc<Inner>) {
    loop {
        let pause = tokio::time::sleep(inner.options.membership.renew_every);
        tokio::select! {
            () = inner.ended.cancelled() => return,
            () = async { inner.ask_after().await; pause.await; } => {}
            () = inner.follow_now.notified() => {}
        }
    }
}

/// No call waits longer for its answer, whatever its caller says.
const LONGEST: Duration = Duration::from_secs(3600);

async fn tick(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(inner.options.tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = inner.ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // A full mailbox will be ticked the next time.
        let _ = inner.member.try_tell(MemberMsg::Tick);
        if let Some(control) = &inner.control {
            let _ = control.try_tell(ControlMsg::Tick);
        }
    }
}

/// Calls to this very node don't go over the network.
struct Homing {
    node: NodeId,
    carrier: Arc<dyn Carrier>,
    me: std::sync::OnceLock<std::sync::Weak<Inner>>,
}

impl Carrier for Homing {
    fn call(
        &self,
        to: NodeId,
        message: Vec<u8>,
        deadline: Duration,
    ) -> futures::future::BoxFuture<'static, Result<Vec<u8>, CarrierError>> {
        if to != self.node {
            return self.carrier.call(to, message, deadline);
        }
        let (node, me) = (self.node, self.me.get().and_then(std::sync::Weak::upgrade));
        Box::pin(async move {
            let me = me.ok_or_else(|| CarrierError::NotSent("this node is starting, or ending".into()))?;
            match tokio::time::timeout(deadline, me.handle(node, &message)).await {
                Ok(answer) => answer.map_err(CarrierError::Refused),
                Err(_) => Err(CarrierError::Unknown("the deadline has passed".into())),
            }
        })
    }
}
