//! The KV cache of the sequence at work, and copies of prompt prefixes for later prompts.
//!
//! Only whole chunks of a prompt are ever reused: they were computed in the same steps as they would be again
//! (see [`super::model`]), tokens decoded one by one were not. What a prefix stands for is decided by comparing its
//! tokens, never by a hash.

use candle_core::{DType, Device, Result, Tensor};

use super::model::{CHUNK, Shape};
use crate::PinId;

/// Prefixes shorter than this are cheaper to compute again than to keep.
const MIN_KEPT: usize = 4 * CHUNK;

/// Keys and values of one sequence, room for the whole context.
pub(super) struct KvCache {
    /// For each layer keys and values, `[kv_heads, context, head_dim]`.
    layers: Vec<(Tensor, Tensor)>,
    tokens: Vec<u32>,
    /// How many tokens, from the first, came in as whole chunks.
    chunked: usize,
}

impl KvCache {
    pub(super) fn new(shape: &Shape, context: usize) -> Result<Self> {
        let zeros = || Tensor::zeros((shape.kv_heads, context, shape.head_dim), DType::F32, &Device::Cpu);
        let layers = (0..shape.layers).map(|_| Ok((zeros()?, zeros()?))).collect::<Result<_>>()?;
        Ok(Self { layers, tokens: Vec::new(), chunked: 0 })
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The part of the prompt that can be reused as it is.
    pub(super) fn chunked(&self) -> &[u32] {
        &self.tokens[..self.chunked]
    }

    /// Writes the next tokens' keys and values of one layer and gives all up to and with them.
    pub(super) fn append(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let (at, n) = (self.tokens.len(), k.dims()[1]);
        let (keys, values) = &self.layers[layer];
        keys.slice_set(&k.contiguous()?, 1, at)?;
        values.slice_set(&v.contiguous()?, 1, at)?;
        Ok((keys.narrow(1, 0, at + n)?, values.narrow(1, 0, at + n)?))
    }

    /// After all layers have appended.
    pub(super) fn advance(&mut self, tokens: &[u32]) {
        if self.chunked == self.tokens.len() && tokens.len() == CHUNK {
            self.chunked += CHUNK;
        }
        self.tokens.extend_from_slice(tokens);
    }

    /// Forgets all but the first `len` tokens.
    pub(super) fn cut(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.chunked = self.chunked.min(len / CHUNK * CHUNK);
    }

    fn copy(&self, len: usize) -> Result<Vec<(Tensor, Tensor)>> {
        // force_contiguous copies even where a narrowed tensor already lies in one piece.
        let part = |t: &Tensor| t.narrow(1, 0, len)?.force_contiguous();
        self.layers.iter().map(|(k, v)| Ok((part(k)?, part(v)?))).collect()
    }

    fn restore(&mut self, prefix: &Prefix, len: usize) -> Result<()> {
        for ((k, v), (pk, pv)) in self.layers.iter().zip(&prefix.layers) {
            k.slice_set(&pk.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
            v.slice_set(&pv.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
        }
        self.tokens = prefix.tokens[..len].to_vec();
        self.chunked = len;
        Ok(())
    }
}

struct Prefix {
    tokens: Vec<u32>,
    layers: Vec<(Tensor, Tensor)>,
    pin: Option<PinId>,
    used: u64,
}

/// Prefixes of earlier prompts, least recently used first to go, bounded by bytes.
pub(super) struct PrefixCache {
    prefixes: Vec<Prefix>,
    token_bytes: usize,
    budget: u64,
    clock: u64,
}

impl PrefixCache {
    pub(super) fn new(token_bytes: usize, budget: u64) -> Self {
        Self { prefixes: Vec::new(), token_bytes, budget, clock: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.prefixes.iter().map(|p| self.size(p.tokens.len())).sum()
    }

    pub(super) fn entries(&self) -> u32 {
        self.prefixes.len() as u32
    }

    fn size(&self, tokens: usize) -> u64 {
        (tokens * self.token_bytes) as u64
    }

    /// Makes the cache hold the longest known prefix of a prompt and nothing else, and says how long that is.
    ///
    /// At least the prompt's last token is left to compute: its logits are what is wanted.
    pub(super) fn prepare(&mut self, cache: &mut KvCache, prompt: &[u32]) -> Result<usize> {
        if self.budget == 0 {
            cache.cut(0);
            return Ok(0);
        }
        let here = shared_chunks(cache.chunked(), prompt);
        let lengths = self.prefixes.iter().map(|p| shared_chunks(&p.tokens, prompt));
        let best = lengths.enumerate().max_by_key(|(_, len)| *len).filter(|(_, len)| *len > here);
        let kept = best.map_or(here, |(_, len)| len);
        let lost = cache.chunked().len() - here;
        // Another may want what is about to be overwritten. Adding moves entries, so the restored one is found again.
        if lost >= MIN_KEPT {
            self.keep(cache, None)?;
        }
        let found = self.prefixes.iter_mut().find(|p| kept > here && shared_chunks(&p.tokens, prompt) == kept);
        match found {
            Some(prefix) => {
                self.clock += 1;
                prefix.used = self.clock;
                cache.restore(prefix, kept)?;
                Ok(kept)
            }
            // Also where the restored one had to go for the kept one: then what lies in the cache is what there is.
            None => {
                cache.cut(here);
                Ok(here)
            }
        }
    }

    /// Copies the chunks in the cache, dropping the least recently used ones that aren't pinned for it.
    /// False if there is no room.
    pub(super) fn keep(&mut self, cache: &KvCache, pin: Option<PinId>) -> Result<bool> {
        let tokens = cache.chunked();
        let known = self.prefixes.iter().any(|p| p.tokens.starts_with(tokens));
        if tokens.is_empty() || (pin.is_none() && known) {
            return Ok(!tokens.is_empty());
        }
        let size = self.size(tokens.len());
        let pinned: u64 = self.prefixes.iter().filter(|p| p.pin.is_some()).map(|p| self.size(p.tokens.len())).sum();
        if pinned + size > self.budget {
            return Ok(false);
        }
        // One that is the beginning of the new one has nothing to add.
        self.prefixes.retain(|p| p.pin.is_some() || !tokens.starts_with(&p.tokens));
        while self.bytes() + size > self.budget {
            let unpinned = self.prefixes.iter().enumerate().filter(|(_, p)| p.pin.is_none());
            let Some((oldest, _)) = unpinned.min_by_key(|(_, p)| p.used) else { break };
            self.prefixes.swap_remove(oldest);
        }
        self.clock += 1;
        let layers = cache.copy(tokens.len())?;
        self.prefixes.push(Prefix { tokens: tokens.to_vec(), layers, pin, used: self.clock });
        Ok(true)
    }

    pub(super) fn unpin(&mut self, pin: PinId) {
        for prefix in self.prefixes.iter_mut().filter(|p| p.pin == Some(pin)) {
            prefix.pin = None;
        }
    }
}

/// Tokens of the whole chunks that a prompt begins with and that are known, less the chunk of its last token.
fn shared_chunks(known: &[u32], prompt: &[u32]) -> usize {
    let usable = prompt.len().saturating_sub(1);
    let shared = known.iter().zip(&prompt[..usable]).take_while(|(a, b)| a == b).count();
    shared / CHUNK * CHUNK
}

#[cfg(test)]
#[path = "kv_tests.rs"]
mod tests;
