//! What an engine computes next: continuous batching over paged blocks. Pure: no clock, no threads, no tensors.
//!
//! ```text
//! submit → waiting ──admit──→ running ──plan──→ rows of one step ──computed/decoded──→ … → end
//!             ↑───────preempt────┘
//! ```
//! A step takes a bounded number of tokens. Sequences that decode come first, one token each (more when the rest of a
//! text is guessed or forced), then parts of prompts fill what is left, so that a long prompt delays the others by no
//! more than one step. A request is admitted by priority, then by how little its job has had so far, then by arrival.
//! When blocks run out, the sequence that would be admitted last gives its blocks back and is computed again later; what
//! it published is mostly still there then.
//!
//! Two requests with the same beginning compute it once: the second waits while a running one is still computing blocks
//! that both need.

mod draft;
mod sequence;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(crate) use self::draft::Drafts;
use self::sequence::{Rank, Sequence};
use crate::Priority;
use crate::paged::{BLOCK, BlockPool};

/// How a scheduler behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Tokens a step, at most.
    pub(crate) step: usize,
    /// Sequences at a time.
    pub(crate) sequences: usize,
    /// Tokens that are guessed ahead for one sequence; 0 turns it off.
    pub(crate) draft: usize,
    /// Guessing ends when more sequences than this decode: then the step is busy without.
    pub(crate) draft_below: usize,
}

/// One request, as the scheduler sees it.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) prompt: Vec<u32>,
    /// Only sequences with the same salt share blocks.
    pub(crate) salt: Arc<str>,
    /// Whose it is, for fairness.
    pub(crate) job: Arc<str>,
    pub(crate) priority: Priority,
    /// When it is too late, in milliseconds of any clock; the one that [`Scheduler::plan`] is told.
    pub(crate) late_at: u64,
    /// Only the prompt is computed, and its blocks are kept until the end.
    pub(crate) pin: bool,
}

/// The rows of one sequence in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) id: u64,
    /// The position of the first.
    pub(crate) position: usize,
    pub(crate) tokens: Vec<u32>,
    /// How many at the end are guesses.
    pub(crate) guessed: usize,
    /// The blocks of the whole sequence.
    pub(crate) blocks: Vec<u32>,
    /// They reach the sequence's end: the next token can be chosen.
    pub(crate) complete: bool,
}

/// One step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Blocks to copy before it, from and to.
    pub(crate) copies: Vec<(u32, u32)>,
    pub(crate) rows: Vec<Rows>,
    /// Whose time is up; they are ended already.
    pub(crate) late: Vec<u64>,
    /// Pins whose blocks are there, with how many tokens they hold.
    pub(crate) pinned: Vec<u64>,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) preempted: u64,
    pub(crate) guessed: u64,
    pub(crate) guessed_right: u64,
}

