//! The receiving half: into the mailboxes, in order; and what is owed to the senders.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::figures::Counters;
use super::frame::{Header, Kind, TRACED};
use super::outbox::Outbox;
use super::{LaneError, LaneOptions};
use crate::actor::{
    ActorAddr, AnySlot, Arrived, Home, KindId, Link, Packet, PortToken, Refusal, Tally, Toll, Undelivered,
};
use crate::codec;

/// How long a message that has arrived waits for room in a full mailbox: as long as its actor lives.
const PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) struct Inbound {
    me: Weak<Self>,
    link: Weak<dyn Link>,
    home: Home,
    options: LaneOptions,
    counters: Arc<Counters>,
    out: Arc<Outbox>,
    ended: CancellationToken,
    tasks: TaskTracker,
    destinations: Mutex<HashMap<u32, Arc<Destination>>>,
    owed: Owed,
}

/// What has been taken here and not been reported yet.
#[derive(Default)]
struct Owed {
    to: Mutex<Vec<Arc<Destination>>>,
    bytes: AtomicU64,
}

/// Where a channel of the other node leads.
struct Destination {
    channel: u32,
    to: ActorAddr,
    kind: KindId,
    slot: Option<Arc<dyn AnySlot>>,
    inbound: Weak<Inbound>,
    order: Mutex<Order>,
    messages: AtomicU32,
    bytes: AtomicU64,
    listed: AtomicBool,
}

#[derive(Default)]
struct Order {
    next: u32,
    /// Came over one connection before what precedes them came over the other.
    early: BTreeMap<u32, Waiting>,
    /// Wait for room in the mailbox.
    full: VecDeque<Waiting>,
    draining: bool,
}

/// A message that isn't in its mailbox yet.
struct Waiting {
    packet: Packet,
    seq: u32,
    /// Who asks, if it is a question.
    port: PortToken,
}

/// What an inbound half is made with.
pub(super) struct Setup {
    pub link: Weak<dyn Link>,
    pub home: Home,
    pub options: LaneOptions,
    pub counters: Arc<Counters>,
    pub out: Arc<Outbox>,
    pub ended: CancellationToken,
    pub tasks: TaskTracker,
}

