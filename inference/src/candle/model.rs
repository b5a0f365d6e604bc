//! The forward pass of the two architectures that we run: llama and qwen2, quantised, one sequence, on the CPU.
//!
//! candle's own versions keep the KV cache inside the weights, copy it for every token, expand it for every head and
//! never forget a mask, so a shared prompt prefix could not be kept. Here the weights are read-only and the cache is
//! the caller's: it can be cut back to any earlier length and copied.
//!
//! The prompt goes through in chunks of equal length from its first token. That makes the result for a chunk depend on
//! the tokens before it and on nothing else, to the last bit, so that taking a prefix from the cache gives the very
//! logits that computing it again would give.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};

use super::gguf::GgufFile;
use super::kv::KvCache;
use crate::EngineError;

/// What the file says about the model's form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    /// The longest sequence it was made for.
    pub(super) context: usize,
    eps: f32,
    rope_base: f32,
    /// RoPE turns the pairs (i, i + d/2) instead of (2i, 2i + 1).
    halves: bool,
}

struct Layer {
    attention_norm: Tensor,
    query: Linear,
    key: Linear,
    value: Linear,
    output: QMatMul,
    ffn_norm: Tensor,
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
}

struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.weight.forward(x)?;
        self.bias.as_ref().map_or(Ok(y.clone()), |bias| y.broadcast_add(bias))
    }
}

/// The weights of a model, read-only.
pub(super) struct Model {
    shape: Shape,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Tensor,
    head: QMatMul,
    cos: Tensor,
    sin: Tensor,
}

impl Shape {
    fn read(file: &GgufFile) -> std::result::Result<Self, EngineError> {
        let arch = file.text("general.architecture").unwrap_or("?");
        if !matches!(arch, "llama" | "qwen2") {
            return Err(file.refuse(format_args!("the architecture {arch:?} is not supported (llama and qwen2 are)")));
        }
        let number = |key: &str| file.required(&format!("{arch}.{key}")).map(|n| n as usize);
        let scaling = file.text(&format!("{arch}.rope.scaling.type")).unwrap_or("none");
        if scaling != "none" || file.has_tensor("rope_freqs.weight") {
            return Err(file.refuse("scaled RoPE is not supported"));
        }
        if number("expert_count").is_ok_and(|n| n > 1) {
            return Err(file.refuse("mixtures of experts are not supported"));
        }
        let (heads, width) = (number("attention.head_count")?, number("embedding_length")?);
        let kv_heads = number("attention.head_count_kv")?;
        let fits = heads > 0 && kv_heads > 0 && heads % kv_heads == 0 && width % heads == 0;
        let head_dim = if fits { width / heads } else { 0 };
        let rotated = number("rope.dimension_count").unwrap_or(head_dim);
        if !fits || head_dim % 2 != 0 || rotated != head_dim {
            return Err(file.refuse(format_args!("{heads} heads ({kv_heads} of keys) over {width} is not supported")));
        }
        let eps = file.float(&format!("{arch}.attention.layer_norm_rms_epsilon"));
        Ok(Self {
            layers: number("block_count")?,
            heads,
            kv_heads,
            head_dim,
            context: number("context_length")?,
            eps: eps.ok_or_else(|| file.refuse("the norm's epsilon is missing"))?,
            rope_base: file.float(&format!("{arch}.rope.freq_base")).unwrap_or(10_000.0),
            halves: arch == "qwen2",
        })
    }

    /// Bytes of keys and values of one token.
    pub(super) fn kv_bytes(&self) -> usize {
        2 * self.layers * self.kv_heads * self.head_dim * size_of::<f32>()
    }
}

impl Model {
    /// Reads the weights. `context` bounds how long a sequence may get.
    pub(super) fn load(file: &mut GgufFile, context: usize) -> std::result::Result<Self, EngineError> {
        let shape = Shape::read(file)?;
        let layers = (0..shape.layers).map(|i| Layer::load(file, i)).collect::<std::result::Result<_, _>>()?;
        let embedding = Arc::new(file.tensor("token_embd.weight")?);
        // Without a head of its own the model uses the embedding for it.
        let own_head = file.has_tensor("output.weight");
        let head = if own_head { Arc::new(file.tensor("output.weight")?) } else { Arc::clone(&embedding) };
        let made = |e| EngineError::Model(format!("{e}"));
        let (cos, sin) = rotations(&shape, context.min(shape.context)).map_err(made)?;
        let head = QMatMul::from_arc(head).map_err(made)?;
        Ok(Self { shape, embedding, layers, norm: dense(file, "output_norm.weight")?, head, cos, sin })
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The longest sequence: what was asked for at load, or what the model can do.
    pub(super) fn context(&self) -> usize {
        self.cos.dims()[0]
    }

    /// Appends tokens to the cache and gives the state after them; [`Model::logits`] makes logits of it.
    pub(super) fn extend(&self, tokens: &[u32], cache: &mut KvCache) -> Result<Tensor> {
        let ids = Tensor::new(tokens, &Device::Cpu)?;
        let mask = mask(tokens.len(), cache.len())?;
        let mut x = self.embedding.embedding(&ids)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let normed = rms_norm(&x, &layer.attention_norm, self.shape.eps)?;
            x = (self.attention(layer, i, &normed, mask.as_ref(), cache)? + x)?;
            let normed = rms_norm(&x, &layer.ffn_norm, self.shape.eps)?;
            let hidden = (silu(&layer.gate.forward(&normed)?)? * layer.up.forward(&normed)?)?;
            x = (layer.down.forward(&hidden)? + x)?;
        }
        cache.advance(tokens);
        x.narrow(0, tokens.len() - 1, 1)?.contiguous()
    }