/// The scheduler of one engine.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    pool: BlockPool,
    waiting: Vec<Sequence>,
    running: Vec<Sequence>,
    /// Computed, and kept.
    pinned: BTreeMap<u64, Vec<u32>>,
    /// Tokens computed for each job that has requests, from where the others were when it came.
    served: HashMap<Arc<str>, u64>,
    arrivals: u64,
    tally: Tally,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits, blocks: usize) -> Self {
        Self {
            limits,
            pool: BlockPool::new(blocks),
            waiting: Vec::new(),
            running: Vec::new(),
            pinned: BTreeMap::new(),
            served: HashMap::new(),
            arrivals: 0,
            tally: Tally::default(),
        }
    }

    pub(crate) fn pool(&self) -> &BlockPool {
        &self.pool
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Nothing to compute.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Whether a sequence of so many tokens could ever be computed.
    pub(crate) fn fits(&self, tokens: usize) -> bool {
        let pinned: usize = self.pinned.values().map(Vec::len).sum();
        tokens.div_ceil(BLOCK) + pinned <= self.pool.len()
    }

    /// Takes a request. One that doesn't fit would wait for ever: see [`Scheduler::fits`].
    pub(crate) fn submit(&mut self, order: Order) {
        let others = self.served.values().min().copied().unwrap_or(0);
        self.served.entry(Arc::clone(&order.job)).or_insert(others);
        self.arrivals += 1;
        self.waiting.push(Sequence::new(order, self.arrivals));
    }

    /// How many tokens of a sequence's prompt were found when it was admitted first.
    pub(crate) fn found(&self, id: u64) -> usize {
        self.running.iter().find(|s| s.order.id == id).map_or(0, |s| s.found)
    }

    /// The next step. An empty one: there is nothing to do, or everything waits for what others hold.
    pub(crate) fn plan(&mut self, now: u64, drafts: &mut Drafts) -> Plan {
        let mut plan = Plan::default();
        self.end_late(now, &mut plan);
        let mut left = self.limits.step;
        self.running.sort_by_key(Sequence::rank);
        let decoding = self.running.iter().filter(|s| s.decodes()).count();
        let draft = if decoding <= self.limits.draft_below { self.limits.draft } else { 0 };
        for decoding in [true, false] {
            let ids: Vec<u64> = self.running.iter().filter(|s| s.decodes() == decoding).map(|s| s.order.id).collect();
            for id in ids {
                let guesses = if decoding { drafts.of(id, draft) } else { Vec::new() };
                left -= self.schedule(id, left, guesses, &mut plan);
            }
        }
        while left > 0 && self.running.len() < self.limits.sequences {
            let Some(id) = self.admit(&mut plan) else { break };
            match self.schedule(id, left, Vec::new(), &mut plan) {
                // It gave its place back.
                0 => break,
                rows => left -= rows,
            }
        }
        plan
    }

    fn end_late(&mut self, now: u64, plan: &mut Plan) {
        let all = self.waiting.iter().chain(&self.running);
        plan.late = all.filter(|s| s.order.late_at <= now).map(|s| s.order.id).collect();
        for id in plan.late.clone() {
            self.end(id);
        }
    }

    /// Puts a sequence's next rows into the step; gives how many.
    fn schedule(&mut self, id: u64, left: usize, guesses: Vec<u32>, plan: &mut Plan) -> usize {
        let Some(at) = self.running.iter().position(|s| s.order.id == id) else { return 0 };
        let sequence = &self.running[at];
        let open = sequence.tokens.len() - sequence.computed;
        let take = open.min(left);
        if take == 0 {
            return 0;
        }
        let complete = take == open;
        let room = (self.pool.available() + sequence.blocks.len()) * BLOCK;
        let room = room.saturating_sub(sequence.tokens.len());
        // Nobody is preempted for a guess.
        let guesses: Vec<u32> = guesses.into_iter().take(if complete { (left - take).min(room) } else { 0 }).collect();
        let needed = (sequence.computed + take + guesses.len()).div_ceil(BLOCK);
        let has_room = self.make_room(id, needed);
        // Whoever was preempted for it and planned already is computed later. At once: it may be admitted again in this
        // very step, and its blocks are others then.
        plan.rows.retain(|rows| self.running.iter().any(|s| s.order.id == rows.id));
        if !has_room {
            return 0;
        }
        let Some(sequence) = self.running.iter_mut().find(|s| s.order.id == id) else { return 0 };
        let mut tokens = sequence.tokens[sequence.computed..sequence.computed + take].to_vec();
        tokens.extend(&guesses);
        let rows = tokens.len();
        *self.served.entry(Arc::clone(&sequence.order.job)).or_insert(0) += rows as u64;
        self.tally.guessed += guesses.len() as u64;
        plan.rows.push(Rows {
            id,
            position: sequence.computed,
            tokens,
            guessed: guesses.len(),
            blocks: sequence.blocks.clone(),
            complete,
        });
        rows
    }

    /// Gives a sequence its blocks, if need be by taking them from those that come after it. False: it must wait.
    fn make_room(&mut self, id: u64, needed: usize) -> bool {
        loop {
            let Some(at) = self.running.iter().position(|s| s.order.id == id) else { return false };
            while self.running[at].blocks.len() < needed
                && let Some(block) = self.pool.allocate()
            {
                self.running[at].blocks.push(block);
            }
            if self.running[at].blocks.len() >= needed {
                return true;
            }
            let last = self.running.iter().max_by_key(|s| s.rank()).map(|s| s.order.id);
            match last {
                Some(victim) => self.preempt(victim),
                None => return false,
            }
            if last == Some(id) {
                return false;
            }
        }
    }

    fn preempt(&mut self, id: u64) {
        let Some(at) = self.running.iter().position(|s| s.order.id == id) else { return };
        let mut sequence = self.running.remove(at);
        self.pool.release(&sequence.blocks);
        sequence.restart();
        self.tally.preempted += 1;
        self.waiting.push(sequence);
    }

    /// Lets the next request run, if there is one and it can begin.
    fn admit(&mut self, plan: &mut Plan) -> Option<u64> {
        let mut order: Vec<(Rank, u64, usize)> = Vec::new();
        for (at, sequence) in self.waiting.iter().enumerate() {
            let served = self.served.get(&sequence.order.job).copied().unwrap_or(0);
            order.push((sequence.rank(), served, at));
        }
        // Priority, then the job that had least, then arrival.
        order.sort_by_key(|(rank, served, _)| (rank.priority, !rank.preempted, *served, rank.arrival));
        let at = order.into_iter().map(|(_, _, at)| at).find(|at| self.may_begin(&self.waiting[*at]))?;
        let mut sequence = self.waiting.remove(at);
        let found = self.pool.find(&sequence.order.salt, &sequence.tokens);
        sequence.begin(found.blocks, found.parent);
        if let Some((from, tokens)) = found.partial {
            if let Some(to) = self.pool.allocate() {
                plan.copies.push((from, to));
                sequence.blocks.push(to);
                sequence.computed += tokens;
            }
            // The copy is made before anything is written: nobody can get hold of the source in between.
            self.pool.release(&[from]);
        }
        sequence.note_found();
        let id = sequence.order.id;
        self.running.push(sequence);
        Some(id)
    }

    fn may_begin(&self, sequence: &Sequence) -> bool {
        let (there, idle) = self.pool.peek(&sequence.order.salt, &sequence.tokens);
        // Blocks that are there and that nobody holds are among the available ones until it holds them.
        let needed = (sequence.tokens.len() + 1).div_ceil(BLOCK) - there + idle;
        // With nobody running it begins in any case: what can't be had now never can.
        let room = self.running.is_empty() || needed <= self.pool.available();
        room && !self.running.iter().any(|running| running.computes_for(sequence, there))
    }

    /// A step was computed: so many rows of the sequence stand. The rest were wrong guesses.
    pub(crate) fn computed(&mut self, id: u64, rows: usize, guessed_right: usize, plan: &mut Plan) {
        let Some(at) = self.running.iter().position(|s| s.order.id == id) else { return };
        self.tally.guessed_right += guessed_right as u64;
        let sequence = &mut self.running[at];
        sequence.computed += rows;
        // Guesses that were right are tokens now, so that full blocks of them can be published.
        sequence.publish(&mut self.pool);
        if sequence.order.pin && sequence.computed == sequence.tokens.len() {
            let sequence = self.running.remove(at);
            plan.pinned.push(id);
            self.pinned.insert(id, sequence.blocks);
            self.forget_job(&sequence.order.job);
        }
    }

    /// Tokens were chosen: they are computed in the next step.
    pub(crate) fn decoded(&mut self, id: u64, tokens: &[u32]) {
        if let Some(sequence) = self.running.iter_mut().find(|s| s.order.id == id) {
            sequence.tokens.extend_from_slice(tokens);
        }
    }

    /// Ends a request or a pin: what it held is free at once.
    pub(crate) fn end(&mut self, id: u64) {
        if let Some(blocks) = self.pinned.remove(&id) {
            self.pool.release(&blocks);
        }
        let of = |s: &Sequence| s.order.id == id;
        let ended = match self.waiting.iter().position(of) {
            Some(at) => Some(self.waiting.remove(at)),
            None => self.running.iter().position(of).map(|at| self.running.remove(at)),
        };
        if let Some(sequence) = ended {
            self.pool.release(&sequence.blocks);
            self.forget_job(&sequence.order.job);
        }
    }

    fn forget_job(&mut self, job: &Arc<str>) {
        if !self.waiting.iter().chain(&self.running).any(|s| s.order.job == *job) {
            self.served.remove(job);
        }
    }
}