impl Inbound {
    pub fn new(setup: Setup) -> Arc<Self> {
        let Setup { link, home, options, counters, out, ended, tasks } = setup;
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            link,
            home,
            options,
            counters,
            out,
            ended,
            tasks,
            destinations: Mutex::default(),
            owed: Owed::default(),
        })
    }

    pub fn open(&self, channel: u32, body: &[u8]) -> Result<(), LaneError> {
        let (to, kind): (ActorAddr, KindId) = codec::decode(body)?;
        let fresh = || {
            Arc::new(Destination {
                channel,
                to,
                kind,
                slot: self.home.find(to),
                inbound: self.me.clone(),
                order: Mutex::default(),
                messages: AtomicU32::new(0),
                bytes: AtomicU64::new(0),
                listed: AtomicBool::new(false),
            })
        };
        // Opened twice: once on each connection.
        lock(&self.destinations).entry(channel).or_insert_with(fresh);
        Ok(())
    }

    pub fn close(&self, channel: u32) {
        let closed = lock(&self.destinations).remove(&channel);
        if let Some(destination) = closed {
            destination.empty();
        }
    }

    /// Message `header.seq` of its channel has arrived.
    pub fn message(&self, header: Header, body: Bytes) -> Result<(), LaneError> {
        let destination = lock(&self.destinations).get(&header.channel).cloned();
        let destination = destination.ok_or(LaneError::Protocol("a message in a channel that wasn't opened"))?;
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.counters.received(body.len());
        let head = header.head as usize;
        if head > body.len() {
            return Err(LaneError::Protocol("a message shorter than its encoded part"));
        }
        let arrived = Arrived::new(body.slice(..head), body.slice(head..), header.flags & TRACED != 0);
        let toll = Some(Toll::new(destination.clone(), bytes));
        let packet = Packet { to: destination.to, kind: destination.kind, arrived, toll };
        let Some(link) = self.link.upgrade() else { return Err(LaneError::Ended) };
        self.in_order(&destination, Waiting { packet, seq: header.seq, port: PortToken(header.port) }, &link)
    }

    fn in_order(
        &self,
        destination: &Arc<Destination>,
        message: Waiting,
        link: &Arc<dyn Link>,
    ) -> Result<(), LaneError> {
        let mut order = lock(&destination.order);
        if order.early.len() + order.full.len() > self.options.channel_messages as usize {
            return Err(LaneError::Protocol("more messages than the channel has room for"));
        }
        if message.seq != order.next {
            order.early.insert(message.seq, message);
            return Ok(());
        }
        let mut next = Some(message);
        while let Some(message) = next {
            order.next = order.next.wrapping_add(1);
            self.hand_over(destination, &mut order, message, link);
            let seq = order.next;
            next = order.early.remove(&seq);
        }
        Ok(())
    }

    fn hand_over(&self, destination: &Arc<Destination>, order: &mut Order, message: Waiting, link: &Arc<dyn Link>) {
        let Waiting { packet, seq, port } = message;
        // A service may have come up since it was first asked for.
        let service = || self.home.find(destination.to).filter(|_| destination.to.is_service());
        let Some(slot) = destination.slot.clone().or_else(service) else {
            return self.refuse(destination, seq, port, &packet.refused(Refusal::Gone));
        };
        let full = match order.draining {
            true => packet,
            false => match slot.try_deliver(packet, link) {
                Ok(()) => return,
                Err(Undelivered::Full(packet)) => *packet,
                Err(Undelivered::Refused(refusal)) => return self.refuse(destination, seq, port, &refusal),
            },
        };
        order.full.push_back(Waiting { packet: full, seq, port });
        if !std::mem::replace(&mut order.draining, true) {
            let (destination, link) = (destination.clone(), link.clone());
            let (ended, inbound) = (self.ended.clone(), self.me.clone());
            let drain = async move {
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = drain(destination, slot, link, inbound) => {}
                }
            };
            self.tasks.spawn(drain);
        }
    }

    fn refuse(&self, destination: &Destination, seq: u32, port: PortToken, why: &Refusal) {
        tracing::debug!(to = %destination.to, ?why, "a message from another node is refused");
        self.counters.refused(why);
        let header = Header { channel: destination.channel, seq, port: port.0, ..Header::new(Kind::Refused) };
        match codec::encode(why) {
            Ok(bytes) => {
                self.out.put(header, &[&bytes]);
                self.out.flush();
            }
            Err(e) => tracing::warn!(error = %e, "a refusal could not be encoded"),
        }
    }

    /// Says what has been taken since it was last said, and to whom.
    fn put_credits(&self, out: &mut Vec<u8>) -> Vec<Arc<Destination>> {
        let owed = std::mem::take(&mut *lock(&self.owed.to));
        for destination in &owed {
            // In this order: what is taken from here on lists the destination again.
            destination.listed.store(false, Ordering::Release);
            let messages = destination.messages.swap(0, Ordering::AcqRel);
            let bytes = destination.bytes.swap(0, Ordering::AcqRel);
            self.owed.bytes.fetch_sub(bytes, Ordering::AcqRel);
            let header =
                Header { channel: destination.channel, seq: messages, port: bytes, ..Header::new(Kind::Credit) };
            // Either may lag behind the other.
            if messages > 0 || bytes > 0 {
                header.put(out, &[]);
            }
        }
        owed
    }

    /// Reports what is owed though it isn't much.
    pub fn settle(&self) {
        if !lock(&self.owed.to).is_empty() {
            self.credits_are_due();
        }
    }

    /// The lane has ended: nothing that waits here will be delivered.
    pub fn end(&self) {
        let destinations = std::mem::take(&mut *lock(&self.destinations));
        destinations.into_values().for_each(|destination| destination.empty());
        let owed = std::mem::take(&mut *lock(&self.owed.to));
        drop(owed);
    }

    fn credits_are_due(&self) {
        let mut told = Vec::new();
        self.out.put_with(|out| told = self.put_credits(out));
        self.out.flush();
        // Not before: a channel that ends here may be the last to hold an actor's messages, and those pay when they go.
        drop(told);
    }
}

/// Hands over what waits for room, one after the other.
async fn drain(destination: Arc<Destination>, slot: Arc<dyn AnySlot>, link: Arc<dyn Link>, inbound: Weak<Inbound>) {
    loop {
        let next = {
            let mut order = lock(&destination.order);
            let next = order.full.pop_front();
            order.draining = next.is_some();
            next
        };
        let Some(Waiting { packet, seq, port }) = next else { return };
        if let Err(refusal) = slot.clone().deliver(packet, &link, PATIENCE).await
            && let Some(inbound) = inbound.upgrade()
        {
            inbound.refuse(&destination, seq, port, &refusal);
        }
    }
}

impl Destination {
    /// Lets go of what waits; each message holds the destination that it waits in.
    fn empty(&self) {
        let waiting = std::mem::take(&mut *lock(&self.order));
        drop(waiting);
    }
}

impl Tally for Destination {
    fn taken(self: Arc<Self>, bytes: u32) {
        let Some(inbound) = self.inbound.upgrade() else { return };
        // The sum before its part, which is taken from it when it is reported.
        let all = inbound.owed.bytes.fetch_add(u64::from(bytes), Ordering::AcqRel) + u64::from(bytes);
        let here = self.bytes.fetch_add(u64::from(bytes), Ordering::AcqRel) + u64::from(bytes);
        let messages = self.messages.fetch_add(1, Ordering::AcqRel) + 1;
        let options = &inbound.options;
        let due = messages >= (options.channel_messages / 4).max(1)
            || here >= options.channel_bytes.as_u64() / 4
            || all >= options.window.as_u64() / 8;
        if !self.listed.swap(true, Ordering::AcqRel) {
            lock(&inbound.owed.to).push(self);
        }
        if due {
            inbound.credits_are_due();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
