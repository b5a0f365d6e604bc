//! Messages that were refused because their actor has moved, on their way to where it is now.
//!
//! A refusal says that a message was certainly not delivered, so it may be sent again, and so may all that went the same way
//! after it: the actor's life that they were for is over. They go first: whoever follows the actor waits until nothing that
//! was sent to its earlier lives is on the way any more, so that nothing overtakes. What can't be brought there is given up,
//! and the question in it is told so.
//!
//! What waits here was within the bounds of the channel that it was refused in.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::Peer;
use super::channel::Channel;
use crate::actor::{ActorAddr, KindId, Link, Parcel, Refusal};
use crate::id::{ActorId, Generation};

/// How often those who wait look again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The actor's life that messages were for, and what they are.
type From = (ActorAddr, KindId);

/// Lives of an actor before one of them.
pub(super) struct Lives {
    now: ActorAddr,
    /// Only those after this one.
    after: Option<Generation>,
}

impl Lives {
    pub fn before(now: ActorAddr) -> Self {
        Self { now, after: None }
    }

    fn between(earlier: &ActorAddr, now: ActorAddr) -> Self {
        Self { now, after: Some(earlier.generation) }
    }

    pub fn actor(&self) -> ActorId {
        self.now.actor
    }

    pub fn has(&self, life: &ActorAddr) -> bool {
        let after = self.after.is_none_or(|after| after < life.generation);
        after && self.now.follows(life) && !life.is_service()
    }
}

#[derive(Default)]
pub(super) struct Forwarding {
    under_way: Mutex<HashMap<From, VecDeque<Parcel>>>,
    /// How many there are of those.
    count: AtomicUsize,
    /// How many of those have ended, and word of it.
    ended: AtomicU64,
    end: Notify,
}

impl Forwarding {
    /// Whether messages that were for one of these lives are on their way from here.
    fn is_under_way(&self, lives: &Lives) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.lock().keys().any(|(life, _)| lives.has(life))
    }

    /// Adds what `refused` gives, which until then was in its channel. Whether somebody has to begin.
    fn add(&self, from: From, refused: impl FnOnce() -> Vec<Parcel>) -> bool {
        let mut under_way = self.lock();
        // Before it is taken out there, so that it is seen in one place or the other.
        self.count.fetch_add(1, Ordering::AcqRel);
        let parcels = refused();
        let fresh = !parcels.is_empty() && !under_way.contains_key(&from);
        if !parcels.is_empty() {
            under_way.entry(from).or_default().extend(parcels);
        }
        self.count.store(under_way.len(), Ordering::Release);
        fresh
    }

    /// The next one; it is the end of them when there is none.
    fn next(&self, from: From) -> Option<Parcel> {
        let mut under_way = self.lock();
        let next = under_way.get_mut(&from).and_then(VecDeque::pop_front);
        if next.is_none() && under_way.remove(&from).is_some() {
            self.count.store(under_way.len(), Ordering::Release);
            self.ended.fetch_add(1, Ordering::AcqRel);
            self.end.notify_waiters();
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<From, VecDeque<Parcel>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was sent to earlier lives of an actor and can still be refused.
pub(super) enum Behind {
    OnTheWay(Arc<Channel>, Instant),
    Refused(Arc<Peer>),
}

impl Peer {
    /// Sends what was refused to where its actor is now. `refused` takes it out of its channel, and closes that.
    pub(super) fn forward(self: &Arc<Self>, from: From, now: ActorAddr, refused: impl FnOnce() -> Vec<Parcel>) {
        if self.forwarding.add(from, refused) {
            tokio::spawn(carry(Carrying { peer: self.clone(), from }, now));
        }
    }

    /// Something sent to one of these lives that isn't known to have been taken, over whichever way.
    pub(super) fn behind(&self, lives: &Lives) -> Option<Behind> {
        loop {
            let ways = self.routes().map_or_else(|| self.me.upgrade().into_iter().collect(), |routes| routes.peers());
            let ended = || ways.iter().map(|way| way.forwarding.ended.load(Ordering::Acquire)).sum::<u64>();
            let before = ended();
            let found = ways.iter().find_map(|way| way.behind_here(lives));
            // What has got from one way to another meanwhile may have been on neither when it was looked at.
            if found.is_some() || ended() == before {
                return found;
            }
        }
    }

    /// In this order: what is refused goes from the channel to those that are forwarded.
    fn behind_here(self: &Arc<Self>, lives: &Lives) -> Option<Behind> {
        let on_the_way = self.session().and_then(|session| session.behind(lives, self.parked));
        let refused = || self.forwarding.is_under_way(lives).then(|| Behind::Refused(self.clone()));
        on_the_way.map(|(channel, until)| Behind::OnTheWay(channel, until)).or_else(refused)
    }

    /// Waits until nothing is behind.
    pub(super) async fn settled(&self, lives: Lives) {
        while let Some(behind) = self.behind(&lives) {
            let soon = Instant::now() + LOOK_AGAIN;
            // Whether there was word of a change or not, the next look shows it.
            let _ = match behind {
                Behind::OnTheWay(channel, until) => timeout_at(until.min(soon).into(), channel.freed.notified()).await,
                Behind::Refused(peer) => timeout_at(soon.into(), peer.forwarding.end.notified()).await,
            };
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
        self.peer.forwarding.next(self.from)
    }

    async fn bring(&self, parcel: &Parcel, now: &mut ActorAddr) -> Result<(), Refusal> {
        loop {
            let no_way = || Refusal::NotSent(format!("no way leads to node {}", now.node));
            let link = self.peer.toward(*now).ok_or_else(no_way)?;
            self.peer.ports().redirect(parcel.port, now.node);
            match link.deliver(*now, self.from.1, parcel.clone()).await {
                Err(Refusal::Moved(newer)) if newer.follows(now) => *now = newer,
                brought => return brought,
            }
            self.peer.settled(Lives::between(&self.from.0, *now)).await;
        }
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
    // Some that are earlier may have come further already.
    carrying.peer.settled(Lives::between(&carrying.from.0, now)).await;
    while let Some(parcel) = carrying.next() {
        let Err(why) = carrying.bring(&parcel, &mut now).await else { continue };
        carrying.give_up(&parcel, why.clone());
        // That was waited for long enough: not for each of them.
        while let Refusal::NotSent(_) = why
            && let Some(parcel) = carrying.next()
        {
            carrying.give_up(&parcel, why.clone());
        }
    }
}
