//! The sending half: channels, and what may be on the way in them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::LaneOptions;
use crate::actor::{ActorAddr, KindId, Refusal};

/// Why nothing can be sent just now.
#[derive(Debug)]
pub(super) enum Hindrance {
    /// The channel's bound or the lane's is used up.
    Full,
    /// It was closed as idle: take a new one.
    Closed,
    Refused(Refusal),
}

/// The messages to one life of one actor.
pub(super) struct Channel {
    pub id: u32,
    pub to: ActorAddr,
    pub kind: KindId,
    state: Mutex<State>,
    /// Something was taken, or the channel is over.
    pub freed: Notify,
}

#[derive(Default)]
struct State {
    seq: u32,
    messages: u32,
    bytes: u64,
    over: Option<Refusal>,
    closed: bool,
    /// Something was sent since the last look.
    used: bool,
    /// It has been opened on the bulk connection too.
    bulk: bool,
}

/// A place in a channel: its number there, and whether the bulk connection must hear of the channel first.
pub(super) struct Place {
    pub seq: u32,
    pub open_bulk: bool,
}

impl Channel {
    /// Takes the room for a message and sends it with `send`, which is called while nobody else can be given a place: the
    /// order of places is the order of sending.
    pub fn send(
        &self,
        bytes: u64,
        bulk: bool,
        window: &Window,
        options: &LaneOptions,
        send: impl FnOnce(Place),
    ) -> Result<(), Hindrance> {
        let mut state = self.lock();
        if let Some(refusal) = &state.over {
            return Err(Hindrance::Refused(refusal.clone()));
        }
        if state.closed {
            return Err(Hindrance::Closed);
        }
        let fits = fits(state.bytes, bytes, options.channel_bytes.as_u64());
        if state.messages >= options.channel_messages || !fits || !window.take(bytes) {
            return Err(Hindrance::Full);
        }
        let open_bulk = bulk && !state.bulk;
        let seq = state.seq;
        state.seq = seq.wrapping_add(1);
        state.messages += 1;
        state.bytes += bytes;
        state.used = true;
        state.bulk |= bulk;
        send(Place { seq, open_bulk });
        Ok(())
    }

    fn taken(&self, messages: u32, bytes: u64) {
        let mut state = self.lock();
        state.messages = state.messages.saturating_sub(messages);
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.freed.notify_waiters();
    }

    fn end(&self, why: Refusal) {
        self.lock().over = Some(why);
        self.freed.notify_waiters();
    }

    /// Closes it if nothing was sent since the last look and nothing is on the way.
    fn close_if_idle(&self) -> bool {
        let mut state = self.lock();
        let idle = !state.used && state.messages == 0;
        state.used = false;
        state.closed |= idle;
        idle
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether so many more bytes may be on the way.
///
/// While less than half of the bound is in use any message passes, however large: what has been taken is reported late (up
/// to a quarter of the bound), and a large message must not wait for such a rest. So a bound may be exceeded by one message.
fn fits(used: u64, bytes: u64, bound: u64) -> bool {
    used <= bound / 2 || used + bytes <= bound
}

/// Bytes that may be on the way in all channels together.
pub(super) struct Window {
    used: AtomicU64,
    size: u64,
    pub freed: Notify,
}

impl Window {
    pub fn new(size: u64) -> Self {
        Self { used: AtomicU64::new(0), size, freed: Notify::new() }
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |used: u64| fits(used, bytes, self.size).then(|| used + bytes);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn give(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // The update can't fail: its function always gives a value.
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        self.freed.notify_waiters();
    }

    #[cfg(test)]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }
}

/// The channels of one lane.
#[derive(Default)]
pub(super) struct Channels(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u32,
    by_actor: HashMap<(ActorAddr, KindId), Arc<Channel>>,
    by_id: HashMap<u32, Arc<Channel>>,
}

impl Channels {
    /// The channel to an actor. `open` is called for a new one, before anybody can send in it.
    pub fn get(&self, to: ActorAddr, kind: KindId, open: impl FnOnce(&Channel)) -> Arc<Channel> {
        let mut table = self.lock();
        if let Some(channel) = table.by_actor.get(&(to, kind)) {
            return channel.clone();
        }
        table.last = table.last.wrapping_add(1);
        let fresh = Channel { id: table.last, to, kind, state: Mutex::default(), freed: Notify::new() };
        let channel = Arc::new(fresh);
        table.by_actor.insert((to, kind), channel.clone());
        table.by_id.insert(channel.id, channel.clone());
        open(&channel);
        channel
    }

    pub fn credit(&self, channel: u32, messages: u32, bytes: u64, window: &Window) {
        if let Some(channel) = self.find(channel) {
            channel.taken(messages, bytes);
        }
        window.give(bytes);
    }

    /// A message was refused. What concerns the actor concerns all that follow.
    pub fn refused(&self, channel: u32, why: &Refusal) {
        let for_good = matches!(why, Refusal::Gone | Refusal::Moved(_));
        if let Some(channel) = self.find(channel).filter(|_| for_good) {
            channel.end(why.clone());
        }
    }

    /// Closes what is idle; gives the numbers.
    pub fn sweep(&self) -> Vec<u32> {
        let mut table = self.lock();
        let idle: Vec<Arc<Channel>> = table.by_id.values().filter(|channel| channel.close_if_idle()).cloned().collect();
        for channel in &idle {
            table.by_id.remove(&channel.id);
            table.by_actor.remove(&(channel.to, channel.kind));
        }
        idle.iter().map(|channel| channel.id).collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    fn find(&self, channel: u32) -> Option<Arc<Channel>> {
        self.lock().by_id.get(&channel).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
