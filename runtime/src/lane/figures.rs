//! What goes over the lanes to one node, in numbers: counted where it happens, looked at by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::actor::Refusal;
use crate::id::NodeId;

/// The lanes to one node since this one started, the present one and those before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneFigures {
    /// The other node.
    pub node: NodeId,
    /// Whether a lane leads there now.
    pub is_up: bool,
    /// Lanes that were made.
    pub made: u64,
    /// Messages given to a lane, and their bytes; answers are none.
    pub sent: (u64, u64),
    /// Messages that came, and their bytes.
    pub received: (u64, u64),
    /// Messages, and their bytes, that were sent over the present lane and that their actors aren't known to have taken.
    pub on_the_way: (u64, u64),
    /// Times that a sender had to wait for room.
    pub waits: u64,
    /// Times that a sender didn't wait and was told [`Busy`](crate::SendError::Busy).
    pub busy: u64,
    /// Messages from there that were refused here, by reason.
    pub refused: [(&'static str, u64); 4],
}

/// Relaxed: they are summed up by nobody who decides anything.
#[derive(Debug, Default)]
pub(super) struct Counters {
    made: AtomicU64,
    sent: [AtomicU64; 2],
    received: [AtomicU64; 2],
    waits: AtomicU64,
    busy: AtomicU64,
    refused: [AtomicU64; 4],
}

const REASONS: [&str; 4] = ["gone", "moved", "busy", "unreadable"];

impl Counters {
    pub fn made(&self) {
        add(&self.made, 1);
    }

    pub fn sent(&self, bytes: usize) {
        add(&self.sent[0], 1);
        add(&self.sent[1], bytes as u64);
    }

    /// Messages sent over all lanes so far.
    pub fn sent_messages(&self) -> u64 {
        get(&self.sent[0])
    }

    pub fn received(&self, bytes: usize) {
        add(&self.received[0], 1);
        add(&self.received[1], bytes as u64);
    }

    pub fn waits(&self) {
        add(&self.waits, 1);
    }

    pub fn busy(&self) {
        add(&self.busy, 1);
    }

    pub fn refused(&self, why: &Refusal) {
        let reason = match why {
            Refusal::Gone => 0,
            Refusal::Moved(_) => 1,
            Refusal::Busy => 2,
            Refusal::NotSent(_) => 3,
        };
        add(&self.refused[reason], 1);
    }

    pub fn figures(&self, node: NodeId, on_the_way: Option<(u64, u64)>) -> LaneFigures {
        let pair = |of: &[AtomicU64; 2]| (get(&of[0]), get(&of[1]));
        let refused = std::array::from_fn(|n| (REASONS[n], get(&self.refused[n])));
        LaneFigures {
            node,
            is_up: on_the_way.is_some(),
            made: get(&self.made),
            sent: pair(&self.sent),
            received: pair(&self.received),
            on_the_way: on_the_way.unwrap_or_default(),
            waits: get(&self.waits),
            busy: get(&self.busy),
            refused,
        }
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
