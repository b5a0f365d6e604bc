//! Room for connections: while they shake hands, and after.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::id::NodeId;

/// The connections in their handshake, oldest first.
#[derive(Clone)]
pub(super) struct Handshakes {
    open: Arc<Mutex<VecDeque<Arc<Stranger>>>>,
    limit: usize,
}

struct Stranger {
    /// Whether it has said hello. Silence is free, a hello takes some work.
    spoke: AtomicBool,
    shed: CancellationToken,
}

/// A connection's room among the handshakes, given back when dropped.
pub(super) struct HandshakeRoom {
    stranger: Arc<Stranger>,
    open: Arc<Mutex<VecDeque<Arc<Stranger>>>>,
}

impl Handshakes {
    pub fn new(limit: usize) -> Self {
        Self { open: Arc::default(), limit }
    }

    /// Room for a new connection. Where there is none, the one that has been silent longest goes; if
    /// none is silent, there is no room: the newest is refused.
    pub fn enter(&self) -> Option<HandshakeRoom> {
        let mut open = lock(&self.open);
        if open.len() >= self.limit {
            let silent = open.iter().position(|stranger| !stranger.spoke.load(Ordering::Relaxed))?;
            open.remove(silent)?.shed.cancel();
        }
        let stranger = Arc::new(Stranger { spoke: AtomicBool::new(false), shed: CancellationToken::new() });
        open.push_back(stranger.clone());
        Some(HandshakeRoom { stranger, open: self.open.clone() })
    }

    pub fn len(&self) -> usize {
        lock(&self.open).len()
    }
}

impl HandshakeRoom {
    /// It said hello.
    pub fn spoke(&self) {
        self.stranger.spoke.store(true, Ordering::Relaxed);
    }

    /// Resolves when the room is needed for another.
    pub async fn shed(&self) {
        self.stranger.shed.cancelled().await;
    }
}

impl Drop for HandshakeRoom {
    fn drop(&mut self) {
        lock(&self.open).retain(|stranger| !Arc::ptr_eq(stranger, &self.stranger));
    }
}

/// How many connections each node has; `None` stands for all that are joining.
#[derive(Clone, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<Option<NodeId>, usize>>>);

/// A connection's place, given back when dropped.
pub(super) struct ConnectionSlot {
    node: Option<NodeId>,
    connections: Connections,
}

impl Connections {
    /// A place for one more, if there are fewer than `limit`.
    pub fn take(&self, node: Option<NodeId>, limit: usize) -> Option<ConnectionSlot> {
        let mut open = lock(&self.0);
        let count = open.entry(node).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(ConnectionSlot { node, connections: self.clone() })
    }

    pub fn len(&self) -> usize {
        lock(&self.0).values().sum()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = lock(&self.connections.0);
        let left = open.get(&self.node).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            open.remove(&self.node);
        } else {
            open.insert(self.node, left);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step: there is nothing half done to fear.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
