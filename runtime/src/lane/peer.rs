//! Another node, as the references to its actors see it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::figures::{Counters, LaneFigures};
use super::forward::{Forwarding, Lives};
use super::session::Session;
use super::{LaneError, LaneOptions};
use crate::actor::{ActorAddr, Home, KindId, Link, Message, Parcel, PortTable, PortToken, Ref, Refusal, System};
use crate::id::{Incarnation, NodeId};

/// The way to one other node. References to its actors keep it; lanes to the node come and go.
pub struct Peer {
    node: NodeId,
    home: Home,
    lane: RwLock<Option<Lane>>,
    /// A lane was made or an actor has moved.
    changed: Notify,
    pub(super) counters: Arc<Counters>,
    parking: Semaphore,
    /// What was refused there, because its actor had moved, and isn't where that is now.
    pub(super) forwarding: Forwarding,
    /// Finds the way to nodes other than this one, for references that came from here.
    routes: Option<Weak<dyn Routes>>,
    /// How long a message waits for a lane, or for its actor to begin anew elsewhere, or for those that went before it.
    pub(super) parked: Duration,
    pub(super) me: Weak<Self>,
}

#[derive(Clone)]
struct Lane {
    incarnation: Incarnation,
    session: Arc<Session>,
}

/// Knows the ways to nodes, and where actors have gone.
pub(crate) trait Routes: Send + Sync {
    fn toward(&self, node: NodeId) -> Option<Arc<dyn Link>>;

    /// The ways to all nodes that were ever known.
    fn peers(&self) -> Vec<Arc<Peer>>;

    /// Where an actor is by now, if that isn't where this address says.
    fn moved(&self, from: ActorAddr) -> Option<ActorAddr>;
}

/// Messages to one node that may wait so; one more is told to try later.
const PARKING_LOTS: usize = 1024;

impl Peer {
    /// The way to `node`; no lane leads there yet, and a message doesn't wait for one.
    pub fn new(system: &System, node: NodeId) -> Arc<Self> {
        Self::with_routes(system, node, None, Duration::ZERO)
    }

    /// The same where lanes come and go, and actors move: a message waits up to `parked` for either.
    pub(crate) fn with_routes(
        system: &System,
        node: NodeId,
        routes: Option<Weak<dyn Routes>>,
        parked: Duration,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            node,
            home: system.home().clone(),
            lane: RwLock::default(),
            changed: Notify::new(),
            counters: Arc::default(),
            parking: Semaphore::new(PARKING_LOTS),
            forwarding: Forwarding::default(),
            routes,
            parked,
            me: me.clone(),
        })
    }

    /// Takes a pair of connections to that life of the node into use, in place of an earlier one. Resolves when the lane
    /// has ended, with the reason.
    pub async fn serve<S>(
        self: Arc<Self>,
        incarnation: Incarnation,
        interactive: S,
        bulk: S,
        options: &LaneOptions,
    ) -> LaneError
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (session, ended) = Session::start(interactive, bulk, self.me.clone(), self.home.clone(), options);
        let lane = Lane { incarnation, session: session.clone() };
        let before = self.lane.write().unwrap_or_else(PoisonError::into_inner).replace(lane);
        self.counters.made();
        self.changed.notify_waiters();
        if let Some(before) = before {
            before.session.end();
            self.home.ports().clear(self.node);
        }
        // Whoever drops this future ends the lane just as well.
        let _in_use = InUse { peer: &self, session: &session };
        ended.await
    }

    /// A reference to an actor of that node.
    pub fn reference<M: Message>(self: &Arc<Self>, addr: ActorAddr) -> Ref<M> {
        Ref::there(addr, self.clone())
    }

    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Ends the lane that leads there now, if one does.
    pub(crate) fn close(&self) {
        if let Some(lane) = &*self.lane.read().unwrap_or_else(PoisonError::into_inner) {
            lane.session.end();
        }
    }

    /// Whether a lane leads there now.
    pub fn is_up(&self) -> bool {
        self.lane.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What has gone over the lanes there.
    pub fn figures(&self) -> LaneFigures {
        self.counters.figures(self.node, self.session().map(|session| session.outstanding()))
    }

    /// How many questions wait for an answer from that node.
    pub fn waiting(&self) -> usize {
        self.home.ports().waiting_for(self.node)
    }

    /// Actors have moved: who waits for one of them may go on.
    pub(crate) fn moved(&self) {
        self.changed.notify_waiters();
    }

    /// Where an actor of that node is that has refused a message, if it is anywhere.
    pub(super) fn now_at(&self, from: ActorAddr, why: &Refusal) -> Option<ActorAddr> {
        match why {
            Refusal::Moved(now) => Some(*now),
            Refusal::Gone => self.routes().and_then(|routes| routes.moved(from)),
            Refusal::Busy | Refusal::NotSent(_) => None,
        }
        .filter(|now| now.follows(&from))
    }

    pub(super) fn routes(&self) -> Option<Arc<dyn Routes>> {
        self.routes.as_ref()?.upgrade()
    }

    /// The lane to that life of the node, or where the actor is instead.
    fn way(&self, to: ActorAddr) -> Result<Arc<Session>, Refusal> {
        // First of all: its node may well be there, and have nothing of it any more.
        match self.routes().and_then(|routes| routes.moved(to)) {
            Some(now) => Err(Refusal::Moved(now)),
            None => self.lane(to),
        }
    }

    /// Like [`Peer::way`], but waits for a lane where there is none.
    async fn wait_for_way(&self, to: ActorAddr) -> Result<Arc<Session>, Refusal> {
        // Without routes nobody makes lanes, and nobody tells of moves.
        let hopeless = |refusal: &Refusal| !matches!(refusal, Refusal::NotSent(_)) || self.routes().is_none();
        match self.way(to) {
            Err(refusal) if !hopeless(&refusal) => {}
            found => return found,
        }
        let Ok(_lot) = self.parking.try_acquire() else { return Err(Refusal::Busy) };
        let until = Instant::now() + self.parked;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.way(to) {
                Err(refusal) if !hopeless(&refusal) => {
                    if timeout_at(until, changed).await.is_err() {
                        return Err(refusal);
                    }
                }
                found => return found,
            }
        }
    }

    /// Sends where there is a way and room in it, which is nearly always; else the message comes back.
    fn at_once(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<Result<(), Refusal>, Parcel> {
        match self.way(to) {
            Ok(session) if to.node == self.node => session.send_now(to, kind, parcel),
            _ => Err(parcel),
        }
    }

    fn elsewhere(&self, to: ActorAddr) -> Option<Result<Arc<dyn Link>, Refusal>> {
        let no_way = || Refusal::NotSent(format!("no way leads to node {}", to.node));
        (to.node != self.node).then(|| self.toward(to).ok_or_else(no_way))
    }

    fn lane(&self, to: ActorAddr) -> Result<Arc<Session>, Refusal> {
        let lane = self.lane.read().unwrap_or_else(PoisonError::into_inner);
        match &*lane {
            None => Err(Refusal::NotSent(format!("no lane leads to node {} now", self.node))),
            Some(lane) if lane.incarnation != to.incarnation && !to.is_service() => {
                Err(Refusal::NotSent(format!("node {} has begun a new life since", self.node)))
            }
            Some(lane) => Ok(lane.session.clone()),
        }
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.lane.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|lane| lane.session.clone())
    }
}

