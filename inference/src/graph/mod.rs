//! The forward pass, written once for all backends: llama, qwen2 and qwen3.
//!
//! ```text
//! Batch (rows of several sequences, ragged) → embed → layers { norm, qkv, attend over paged keys, out, norm, gate, down } → head
//! ```
//! A batch mixes parts of prompts and single tokens of many sequences: every product sees all their rows as one matrix,
//! which is where batching wins; only attention knows the sequences apart. What computes the rows is a [`Ops`]: tiles of
//! our own on the CPU, candle's tensors on a GPU (and on the CPU, where tests run that path).

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod load;
mod shape;
// Without GPUs only its tests run.
#[cfg(any(test, feature = "cuda"))]
mod tensor;
mod tiles;

use crate::EngineError;
pub(crate) use crate::kernels::Span;

pub(crate) use self::cpu::CpuBackend;
#[cfg(feature = "cuda")]
pub(crate) use self::cuda::{Gpu, GpuBackend};
pub(crate) use self::load::Means;
pub(crate) use self::shape::Shape;
#[cfg(any(test, feature = "cuda"))]
pub(crate) use self::tensor::TensorBackend;

/// The rows of one step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// All spans' tokens, one after the other.
    pub(crate) tokens: Vec<u32>,
    pub(crate) spans: Vec<Span>,
    /// The rows whose logits are wanted.
    pub(crate) outputs: Vec<usize>,
}

/// What runs a model: weights, and the memory for keys and values.
pub(crate) trait Backend: Send {
    fn shape(&self) -> &Shape;

    /// The longest sequence, in tokens.
    fn context(&self) -> usize;

    /// Blocks of keys and values.
    fn blocks(&self) -> usize;

    /// The logits of the wanted rows, one after the other, each as long as [`Backend::vocabulary`].
    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), EngineError>;

    fn copy_block(&mut self, from: u32, to: u32);

    /// Logits a row: the vocabulary, and padding.
    fn vocabulary(&self) -> usize;

    /// Bytes of the weights as they are held.
    fn weight_bytes(&self) -> u64;

    /// What it computes on and how, for people.
    fn describe(&self) -> String;

    /// Whether no step can ever succeed again in this process, as after a fault on a GPU.
    fn is_lost(&self) -> bool {
        false
    }
}

/// The operations that the forward pass is made of.
pub(crate) trait Ops {
    /// Rows of activations.
    type Rows;
    type Norm;
    type Linear;
    type Embedding;

    fn embed(&mut self, table: &Self::Embedding, tokens: &[u32]) -> Result<Self::Rows, EngineError>;

    /// `linear(norm(x))`.
    fn project(&mut self, x: &Self::Rows, norm: &Self::Norm, linear: &Self::Linear) -> Result<Self::Rows, EngineError>;

    /// Turns queries and keys by their positions, puts keys and values into their blocks, and attends.
    fn attend(
        &mut self,
        layer: usize,
        qkv: Self::Rows,
        head_norms: Option<&(Self::Norm, Self::Norm)>,
        spans: &[Span],
    ) -> Result<Self::Rows, EngineError>;

    /// `silu(left) * right` of rows that hold both.
    fn gate(&mut self, both: Self::Rows) -> Result<Self::Rows, EngineError>;

    /// `x += linear(y)`.
    fn add(&mut self, x: &mut Self::Rows, y: Self::Rows, linear: &Self::Linear) -> Result<(), EngineError>;

    fn select(&mut self, x: Self::Rows, rows: &[usize]) -> Result<Self::Rows, EngineError>;

    /// These rows aren't needed any more.
    fn done(&mut self, rows: Self::Rows) {
        drop(rows);
    }
}

/// The weights of one layer.
pub(crate) struct Layer<O: Ops> {
    pub(crate) attention_norm: O::Norm,
    /// Queries, keys and values in one.
    pub(crate) qkv: O::Linear,
    /// Qwen3 norms each head of queries and keys.
    pub(crate) head_norms: Option<(O::Norm, O::Norm)>,
    pub(crate) output: O::Linear,
    pub(crate) ffn_norm: O::Norm,
    /// Gate and up in one.
    pub(crate) gate_up: O::Linear,
    pub(crate) down: O::Linear,
}

/// The weights of a model.
pub(crate) struct Model<O: Ops> {
    pub(crate) embedding: O::Embedding,
    pub(crate) layers: Vec<Layer<O>>,
    pub(crate) norm: O::Norm,
    pub(crate) head: O::Linear,
}

/// The logits of a batch's wanted rows, if there are any.
pub(crate) fn forward<O: Ops>(ops: &mut O, model: &Model<O>, batch: &Batch) -> Result<Option<O::Rows>, EngineError> {
    let mut x = ops.embed(&model.embedding, &batch.tokens)?;
    for (index, layer) in model.layers.iter().enumerate() {
        let qkv = ops.project(&x, &layer.attention_norm, &layer.qkv)?;
        let attended = ops.attend(index, qkv, layer.head_norms.as_ref(), &batch.spans)?;
        ops.add(&mut x, attended, &layer.output)?;
        let both = ops.project(&x, &layer.ffn_norm, &layer.gate_up)?;
        let hidden = ops.gate(both)?;
        ops.add(&mut x, hidden, &layer.down)?;
    }
    if batch.outputs.is_empty() {
        ops.done(x);
        return Ok(None);
    }
    let last = ops.select(x, &batch.outputs)?;
    let logits = ops.project(&last, &model.norm, &model.head)?;
    ops.done(last);
    Ok(Some(logits))
}
