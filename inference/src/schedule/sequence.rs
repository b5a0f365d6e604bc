//! One sequence: its tokens, how many of them are computed, and where.

use super::Order;
use crate::Priority;
use crate::paged::{BLOCK, BlockPool, Parent};

/// The order in which sequences are served; the last one is preempted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: std::cmp::Reverse<Priority>,
    pub(super) arrival: u64,
    pub(super) preempted: bool,
}

#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) order: Order,
    /// Prompt and what was decoded.
    pub(super) tokens: Vec<u32>,
    /// Tokens whose keys and values are in the blocks.
    pub(super) computed: usize,
    pub(super) blocks: Vec<u32>,
    /// Tokens that were there when it was admitted first.
    pub(super) found: usize,
    published: usize,
    parent: Option<Parent>,
    arrival: u64,
    begun: bool,
}

impl Sequence {
    pub(super) fn new(mut order: Order, arrival: u64) -> Self {
        let tokens = std::mem::take(&mut order.prompt);
        Self {
            order,
            tokens,
            computed: 0,
            blocks: Vec::new(),
            found: 0,
            published: 0,
            parent: None,
            arrival,
            begun: false,
        }
    }

    pub(super) fn rank(&self) -> Rank {
        let priority = std::cmp::Reverse(self.order.priority);
        Rank { priority, arrival: self.arrival, preempted: self.begun }
    }

    /// Only what was decoded last is still to be computed.
    pub(super) fn decodes(&self) -> bool {
        self.computed > 0 && self.tokens.len() - self.computed <= 1
    }

    /// Begins, or begins again, with what is there.
    pub(super) fn begin(&mut self, blocks: Vec<u32>, parent: Option<Parent>) {
        self.published = blocks.len();
        self.computed = blocks.len() * BLOCK;
        self.blocks = blocks;
        self.parent = parent;
    }

    pub(super) fn note_found(&mut self) {
        if !self.begun {
            self.found = self.computed;
            self.begun = true;
        }
    }

    /// Its blocks are gone.
    pub(super) fn restart(&mut self) {
        self.begin(Vec::new(), None);
    }

    /// Whether this one is about to compute blocks that the other needs and that aren't there yet.
    pub(super) fn computes_for(&self, other: &Self, there: usize) -> bool {
        let open = self.computed < self.tokens.len();
        if !open || self.decodes() || self.order.salt != other.order.salt {
            return false;
        }
        let rest = &other.tokens[..other.tokens.len().saturating_sub(1)];
        let common = self.tokens.iter().zip(rest).take_while(|(a, b)| a == b).count() / BLOCK;
        common > there && common * BLOCK > self.computed
    }

    /// Publishes the blocks that became full.
    pub(super) fn publish(&mut self, pool: &mut BlockPool) {
        // What was computed beyond the tokens (a guess that isn't taken in yet) is nobody's business.
        let full = self.computed.min(self.tokens.len()) / BLOCK;
        for block in self.published..full {
            let tokens = &self.tokens[block * BLOCK..(block + 1) * BLOCK];
            let parent = self.parent.take().unwrap_or_else(|| Parent::Root(self.order.salt.clone()));
            self.parent = Some(pool.publish(&parent, tokens, self.blocks[block]));
        }
        self.published = self.published.max(full);
    }
}