    /// The logits of the token after a state, one for each token of the vocabulary.
    pub(super) fn logits(&self, state: &Tensor) -> Result<Vec<f32>> {
        let normed = rms_norm(state, &self.norm, self.shape.eps)?;
        self.head.forward(&normed)?.squeeze(0)?.to_dtype(DType::F32)?.to_vec1()
    }

    fn attention(
        &self,
        layer: &Layer,
        index: usize,
        x: &Tensor,
        mask: Option<&Tensor>,
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        let Shape { heads, kv_heads, head_dim, .. } = self.shape;
        let (n, at) = (x.dims()[0], cache.len());
        let q = self.rotate(&split(&layer.query.forward(x)?, heads, head_dim)?, at)?;
        let k = self.rotate(&split(&layer.key.forward(x)?, kv_heads, head_dim)?, at)?;
        let v = split(&layer.value.forward(x)?, kv_heads, head_dim)?;
        let (k, v) = cache.append(index, &k, &v)?;
        // Heads that share keys are rows of one product, so keys are never copied for each head.
        let group = heads / kv_heads;
        let q = (q * (head_dim as f64).sqrt().recip())?.reshape((kv_heads, group * n, head_dim))?;
        let mut scores = q.matmul(&k.t()?)?;
        if let Some(mask) = mask {
            let per_head = scores.reshape((heads, n, at + n))?.broadcast_add(mask)?;
            scores = per_head.reshape((kv_heads, group * n, at + n))?;
        }
        let y = softmax_last_dim(&scores)?.matmul(&v)?.reshape((heads, n, head_dim))?;
        layer.output.forward(&y.transpose(0, 1)?.reshape((n, heads * head_dim))?)
    }

    fn rotate(&self, x: &Tensor, at: usize) -> Result<Tensor> {
        let n = x.dims()[1];
        let (cos, sin) = (self.cos.narrow(0, at, n)?, self.sin.narrow(0, at, n)?);
        let x = x.unsqueeze(0)?;
        let turned = if self.shape.halves { rope(&x, &cos, &sin) } else { rope_i(&x, &cos, &sin) };
        turned?.squeeze(0)
    }
}

impl Layer {
    fn load(file: &mut GgufFile, index: usize) -> std::result::Result<Self, EngineError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        Ok(Self {
            attention_norm: dense(file, &name("attn_norm.weight"))?,
            query: linear(file, &name("attn_q"))?,
            key: linear(file, &name("attn_k"))?,
            value: linear(file, &name("attn_v"))?,
            output: matmul(file, &name("attn_output.weight"))?,
            ffn_norm: dense(file, &name("ffn_norm.weight"))?,
            gate: matmul(file, &name("ffn_gate.weight"))?,
            up: matmul(file, &name("ffn_up.weight"))?,
            down: matmul(file, &name("ffn_down.weight"))?,
        })
    }
}

fn linear(file: &mut GgufFile, name: &str) -> std::result::Result<Linear, EngineError> {
    let bias = format!("{name}.bias");
    let bias = if file.has_tensor(&bias) { Some(dense(file, &bias)?) } else { None };
    Ok(Linear { weight: matmul(file, &format!("{name}.weight"))?, bias })
}

fn matmul(file: &mut GgufFile, name: &str) -> std::result::Result<QMatMul, EngineError> {
    let tensor = file.tensor(name)?;
    QMatMul::from_qtensor(tensor).map_err(|e| file.refuse(format_args!("{name}: {e}")))
}

fn dense(file: &mut GgufFile, name: &str) -> std::result::Result<Tensor, EngineError> {
    let tensor = file.tensor(name)?;
    tensor.dequantize(&Device::Cpu).map_err(|e| file.refuse(format_args!("{name}: {e}")))
}

/// `[n, heads * dim]` to `[heads, n, dim]`.
fn split(x: &Tensor, heads: usize, dim: usize) -> Result<Tensor> {
    x.reshape((x.dims()[0], heads, dim))?.transpose(0, 1)?.contiguous()
}

/// What is added to the scores of `n` tokens after `at` others: minus infinity where a token would see a later one.
fn mask(n: usize, at: usize) -> Result<Option<Tensor>> {
    if n == 1 {
        return Ok(None);
    }
    let row = |i: usize| (0..at + n).map(move |j| if j > at + i { f32::NEG_INFINITY } else { 0.0 });
    let values: Vec<f32> = (0..n).flat_map(row).collect();
    Tensor::from_vec(values, (n, at + n), &Device::Cpu).map(Some)
}

/// Cosine and sine of each position's angles, `[context, dim / 2]`.
fn rotations(shape: &Shape, context: usize) -> Result<(Tensor, Tensor)> {
    let dim = shape.head_dim;
    let turns: Vec<f32> = (0..dim / 2).map(|i| shape.rope_base.powf(-2.0 * i as f32 / dim as f32)).collect();
    let turns = Tensor::from_vec(turns, (1, dim / 2), &Device::Cpu)?;
    let positions = Tensor::arange(0, context as u32, &Device::Cpu)?.to_dtype(DType::F32)?;
    let angles = positions.reshape((context, 1))?.matmul(&turns)?;
    Ok((angles.cos()?, angles.sin()?))
}
