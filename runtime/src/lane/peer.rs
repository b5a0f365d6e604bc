//! Another node, as the references to its actors see it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::session::Session;
use super::{LaneError, LaneOptions};
use crate::actor::{ActorAddr, Home, KindId, Link, Message, Parcel, PortTable, PortToken, Ref, Refusal, System};
use crate::id::{Incarnation, NodeId};

/// The way to one other node. References to its actors keep it; lanes to the node come and go.
pub struct Peer {
    node: NodeId,
    home: Home,
    ports: PortTable,
    lane: RwLock<Option<Lane>>,
    /// Finds the way to nodes other than this one, for references that came from here.
    routes: Mutex<Option<Weak<dyn Routes>>>,
    me: Weak<Self>,
}

#[derive(Clone)]
struct Lane {
    incarnation: Incarnation,
    session: Arc<Session>,
}

/// Knows the ways to nodes.
pub(crate) trait Routes: Send + Sync {
    fn toward(&self, node: NodeId) -> Option<Arc<dyn Link>>;
}

impl Peer {
    /// The way to `node`; no lane leads there yet.
    pub fn new(system: &System, node: NodeId) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            node,
            home: system.home().clone(),
            ports: PortTable::default(),
            lane: RwLock::default(),
            routes: Mutex::default(),
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
        let link: Weak<dyn Link> = self.me.clone();
        let (session, ended) = Session::start(interactive, bulk, link, self.home.clone(), options);
        let lane = Lane { incarnation, session: session.clone() };
        let before = self.lane.write().unwrap_or_else(PoisonError::into_inner).replace(lane);
        if let Some(before) = before {
            before.session.end();
            self.ports.clear();
        }
        // Whoever drops this future ends the lane.
        let guard = EndOnDrop(&session);
        let why = ended.await;
        drop(guard);
        let mut lane = self.lane.write().unwrap_or_else(PoisonError::into_inner);
        if lane.as_ref().is_some_and(|lane| Arc::ptr_eq(&lane.session, &session)) {
            *lane = None;
            drop(lane);
            // Nobody will answer what was asked over it.
            self.ports.clear();
        }
        why
    }

    /// A reference to an actor of that node.
    pub fn reference<M: Message>(self: &Arc<Self>, addr: ActorAddr) -> Ref<M> {
        Ref::there(addr, self.clone())
    }

    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where references lead that came from here and mean another node.
    pub(crate) fn set_routes(&self, routes: Weak<dyn Routes>) {
        *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = Some(routes);
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

    /// How many questions wait for an answer from that node.
    pub fn waiting(&self) -> usize {
        self.ports.waiting()
    }

    fn lane(&self, to: ActorAddr) -> Result<Arc<Session>, Refusal> {
        let lane = self.lane.read().unwrap_or_else(PoisonError::into_inner);
        match &*lane {
            None => Err(Refusal::NotSent(format!("no lane leads to node {} now", self.node))),
            Some(lane) if lane.incarnation != to.incarnation => {
                Err(Refusal::NotSent(format!("node {} has begun a new life since", self.node)))
            }
            Some(lane) => Ok(lane.session.clone()),
        }
    }

    #[cfg(test)]
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.lane.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|lane| lane.session.clone())
    }
}

struct EndOnDrop<'a>(&'a Session);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Link for Peer {
    fn deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move { self.lane(to)?.send(to, kind, parcel).await })
    }

    fn try_deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<(), Refusal> {
        self.lane(to)?.try_send(to, kind, parcel)
    }

    fn answer(&self, port: PortToken, answer: Option<Parcel>) {
        let lane = self.lane.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(lane) = lane {
            lane.session.answer(port, answer);
        }
    }

    fn ports(&self) -> &PortTable {
        &self.ports
    }

    fn toward(&self, addr: ActorAddr) -> Option<Arc<dyn Link>> {
        if addr.node == self.node {
            let me: Arc<dyn Link> = self.me.upgrade()?;
            return Some(me);
        }
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        routes?.upgrade()?.toward(addr.node)
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
