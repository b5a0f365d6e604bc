//! Keys and values in blocks: who holds which, which ones other sequences may share, and which are given up first.
//!
//! A sequence's tokens lie in blocks of [`BLOCK`]. A block that is full is *published*: whoever comes with the same
//! tokens after the same tokens shares it. What is the same is decided by comparing the tokens themselves, block by block
//! from the beginning, never by a hash alone: a collision would show one agent another's context. A *salt* stands at the
//! beginning of every sequence, so that projects share nothing.
//!
//! Published blocks that nobody holds stay until their memory is needed: the one that was let go first, goes first.
//! Pure: it counts and remembers, the memory itself is the backend's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Tokens a block. Paged attention kernels for GPUs want a multiple of 32.
pub(crate) const BLOCK: usize = 32;

/// What stands before a block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Parent {
    /// Nothing but the salt.
    Root(Arc<str>),
    /// The published block with this number. Numbers are never used again.
    Block(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    parent: Parent,
    tokens: Box<[u32]>,
}

#[derive(Debug, Default)]
struct Block {
    holders: u32,
    /// Its number and what it is known by, if it is published.
    published: Option<(u64, Key)>,
    /// Its place among those that nobody holds.
    idle: Option<(bool, u64)>,
}

/// What of a sequence is there already.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whole blocks, held for the caller.
    pub(crate) blocks: Vec<u32>,
    /// What the next block's parent is.
    pub(crate) parent: Option<Parent>,
    /// A block, held for the caller, whose first so many tokens come next: to be copied.
    pub(crate) partial: Option<(u32, usize)>,
}

/// All blocks of a backend.
#[derive(Debug)]
pub(crate) struct BlockPool {
    blocks: Vec<Block>,
    known: HashMap<Key, u32>,
    children: HashMap<Parent, Vec<u32>>,
    /// Those that nobody holds: unpublished ones first, then in the order in which they were let go.
    idle: BTreeMap<(bool, u64), u32>,
    next: u64,
}

impl BlockPool {
    pub(crate) fn new(blocks: usize) -> Self {
        let mut pool = Self {
            blocks: (0..blocks).map(|_| Block::default()).collect(),
            known: HashMap::new(),
            children: HashMap::new(),
            idle: BTreeMap::new(),
            next: 0,
        };
        (0..blocks as u32).for_each(|block| pool.retire(block));
        pool
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that nobody holds, published or not.
    pub(crate) fn available(&self) -> usize {
        self.idle.len()
    }

    /// Published blocks, held or not.
    pub(crate) fn published(&self) -> usize {
        self.known.len()
    }

    /// How many whole blocks of these tokens are there, and how many of them nobody holds; holds nothing.
    pub(crate) fn peek(&self, salt: &Arc<str>, tokens: &[u32]) -> (usize, usize) {
        let (blocks, _) = self.walk(salt, tokens);
        let idle = blocks.iter().filter(|block| self.blocks[**block as usize].holders == 0).count();
        (blocks.len(), idle)
    }

    /// What is there of a sequence, but never all of it: its last token has to be computed, for what comes after it.
    pub(crate) fn find(&mut self, salt: &Arc<str>, tokens: &[u32]) -> Found {
        let (blocks, parent) = self.walk(salt, tokens);
        let rest = &tokens[blocks.len() * BLOCK..tokens.len().saturating_sub(1).max(blocks.len() * BLOCK)];
        let partial = self.longest_child(&parent, rest);
        for block in blocks.iter().copied().chain(partial.map(|(block, _)| block)) {
            self.hold(block);
        }
        Found { blocks, parent: Some(parent), partial }
    }

    fn walk(&self, salt: &Arc<str>, tokens: &[u32]) -> (Vec<u32>, Parent) {
        let mut parent = Parent::Root(Arc::clone(salt));
        let mut blocks = Vec::new();
        for tokens in tokens[..tokens.len().saturating_sub(1)].chunks_exact(BLOCK) {
            let key = Key { parent: parent.clone(), tokens: tokens.into() };
            let Some(block) = self.known.get(&key) else { break };
            let Some((number, _)) = &self.blocks[*block as usize].published else { break };
            parent = Parent::Block(*number);
            blocks.push(*block);
        }
        (blocks, parent)
    }

    fn longest_child(&self, parent: &Parent, rest: &[u32]) -> Option<(u32, usize)> {
        let common = |block: &u32| {
            let (_, key) = self.blocks[*block as usize].published.as_ref()?;
            Some((*block, key.tokens.iter().zip(rest).take_while(|(a, b)| a == b).count()))
        };
        let best = self.children.get(parent)?.iter().filter_map(common).max_by_key(|(_, n)| *n)?;
        (best.1 > 0).then_some(best)
    }

    /// A block that nobody else has; its contents are unknown. `None`: all are held.
    pub(crate) fn allocate(&mut self) -> Option<u32> {
        let (_, block) = self.idle.pop_first()?;
        self.forget(block);
        let taken = &mut self.blocks[block as usize];
        (taken.idle, taken.holders) = (None, 1);
        Some(block)
    }

    /// Lets others share a full block that the caller holds. Gives the parent of the next one.
    pub(crate) fn publish(&mut self, parent: &Parent, tokens: &[u32], block: u32) -> Parent {
        debug_assert_eq!(tokens.len(), BLOCK, "only full blocks are published");
        let key = Key { parent: parent.clone(), tokens: tokens.into() };
        if let Some(same) = self.known.get(&key)
            && let Some((number, _)) = &self.blocks[*same as usize].published
        {
            return Parent::Block(*number);
        }
        let number = self.number();
        self.known.insert(key.clone(), block);
        self.children.entry(key.parent.clone()).or_default().push(block);
        self.blocks[block as usize].published = Some((number, key));
        Parent::Block(number)
    }

    /// Lets go of blocks, given in their sequence's order: of those that are given up later, the last go first.
    pub(crate) fn release(&mut self, blocks: &[u32]) {
        for block in blocks.iter().rev() {
            let held = &mut self.blocks[*block as usize];
            debug_assert!(held.holders > 0, "released more often than held");
            held.holders = held.holders.saturating_sub(1);
            if held.holders == 0 {
                self.retire(*block);
            }
        }
    }

    fn hold(&mut self, block: u32) {
        let held = &mut self.blocks[block as usize];
        held.holders += 1;
        if let Some(place) = held.idle.take() {
            self.idle.remove(&place);
        }
    }

    fn retire(&mut self, block: u32) {
        let number = self.number();
        let retired = &mut self.blocks[block as usize];
        let place = (retired.published.is_some(), number);
        retired.idle = Some(place);
        self.idle.insert(place, block);
    }

    /// What comes after a forgotten block is found no more, since its number is gone; it is forgotten in its turn.
    fn forget(&mut self, block: u32) {
        let Some((_, key)) = self.blocks[block as usize].published.take() else { return };
        self.known.remove(&key);
        if let Some(children) = self.children.get_mut(&key.parent) {
            children.retain(|child| *child != block);
            if children.is_empty() {
                self.children.remove(&key.parent);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
