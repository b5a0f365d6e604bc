//! The sending half: channels, and what may be on the way in them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::LaneOptions;
use crate::actor::{ActorAddr, KindId, Parcel, Refusal};
use crate::id::ActorId;

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
    /// What was sent and isn't known to have been taken, oldest first. Messages are taken in the order in which they were
    /// sent; a refusal says which message it means.
    kept: VecDeque<Kept>,
    parting: Option<Parting>,
}

struct Kept {
    seq: u32,
    parcel: Parcel,
}

/// The actor is known to be elsewhere, and what is on the way isn't known to have been taken or refused.
#[derive(Clone, Copy)]
enum Parting {
    Until(Instant),
    /// It took too long: later messages went ahead, so that earlier ones must not follow.
    Over,
}

/// Whether those who send to an actor that has moved may follow it.
pub(super) enum Left {
    /// All that went this way has been dealt with.
    All,
    /// Not yet; ask again at this time at the latest.
    Not(Instant),
}

/// What became of a refusal.
pub(super) enum Refused {
    /// These follow the actor, in this order: what was refused, and all that was sent after it and will be refused as well.
    Follow(Vec<Parcel>),
    /// Nothing follows: who asked is told.
    Tell,
    /// It has followed already.
    Nothing,
}

/// A place in a channel: its number there, and whether the bulk connection must hear of the channel first.
pub(super) struct Place {
    pub seq: u32,
    pub open_bulk: bool,
}

impl Channel {
    /// Takes the room for a message and sends it with `send`, which is called while nobody else can be given a place: the
    /// order of places is the order of sending. It gives the message back, to be kept until it has been taken.
    pub fn send(
        &self,
        bytes: u64,
        bulk: bool,
        window: &Window,
        options: &LaneOptions,
        send: impl FnOnce(Place) -> Parcel,
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
        let parcel = send(Place { seq, open_bulk });
        state.kept.push_back(Kept { seq, parcel });
        Ok(())
    }

    fn taken(&self, messages: u32, bytes: u64) {
        let mut state = self.lock();
        state.messages = state.messages.saturating_sub(messages);
        state.bytes = state.bytes.saturating_sub(bytes);
        let taken = state.kept.len().min(messages as usize);
        let taken: Vec<Kept> = state.kept.drain(..taken).collect();
        drop(state);
        self.freed.notify_waiters();
        // Outside the lock: there may be many, and large ones.
        drop(taken);
    }

    /// Message `seq` was refused, because the actor is at `now` if that is known. Room that it took is given back.
    pub fn refused(&self, seq: u32, why: &Refusal, now: Option<ActorAddr>, window: &Window) -> Refused {
        let mut state = self.lock();
        let Some(at) = state.kept.iter().position(|kept| kept.seq == seq) else { return Refused::Nothing };
        let follow = now.filter(|_| !matches!(state.parting, Some(Parting::Over)));
        let refused: Vec<Kept> = match follow {
            Some(_) => state.kept.drain(at..).collect(),
            None => state.kept.remove(at).into_iter().collect(),
        };
        let bytes = refused.iter().map(|kept| kept.parcel.len() as u64).sum();
        let messages = u32::try_from(refused.len()).unwrap_or(u32::MAX);
        state.messages = state.messages.saturating_sub(messages);
        state.bytes = state.bytes.saturating_sub(bytes);
        // What concerns the actor concerns all that follow; but a service may come up yet.
        match (now, why) {
            (Some(now), _) => state.over = Some(Refusal::Moved(now)),
            (None, Refusal::Gone) if !self.to.is_service() => state.over = Some(Refusal::Gone),
            _ => {}
        }
        drop(state);
        window.give(messages, bytes);
        self.freed.notify_waiters();
        match follow {
            Some(_) => Refused::Follow(refused.into_iter().map(|kept| kept.parcel).collect()),
            None => Refused::Tell,
        }
    }

    /// Whether senders may go to where the actor is now without overtaking what they sent here. After so much patience they
    /// may in any case, and what is refused here from then on is lost.
    pub fn left(&self, patience: Duration) -> Left {
        let mut state = self.lock();
        if state.over.is_some() || state.kept.is_empty() {
            return Left::All;
        }
        match *state.parting.get_or_insert_with(|| Parting::Until(Instant::now() + patience)) {
            Parting::Until(until) if Instant::now() < until => Left::Not(until),
            _ => {
                state.parting = Some(Parting::Over);
                Left::All
            }
        }
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
    /// Messages whose room was given back. Those that take it aren't counted here: that would be for each of them.
    returned: AtomicU64,
    size: u64,
    pub freed: Notify,
}

impl Window {
    pub fn new(size: u64) -> Self {
        Self { used: AtomicU64::new(0), returned: AtomicU64::new(0), size, freed: Notify::new() }
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |used: u64| fits(used, bytes, self.size).then(|| used + bytes);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn give(&self, messages: u32, bytes: u64) {
        self.returned.fetch_add(u64::from(messages), Ordering::Relaxed);
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // The update can't fail: its function always gives a value.
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        self.freed.notify_waiters();
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    pub fn returned(&self) -> u64 {
        self.returned.load(Ordering::Relaxed)
    }
}

/// The channels of one lane.
#[derive(Default)]
pub(super) struct Channels(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u32,
    /// To its lives, which are one as a rule.
    by_actor: HashMap<ActorId, Vec<Arc<Channel>>>,
    by_id: HashMap<u32, Arc<Channel>>,
}

impl Channels {
    /// The channel to an actor. `open` is called for a new one, before anybody can send in it.
    pub fn get(&self, to: ActorAddr, kind: KindId, open: impl FnOnce(&Channel)) -> Arc<Channel> {
        let mut table = self.lock();
        let known = table.by_actor.get(&to.actor).into_iter().flatten();
        if let Some(channel) = known.clone().find(|channel| channel.to == to && channel.kind == kind) {
            return channel.clone();
        }
        table.last = table.last.wrapping_add(1);
        let fresh = Channel { id: table.last, to, kind, state: Mutex::default(), freed: Notify::new() };
        let channel = Arc::new(fresh);
        table.by_actor.entry(to.actor).or_default().push(channel.clone());
        table.by_id.insert(channel.id, channel.clone());
        open(&channel);
        channel
    }

    pub fn credit(&self, channel: u32, messages: u32, bytes: u64, window: &Window) {
        if let Some(channel) = self.find(channel) {
            channel.taken(messages, bytes);
        }
        window.give(messages, bytes);
    }

    /// Closes what is idle; gives the numbers.
    pub fn sweep(&self) -> Vec<u32> {
        let mut table = self.lock();
        let idle: Vec<Arc<Channel>> = table.by_id.values().filter(|channel| channel.close_if_idle()).cloned().collect();
        for channel in &idle {
            table.by_id.remove(&channel.id);
            if let Entry::Occupied(mut of_actor) = table.by_actor.entry(channel.to.actor) {
                of_actor.get_mut().retain(|other| other.id != channel.id);
                if of_actor.get().is_empty() {
                    of_actor.remove();
                }
            }
        }
        idle.iter().map(|channel| channel.id).collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// The channels to lives of an actor.
    pub fn of(&self, actor: ActorId) -> Vec<Arc<Channel>> {
        self.lock().by_actor.get(&actor).cloned().unwrap_or_default()
    }

    pub fn find(&self, channel: u32) -> Option<Arc<Channel>> {
        self.lock().by_id.get(&channel).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
