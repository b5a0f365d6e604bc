//! The lanes of a node: made in pairs of connections, remade when they are lost, found by the references that need them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::ClusterError;
use super::hello::Hello;
use crate::actor::{ActorAddr, Inward, Link, Message, Ref, System};
use crate::id::{ActorId, Incarnation, NodeId};
use crate::lane::{LaneFigures, LaneOptions, Peer, Routes};
use crate::net::{Accepted, Endpoint, Plane, PlaneStream};

/// How lanes are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkOptions {
    /// Longest time for the two ends of a lane to introduce themselves, and for the second connection to follow the
    /// first. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub hello_deadline: Duration,
    /// Pause before a lane that was lost, or couldn't be made, is tried again; doubled up to 2 s. Default 50 ms.
    #[serde(with = "humantime_serde")]
    pub retry: Duration,
    /// How long a message waits for a lane that is being made, or for its actor to begin anew on another node; then its
    /// sender is told that it wasn't sent. So long at most it also waits for those of its sender that are still on the way to
    /// where the actor was; then it goes ahead of them, and they are lost. Longer than a lease. Default 10 s.
    #[serde(with = "humantime_serde")]
    pub parked: Duration,
    /// Bounds and batches of each lane.
    pub lane: LaneOptions,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            hello_deadline: Duration::from_secs(5),
            retry: Duration::from_millis(50),
            parked: Duration::from_secs(10),
            lane: LaneOptions::default(),
        }
    }
}

/// The longest pause between two attempts.
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// First halves of lanes that wait for their second.
const HALVES: usize = 1024;

/// This node's lanes. Cheap to clone.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    me: Weak<Self>,
    system: System,
    node: NodeId,
    incarnation: Incarnation,
    endpoint: Endpoint,
    options: NetworkOptions,
    peers: Mutex<HashMap<NodeId, Known>>,
    halves: Mutex<HashMap<(NodeId, Uuid), Half>>,
    inward: Arc<Inward>,
    /// Where actors are that have moved to another node, or begun anew there.
    moved: RwLock<HashMap<ActorId, ActorAddr>>,
    /// Whether any has; asked with every message.
    any_moved: AtomicBool,
    ended: CancellationToken,
    tasks: TaskTracker,
}

struct Known {
    peer: Arc<Peer>,
    /// Ends the task that keeps a lane to it, where this node is the one that dials.
    dialling: Option<CancellationToken>,
}

struct Half {
    plane: Plane,
    stream: PlaneStream,
    since: Instant,
}

