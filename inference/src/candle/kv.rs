//! The KV cache of the sequence at work.
//!
//! It knows which of its tokens may serve another prompt: whole chunks of a prompt, which were computed in the same
//! steps as they would be again (see [`super::model`]), and a whole prompt for the very same prompt. Tokens that were
//! decoded one by one are never reused.

use candle_core::{DType, Device, Result, Tensor};

use super::model::Shape;

/// Keys and values of one sequence, room for the whole context.
pub(super) struct KvCache {
    /// For each layer keys and values, `[kv_heads, context, head_dim]`.
    layers: Vec<(Tensor, Tensor)>,
    tokens: Vec<u32>,
    /// Tokens of a prompt that are computed together.
    chunk: usize,
    /// How many tokens, from the first, came in as whole chunks.
    chunked: usize,
    prompt: Option<PromptEnd>,
}

/// Where a prompt ended, and the model's state there.
struct PromptEnd {
    len: usize,
    state: Tensor,
}

/// Tokens whose keys and values are known, and the state after them if they are a whole prompt.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) tokens: Vec<u32>,
    pub(super) state: Option<Tensor>,
}

impl Known {
    /// How many of the prompt's tokens need not be computed: all of them if it is the same prompt, else the whole chunks
    /// that both begin with, but never the last token, whose state is what is wanted.
    pub(super) fn reusable(&self, prompt: &[u32], chunk: usize) -> usize {
        if self.state.is_some() && self.tokens == prompt {
            return prompt.len();
        }
        let usable = prompt.len().saturating_sub(1);
        let shared = self.tokens.iter().zip(&prompt[..usable]).take_while(|(a, b)| a == b).count();
        shared / chunk * chunk
    }
}

impl KvCache {
    pub(super) fn new(shape: &Shape, context: usize, chunk: usize) -> Result<Self> {
        let zeros = || Tensor::zeros((shape.kv_heads, context, shape.head_dim), DType::F32, &Device::Cpu);
        let layers = (0..shape.layers).map(|_| Ok((zeros()?, zeros()?))).collect::<Result<_>>()?;
        Ok(Self { layers, tokens: Vec::new(), chunk: chunk.max(1), chunked: 0, prompt: None })
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn chunk(&self) -> usize {
        self.chunk
    }

    /// What of this sequence may serve another prompt.
    pub(super) fn known(&self) -> Known {
        match &self.prompt {
            Some(end) => Known { tokens: self.tokens[..end.len].to_vec(), state: Some(end.state.clone()) },
            None => Known { tokens: self.tokens[..self.chunked].to_vec(), state: None },
        }
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
        let in_prompt = self.prompt.is_none() && self.chunked == self.tokens.len();
        if in_prompt && tokens.len() == self.chunk {
            self.chunked += self.chunk;
        }
        self.tokens.extend_from_slice(tokens);
    }

    /// The prompt ends here, and this is the state after it. What follows is decoded.
    pub(super) fn end_prompt(&mut self, state: &Tensor) {
        self.prompt = Some(PromptEnd { len: self.tokens.len(), state: state.clone() });
    }

    /// What follows is the rest of a longer prompt, not decoded.
    pub(super) fn reopen_prompt(&mut self) {
        self.prompt = None;
    }

    /// Forgets all but the first `len` tokens.
    pub(super) fn cut(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.chunked = self.chunked.min(len / self.chunk * self.chunk);
        self.prompt = self.prompt.take().filter(|end| end.len == len);
    }

    /// A copy of the first tokens' keys and values.
    pub(super) fn copy(&self, len: usize) -> Result<Vec<(Tensor, Tensor)>> {
        // force_contiguous copies even where a narrowed tensor already lies in one piece.
        let part = |t: &Tensor| t.narrow(1, 0, len)?.force_contiguous();
        self.layers.iter().map(|(k, v)| Ok((part(k)?, part(v)?))).collect()
    }

    /// Becomes the first tokens of a copy.
    pub(super) fn restore(&mut self, layers: &[(Tensor, Tensor)], known: &Known, len: usize) -> Result<()> {
        // Should a layer fail, nothing is known of the cache.
        self.cut(0);
        for ((k, v), (pk, pv)) in self.layers.iter().zip(layers) {
            k.slice_set(&pk.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
            v.slice_set(&pv.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
        }
        self.tokens = known.tokens[..len].to_vec();
        self.chunked = len / self.chunk * self.chunk;
        self.prompt = known.state.clone().filter(|_| len == known.tokens.len()).map(|state| PromptEnd { len, state });
        Ok(())
    }
}

#[cfg(test)]
impl KvCache {
    /// One layer, one head of dimension 8.
    pub(super) fn tiny(context: usize, chunk: usize) -> Self {
        let zeros = || Tensor::zeros((1, context, 8), DType::F32, &Device::Cpu);
        let layers = vec![(zeros().unwrap_or_else(|e| panic!("{e}")), zeros().unwrap_or_else(|e| panic!("{e}")))];
        Self { layers, tokens: Vec::new(), chunk, chunked: 0, prompt: None }
    }

    /// The tokens, and the first number of each one's keys.
    pub(super) fn content(&self) -> (Vec<u32>, Vec<f32>) {
        let keys = self.copy(self.len()).and_then(|layers| layers[0].0.narrow(2, 0, 1)?.flatten_all()?.to_vec1());
        (self.tokens.clone(), keys.unwrap_or_default())
    }
}