/// A lane for as long as it is served.
struct InUse<'a> {
    peer: &'a Peer,
    session: &'a Arc<Session>,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.session.end();
        let mut lane = self.peer.lane.write().unwrap_or_else(PoisonError::into_inner);
        if lane.as_ref().is_some_and(|lane| Arc::ptr_eq(&lane.session, self.session)) {
            *lane = None;
            drop(lane);
            // Nobody will answer what was asked over it.
            self.peer.home.ports().clear(self.peer.node);
        }
    }
}

impl Link for Peer {
    fn deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> BoxFuture<'_, Result<(), Refusal>> {
        let parcel = match self.at_once(to, kind, parcel) {
            Ok(sent) => return Box::pin(std::future::ready(sent)),
            Err(parcel) => parcel,
        };
        Box::pin(async move {
            if let Some(link) = self.elsewhere(to) {
                self.home.ports().redirect(parcel.port, to.node);
                return link?.deliver(to, kind, parcel).await;
            }
            self.wait_for_way(to).await?.send(to, kind, parcel).await
        })
    }

    fn try_deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<(), Refusal> {
        if let Some(link) = self.elsewhere(to) {
            self.home.ports().redirect(parcel.port, to.node);
            return link?.try_deliver(to, kind, parcel);
        }
        self.way(to)?.try_send(to, kind, parcel)
    }

    fn part(&self, now: ActorAddr) -> BoxFuture<'_, ()> {
        Box::pin(self.settled(Lives::before(now)))
    }

    fn has_parted(&self, now: ActorAddr) -> bool {
        self.behind(&Lives::before(now)).is_none()
    }

    fn answer(&self, port: PortToken, answer: Option<Parcel>) {
        let lane = self.lane.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(lane) = lane {
            lane.session.answer(port, answer);
        }
    }

    fn ports(&self) -> &PortTable {
        self.home.ports()
    }

    fn node(&self) -> Option<NodeId> {
        Some(self.node)
    }

    fn toward(&self, addr: ActorAddr) -> Option<Arc<dyn Link>> {
        if addr.node == self.node {
            let me: Arc<dyn Link> = self.me.upgrade()?;
            return Some(me);
        }
        self.routes()?.toward(addr.node)
    }

    fn home(&self) -> Option<&Home> {
        Some(&self.home)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({}, {})", self.node, if self.is_up() { "up" } else { "down" })
    }
}
