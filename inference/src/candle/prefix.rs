//! Copies of prompts for later prompts that begin like them, or are the same.
//!
//! Least recently used first to go, bounded by bytes. What a copy stands for is decided by comparing its tokens, never
//! by a hash.

use candle_core::{Result, Tensor};

use super::kv::{Known, KvCache};
use crate::PinId;

/// Shorter ones are cheaper to compute again than to keep: some two seconds of a small machine.
const MIN_KEPT: usize = 128;

struct Prefix {
    known: Known,
    layers: Vec<(Tensor, Tensor)>,
    pin: Option<PinId>,
    used: u64,
}

/// Prompts that were at work earlier.
pub(super) struct PrefixCache {
    prefixes: Vec<Prefix>,
    token_bytes: usize,
    budget: u64,
    clock: u64,
}

impl PrefixCache {
    /// `budget` in bytes; with 0 nothing is ever reused, not even what lies in the sequence's own cache.
    pub(super) fn new(token_bytes: usize, budget: u64) -> Self {
        Self { prefixes: Vec::new(), token_bytes, budget, clock: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.prefixes.iter().map(|p| self.size(p)).sum()
    }

    pub(super) fn entries(&self) -> u32 {
        self.prefixes.len() as u32
    }

    /// Makes the cache hold what is known of a prompt and nothing else. Gives how many tokens that is, and the state
    /// after the prompt if that is all of it.
    pub(super) fn prepare(&mut self, cache: &mut KvCache, prompt: &[u32]) -> Result<(usize, Option<Tensor>)> {
        if self.budget == 0 {
            cache.cut(0);
            return Ok((0, None));
        }
        let (known, chunk) = (cache.known(), cache.chunk());
        let here = known.reusable(prompt, chunk);
        let best = self.prefixes.iter().map(|p| p.known.reusable(prompt, chunk)).max().unwrap_or(0);
        // Another prompt may want what is about to be overwritten.
        if known.tokens.len() - here >= MIN_KEPT {
            self.keep(cache, None)?;
        }
        let better = |p: &&mut Prefix| best > here && p.known.reusable(prompt, chunk) == best;
        match self.prefixes.iter_mut().find(better) {
            Some(prefix) => {
                self.clock += 1;
                prefix.used = self.clock;
                cache.restore(&prefix.layers, &prefix.known, best)?;
            }
            // Also where the better one had to go for the kept one: then what lies in the cache is what there is.
            None => cache.cut(here),
        }
        if cache.len() < prompt.len() {
            cache.reopen_prompt();
        }
        Ok((cache.len(), cache.known().state))
    }

    /// Copies what is known of the sequence in the cache; the least recently used ones that aren't pinned go for it.
    /// False if there is nothing or no room.
    pub(super) fn keep(&mut self, cache: &KvCache, pin: Option<PinId>) -> Result<bool> {
        let known = cache.known();
        let covered = self.prefixes.iter().any(|p| p.known.tokens.starts_with(&known.tokens));
        if known.tokens.is_empty() || (pin.is_none() && covered) {
            return Ok(!known.tokens.is_empty());
        }
        let size = (known.tokens.len() * self.token_bytes) as u64;
        let pinned: u64 = self.prefixes.iter().filter(|p| p.pin.is_some()).map(|p| self.size(p)).sum();
        if pinned + size > self.budget {
            return Ok(false);
        }
        // What is the beginning of the new one has next to nothing to add.
        self.prefixes.retain(|p| p.pin.is_some() || !known.tokens.starts_with(&p.known.tokens));
        while self.bytes() + size > self.budget {
            let unpinned = self.prefixes.iter().enumerate().filter(|(_, p)| p.pin.is_none());
            let Some((oldest, _)) = unpinned.min_by_key(|(_, p)| p.used) else { break };
            self.prefixes.swap_remove(oldest);
        }
        self.clock += 1;
        let layers = cache.copy(known.tokens.len())?;
        self.prefixes.push(Prefix { known, layers, pin, used: self.clock });
        Ok(true)
    }

    pub(super) fn unpin(&mut self, pin: PinId) {
        for prefix in self.prefixes.iter_mut().filter(|p| p.pin == Some(pin)) {
            prefix.pin = None;
        }
    }

    fn size(&self, prefix: &Prefix) -> u64 {
        (prefix.known.tokens.len() * self.token_bytes) as u64
    }
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
