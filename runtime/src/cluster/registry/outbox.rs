//! Holds acts back until what they rest on is on disk.

use std::collections::VecDeque;

use super::core::Act;
use super::event::ClusterEvent;
use crate::time::Timestamp;

/// Records of one append.
const BATCH: usize = 256;

/// Records on their way to the journal, and the acts that wait for them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: VecDeque<(ClusterEvent, Timestamp)>,
    /// How many of them are being appended.
    in_flight: usize,
    /// Records so far.
    written: u64,
    /// Of them on disk.
    durable: u64,
    /// Acts, and how many records must be on disk before.
    held: VecDeque<(u64, Act)>,
    ready: Vec<Act>,
}

impl Outbox {
    pub fn record(&mut self, event: ClusterEvent, at: Timestamp) {
        self.written += 1;
        self.pending.push_back((event, at));
    }

    /// After all that is recorded by now.
    pub fn then(&mut self, act: Act) {
        if self.held.is_empty() && self.durable == self.written {
            self.ready.push(act);
        } else {
            self.held.push_back((self.written, act));
        }
    }

    pub fn at_once(&mut self, act: Act) {
        self.ready.push(act);
    }

    /// How many records there are by now; once so many are [on disk](Self::is_durable), these are.
    pub fn mark(&self) -> u64 {
        self.written
    }

    pub fn is_durable(&self, mark: u64) -> bool {
        self.durable >= mark
    }

    /// Records that aren't on disk yet.
    pub fn behind(&self) -> usize {
        self.pending.len()
    }

    pub fn take_ready(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.ready)
    }

    /// What is to be appended next, unless an append is under way; and whether that is all there is.
    pub fn next_batch(&mut self) -> Option<(Vec<(ClusterEvent, Timestamp)>, bool)> {
        if self.in_flight > 0 || self.pending.is_empty() {
            return None;
        }
        self.in_flight = self.pending.len().min(BATCH);
        Some((self.pending.iter().take(self.in_flight).cloned().collect(), self.in_flight == self.pending.len()))
    }

    /// The append under way is on disk.
    pub fn appended(&mut self) {
        let done = std::mem::take(&mut self.in_flight);
        self.pending.drain(..done);
        self.durable += done as u64;
        while let Some((_, act)) = self.held.pop_front_if(|(needs, _)| *needs <= self.durable) {
            self.ready.push(act);
        }
    }

    /// It isn't, or nobody knows: the same is appended again.
    pub fn not_appended(&mut self) {
        self.in_flight = 0;
    }
}