impl Network {
    pub fn new(system: &System, incarnation: Incarnation, endpoint: Endpoint, options: NetworkOptions) -> Self {
        let node = endpoint.identity().node;
        Self(Arc::new_cyclic(|me| Inner {
            me: me.clone(),
            system: system.clone(),
            node,
            incarnation,
            endpoint,
            options,
            peers: Mutex::default(),
            halves: Mutex::default(),
            inward: Inward::new(system.home().clone()),
            moved: RwLock::default(),
            any_moved: AtomicBool::new(false),
            ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Sees to it that a lane to that node is there while it is wanted. Of two nodes the one with the lower id dials and
    /// the other waits, so that there is one lane and not two.
    pub fn want(&self, node: NodeId, addr: &str) {
        if node == self.0.node || self.0.ended.is_cancelled() {
            return;
        }
        let peer = self.peer(node);
        if node < self.0.node {
            return;
        }
        let ended = self.0.ended.child_token();
        let mut peers = self.0.peers();
        if let Some(known) = peers.get_mut(&node) {
            if let Some(before) = known.dialling.replace(ended.clone()) {
                before.cancel();
            }
            let (inner, addr) = (self.0.clone(), addr.to_owned());
            self.0.tasks.spawn(async move {
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = inner.keep(peer, addr) => {}
                }
            });
        }
    }

    /// Gives that node up: no lane to it is made any more. Messages to its actors wait for those to begin anew elsewhere.
    pub fn forget(&self, node: NodeId) {
        // The peer stays known, so that who waits there hears of moves.
        if let Some(known) = self.0.peers().get_mut(&node) {
            if let Some(dialling) = known.dialling.take() {
                dialling.cancel();
            }
            known.peer.close();
        }
    }

    /// Takes a connection of the lane's planes that the listener has accepted.
    pub fn accept(&self, accepted: Accepted) {
        let inner = self.0.clone();
        let ended = self.0.ended.clone();
        self.0.tasks.spawn(async move {
            let Some(node) = accepted.peer.as_ref().map(|peer| peer.node) else { return };
            let taking = inner.take(node, accepted.plane, accepted.stream);
            tokio::select! {
                () = ended.cancelled() => {}
                taken = taking => if let Err(error) = taken {
                    tracing::warn!(%node, %error, "a lane was not made");
                }
            }
        });
    }

    /// A reference to an actor of any node.
    pub fn reference<M: Message>(&self, addr: ActorAddr) -> Ref<M> {
        Ref::resolve(addr, Some(self.0.system.home()), self.0.toward(addr.node))
    }

    /// Whether a lane leads to that node now.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.0.peers().get(&node).is_some_and(|known| known.peer.is_up())
    }

    /// What has gone over the lanes to each node that was ever known.
    pub fn figures(&self) -> Vec<LaneFigures> {
        self.0.peers().values().map(|known| known.peer.figures()).collect()
    }

    /// Actors that live somewhere else by now. References follow them there.
    pub fn moved(&self, to: impl IntoIterator<Item = ActorAddr>) {
        let newer = |known: Option<&ActorAddr>, to: &ActorAddr| known.is_none_or(|at| at.generation < to.generation);
        {
            let mut moved = self.0.moved.write().unwrap_or_else(PoisonError::into_inner);
            for to in to {
                if newer(moved.get(&to.actor), &to) {
                    moved.insert(to.actor, to);
                    self.0.any_moved.store(true, Ordering::Release);
                }
            }
        }
        self.0.peers().values().for_each(|known| known.peer.moved());
    }

    /// That actor has ended: there is nowhere to follow it to.
    pub fn ended(&self, actor: ActorId) {
        self.0.moved.write().unwrap_or_else(PoisonError::into_inner).remove(&actor);
    }

    /// Ends all lanes.
    pub async fn stop(&self) {
        self.0.ended.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.halves().clear();
    }

    fn peer(&self, node: NodeId) -> Arc<Peer> {
        self.0.acquaint(node)
    }
}

impl Inner {
    /// Makes a lane, again and again.
    async fn keep(&self, peer: Arc<Peer>, addr: String) {
        let mut pause = self.options.retry;
        loop {
            let began = Instant::now();
            match self.dial(&peer, &addr).await {
                Ok((incarnation, interactive, bulk)) => {
                    let why = peer.clone().serve(incarnation, interactive, bulk, &self.options.lane).await;
                    tracing::info!(node = %peer.node(), %why, "a lane has ended");
                }
                Err(error) => tracing::debug!(node = %peer.node(), addr, %error, "no lane yet"),
            }
            if began.elapsed() > LONGEST_RETRY {
                pause = self.options.retry;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }

    async fn dial(&self, peer: &Peer, addr: &str) -> Result<(Incarnation, PlaneStream, PlaneStream), ClusterError> {
        let node = peer.node();
        let hello = Hello { pair: Uuid::new_v4(), incarnation: self.incarnation };
        let (mut interactive, _) = self.endpoint.dial(addr, Plane::Lane, Some(node)).await?;
        let (mut bulk, _) = self.endpoint.dial(addr, Plane::Bulk, Some(node)).await?;
        let introduce = async {
            hello.write(&mut interactive).await?;
            hello.write(&mut bulk).await?;
            let theirs = Hello::read(&mut interactive, node).await?;
            Hello::read(&mut bulk, node).await?;
            Ok::<_, ClusterError>(theirs.incarnation)
        };
        let incarnation = self.in_time(introduce).await?;
        Ok((incarnation, interactive, bulk))
    }

    /// The accepting side: two connections of one pair make a lane.
    async fn take(&self, node: NodeId, plane: Plane, mut stream: PlaneStream) -> Result<(), ClusterError> {
        let introduce = async {
            let theirs = Hello::read(&mut stream, node).await?;
            Hello { pair: theirs.pair, incarnation: self.incarnation }.write(&mut stream).await?;
            Ok::<_, ClusterError>(theirs)
        };
        let theirs = self.in_time(introduce).await?;
        let Some((interactive, bulk)) = self.pair(node, theirs.pair, plane, stream)? else { return Ok(()) };
        // A node that this one doesn't know yet is a member all the same: it has the cluster's certificate.
        let peer = self.acquaint(node);
        let why = peer.serve(theirs.incarnation, interactive, bulk, &self.options.lane).await;
        tracing::info!(%node, %why, "a lane has ended");
        Ok(())
    }

    /// What is known of that node, or a first note of it.
    fn acquaint(&self, node: NodeId) -> Arc<Peer> {
        let fresh = || {
            let routes: Weak<dyn Routes> = self.me.clone();
            let peer = Peer::with_routes(&self.system, node, Some(routes), self.options.parked);
            Known { peer, dialling: None }
        };
        self.peers().entry(node).or_insert_with(fresh).peer.clone()
    }

    /// The other half of the pair if it is here already; else this one waits for it.
    fn pair(
        &self,
        node: NodeId,
        pair: Uuid,
        plane: Plane,
        stream: PlaneStream,
    ) -> Result<Option<(PlaneStream, PlaneStream)>, ClusterError> {
        let mut halves = self.halves();
        halves.retain(|_, half| half.since.elapsed() < self.options.hello_deadline);
        match halves.remove(&(node, pair)) {
            Some(half) if half.plane != plane => Ok(Some(match plane {
                Plane::Lane => (stream, half.stream),
                _ => (half.stream, stream),
            })),
            Some(_) => Err(ClusterError::Hello("it opened the same half of a lane twice".into())),
            None if halves.len() >= HALVES => Err(ClusterError::HalfLane(self.options.hello_deadline)),
            None => {
                halves.insert((node, pair), Half { plane, stream, since: Instant::now() });
                Ok(None)
            }
        }
    }

    async fn in_time<T>(&self, f: impl Future<Output = Result<T, ClusterError>>) -> Result<T, ClusterError> {
        let late = |_| ClusterError::Hello(format!("nothing came within {:?}", self.options.hello_deadline));
        timeout(self.options.hello_deadline, f).await.map_err(late)?
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<NodeId, Known>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn halves(&self) -> MutexGuard<'_, HashMap<(NodeId, Uuid), Half>> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes for Inner {
    fn toward(&self, node: NodeId) -> Option<Arc<dyn Link>> {
        if node == self.node {
            return Some(self.inward.clone());
        }
        Some(self.acquaint(node))
    }

    fn peers(&self) -> Vec<Arc<Peer>> {
        Inner::peers(self).values().map(|known| known.peer.clone()).collect()
    }

    fn moved(&self, from: ActorAddr) -> Option<ActorAddr> {
        if !self.any_moved.load(Ordering::Acquire) {
            return None;
        }
        let moved = self.moved.read().unwrap_or_else(PoisonError::into_inner);
        moved.get(&from.actor).copied().filter(|to| to.generation > from.generation)
    }
}
