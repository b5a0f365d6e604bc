//! Messages that were refused because their actor has moved, on their way to where it is now.
//!
//! A refusal says that a message was certainly not delivered, so it may be sent again, and so may all that went the same way
//! after it: the actor's life that they were for is over. They go first: whoever has sent one of them hears only afterwards
//! where the actor is, so that nothing overtakes. What can't be brought there is given up, and the question in it is told so.
//!
//! What waits here was within the bounds of the channel that it was refused in.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Peer;
use crate::actor::{ActorAddr, KindId, Link, Parcel, Refusal};

/// The actor's life that messages were for, and what they are.
type From = (ActorAddr, KindId);

#[derive(Default)]
pub(super) struct Forwarding {
    under_way: Mutex<HashMap<From, VecDeque<Parcel>>>,
    /// How many there are of those; asked with every message.
    count: AtomicUsize,
    /// One of them has ended.
    done: Notify,
}

impl Forwarding {
    /// Whether messages that were refused there are still on their way.
    pub fn is_under_way(&self, from: From) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.lock().contains_key(&from)
    }

    /// Waits until none of them is on its way any more.
    pub async fn done(&self, from: From) {
        while self.is_under_way(from) {
            let done = self.done.notified();
            tokio::pin!(done);
            done.as_mut().enable();
            if self.is_under_way(from) {
                done.await;
            }
        }
    }

    /// Adds what `refused` gives, while nobody can be told that nothing is under way. Whether somebody has to begin.
    fn add(&self, from: From, refused: impl FnOnce() -> Vec<Parcel>) -> bool {
        let mut under_way = self.lock();
        let parcels = refused();
        if parcels.is_empty() {
            return false;
        }
        let fresh = !under_way.contains_key(&from);
        under_way.entry(from).or_default().extend(parcels);
        self.count.store(under_way.len(), Ordering::Release);
        fresh
    }

    /// The next one; it is the end of them when there is none.
    fn next(&self, from: From) -> Option<Parcel> {
        let mut under_way = self.lock();
        let next = under_way.get_mut(&from).and_then(VecDeque::pop_front);
        if next.is_none() {
            under_way.remove(&from);
            self.count.store(under_way.len(), Ordering::Release);
            drop(under_way);
            self.done.notify_waiters();
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<From, VecDeque<Parcel>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// Sends what was refused to where its actor is now. `refused` takes it out of its channel, and closes that.
    pub(super) fn forward(self: &Arc<Self>, from: From, now: ActorAddr, refused: impl FnOnce() -> Vec<Parcel>) {
        if self.forwarding().add(from, refused) {
            tokio::spawn(carry(Carrying { peer: self.clone(), from }, now));
        }
    }
}

/// As long as it lives, messages refused there are under way.
struct Carrying {
    peer: Arc<Peer>,
    from: From,
}

impl Carrying {
    fn next(&self) -> Option<Parcel> {
        self.peer.forwarding().next(self.from)
    }

    fn give_up(&self, parcel: &Parcel, why: Refusal) {
        tracing::debug!(to = %self.from.0, ?why, "a message can't follow its actor");
        self.peer.ports().refuse(parcel.port, why);
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        // None is left, unless the process ends or this task panicked.
        while let Some(parcel) = self.next() {
            self.give_up(&parcel, Refusal::NotSent("it was on its way to where its actor has moved".into()));
        }
    }
}

async fn carry(carrying: Carrying, mut now: ActorAddr) {
    while let Some(parcel) = carrying.next() {
        loop {
            let Some(link) = carrying.peer.toward(now) else {
                carrying.give_up(&parcel, Refusal::NotSent(format!("no way leads to node {}", now.node)));
                break;
            };
            carrying.peer.ports().redirect(parcel.port, now.node);
            match link.deliver(now, carrying.from.1, parcel.clone()).await {
                Ok(()) => break,
                Err(Refusal::Moved(newer)) if newer.follows(&now) => now = newer,
                Err(why) => {
                    carrying.give_up(&parcel, why);
                    break;
                }
            }
        }
    }
}
