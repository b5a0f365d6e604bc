//! The backend on candle's tensors: for GPUs, and on the CPU where its tests run.
//!
//! Weights stay quantised (candle multiplies them as they are) or in the type they were trained in; keys and values are f16
//! in one tensor a layer, a row a token. A token's row is `block * BLOCK + place`; rows are written by a scatter and read by
//! a gather of the sequence's rows. All sequences that decode go through one padded product, prompts one after the other.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};

use super::shape::Shape;
use super::{Backend, Batch, Layer, Model, Ops, Span, forward};
use crate::EngineError;
use crate::checkpoint::Checkpoint;
use crate::paged::BLOCK;

type Result<T> = std::result::Result<T, EngineError>;

/// Products with the same input, and their biases.
pub(super) struct Linear(Vec<(Weight, Option<Tensor>)>);

/// A matrix as it was loaded.
#[derive(Clone)]
enum Matrix {
    Quantised(Arc<QTensor>),
    /// As it was trained: f32, f16 or bf16.
    Plain(Tensor),
}

/// A matrix that is multiplied with.
enum Weight {
    Quantised(QMatMul),
    Plain(Tensor),
}

impl Matrix {
    /// Outputs.
    fn rows(&self) -> Result<usize> {
        Ok(match self {
            Self::Quantised(tensor) => tensor.shape().dims2()?.0,
            Self::Plain(tensor) => tensor.dims2()?.0,
        })
    }

    fn weight(self) -> Result<Weight> {
        Ok(match self {
            Self::Quantised(tensor) => Weight::Quantised(QMatMul::from_arc(tensor)?),
            Self::Plain(tensor) => Weight::Plain(tensor),
        })
    }
}

impl Weight {
    fn multiply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Quantised(matrix) => matrix.forward(x)?,
            Self::Plain(matrix) => x.to_dtype(matrix.dtype())?.matmul(&matrix.t()?)?.to_dtype(DType::F32)?,
        })
    }
}

/// A model on one device.
pub(crate) struct TensorBackend {
    ops: TensorOps,
    model: Model<TensorOps>,
    vocabulary: usize,
    weight_bytes: u64,
}

impl TensorBackend {
    /// Loads the weights onto the device. Keys and values get as many bytes as `room` says then, at least for a sequence of
    /// `context`; it is told the bytes of the weights.
    pub(crate) fn load(
        file: &Checkpoint,
        device: &Device,
        context: usize,
        room: impl FnOnce(u64) -> Result<u64>,
    ) -> Result<Self> {
        let shape = Shape::read(file)?;
        let mut loader = Loader { file, device, bytes: 0 };
        let layers = (0..shape.layers).map(|i| loader.layer(i, &shape)).collect::<Result<_>>()?;
        let table = loader.matrix("token_embd.weight")?;
        let own_head = file.has_tensor("output.weight");
        let head = if own_head { loader.matrix("output.weight")? } else { table.clone() };
        let vocabulary = head.rows()?;
        let norm = loader.vector("output_norm.weight")?;
        let head = Linear(vec![(head.weight()?, None)]);
        let embedding = Embedding { rows: table.rows()?, table };
        let context = context.min(shape.context);
        let wanted = usize::try_from(room(loader.bytes)? / (shape.kv_bytes() * BLOCK as u64)).unwrap_or(usize::MAX);
        let blocks = wanted.max(context.div_ceil(BLOCK)).min(1 << 24);
        let weight_bytes = loader.bytes;
        let ops = TensorOps::new(shape, device, context, blocks)?;
        Ok(Self { ops, model: Model { embedding, layers, norm, head }, vocabulary, weight_bytes })
    }
}

impl Backend for TensorBackend {
    fn shape(&self) -> &Shape {
        &self.ops.shape
    }

    fn context(&self) -> usize {
        self.ops.context
    }

    fn blocks(&self) -> usize {
        self.ops.blocks
    }

    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<()> {
        self.ops.places = Some(self.ops.places(batch)?);
        let rows = forward(&mut self.ops, &self.model, batch)?;
        logits.clear();
        for rows in rows.into_iter().flatten() {
            logits.extend(rows.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(())
    }

    fn copy_block(&mut self, from: u32, to: u32) {
        let copied = self.ops.copy(from as usize, to as usize);
        if let Err(error) = copied {
            tracing::error!(%error, "a block could not be copied");
        }
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    fn describe(&self) -> String {
        format!("{:?}, candle's kernels", self.ops.device.location())
    }
}

struct Loader<'a> {
    file: &'a Checkpoint,
    device: &'a Device,
    bytes: u64,
}

impl Loader<'_> {
    fn layer(&mut self, index: usize, shape: &Shape) -> Result<Layer<TensorOps>> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let norms = match shape.head_norms {
            true => Some((self.vector(&name("attn_q_norm.weight"))?, self.vector(&name("attn_k_norm.weight"))?)),
            false => None,
        };
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm.weight"))?,
            qkv: self.linear(&["attn_q", "attn_k", "attn_v"].map(name))?,
            head_norms: norms,
            output: self.linear(&["attn_output"].map(name))?,
            ffn_norm: self.vector(&name("ffn_norm.weight"))?,
            gate_up: self.linear(&["ffn_gate", "ffn_up"].map(name))?,
            down: self.linear(&["ffn_down"].map(name))?,
        })
    }

    fn linear(&mut self, names: &[String]) -> Result<Linear> {
        let one = |name: &String| {
            let bias = format!("{name}.bias");
            let bias = if self.file.has_tensor(&bias) { Some(self.vector(&bias)?) } else { None };
            Ok((self.matrix(&format!("{name}.weight"))?.weight()?, bias))
        };
        names.iter().map(one).collect::<Result<_>>().map(Linear)
    }

    fn matrix(&mut self, name: &str) -> Result<Matrix> {
        let Some(plain) = self.file.matrix_on(name, self.device)? else {
            return Ok(Matrix::Quantised(Arc::new(self.tensor(name)?)));
        };
        // On a CPU products of 16 bits are slow and less exact.
        let plain = if self.device.is_cpu() { plain.to_dtype(DType::F32)? } else { plain };
        self.bytes += (plain.elem_count() * plain.dtype().size_in_bytes()) as u64;
        Ok(Matrix::Plain(plain))
    }

    fn tensor(&mut self, name: &str) -> Result<QTensor> {
        let tensor = self.file.tensor_on(name, self.device)?;
        self.bytes += tensor.storage_size_in_bytes() as u64;
        Ok(tensor)
    }

    fn vector(&mut self, name: &str) -> Result<Tensor> {
        Ok(self.tensor(name)?.dequantize(self.device)?)
    }
}

/// The vectors of tokens.
pub(super) struct Embedding {
    table: Matrix,
    rows: usize,
}

/// Where the rows of a step go and come from: the same for all layers.
struct Places {
    /// `[rows]`: the token's place among all.
    positions: Tensor,
    /// `[rows, kv_heads * head_dim]`: the row of the pool, over and over, as a scatter wants it.
    write: Tensor,
    /// Of the sequences that decode, if there are several.
    together: Option<Together>,
}

/// Sequences with one row each, padded to the longest.
struct Together {
    /// `[spans]`: their rows in the batch.
    rows: Tensor,
    /// `[spans * longest]`: rows of the pool; any for the padding.
    read: Tensor,
    /// `[spans, 1, 1, longest]`: 0, or minus infinity for the padding.
    mask: Tensor,
    spans: usize,
    longest: usize,
}

pub(super) struct TensorOps {
    shape: Shape,
    device: Device,
    context: usize,
    blocks: usize,
    /// What attention computes in.
    dtype: DType,
    /// `[blocks * BLOCK, kv_heads * head_dim]` each.
    kv: Vec<(Tensor, Tensor)>,
    cos: Tensor,
    sin: Tensor,
    places: Option<Places>,
}

impl TensorOps {
    fn new(shape: Shape, device: &Device, context: usize, blocks: usize) -> Result<Self> {
        let width = shape.kv_heads * shape.head_dim;
        let pool = || Tensor::zeros((blocks * BLOCK, width), DType::F16, device);
        let kv = (0..shape.layers).map(|_| Ok((pool()?, pool()?))).collect::<Result<_>>()?;
        let (cos, sin) = shape.rotations(context);
        let half = shape.head_dim / 2;
        let angles = |values: Vec<f32>| Tensor::from_vec(values, (context, half), device);
        let (cos, sin) = (angles(cos)?, angles(sin)?);
        // On a CPU products of f16 are slow and less exact.
        let dtype = if device.is_cpu() { DType::F32 } else { DType::F16 };
        Ok(Self { shape, device: device.clone(), context, blocks, dtype, kv, cos, sin, places: None })
    }

    fn places(&self, batch: &Batch) -> Result<Places> {
        let rows = batch.tokens.len();
        let (mut positions, mut write) = (vec![0_u32; rows], vec![0_u32; rows]);
        for span in &batch.spans {
            for i in 0..span.rows {
                positions[span.row + i] = (span.position + i) as u32;
                write[span.row + i] = place(span, span.position + i);
            }
        }
        let width = self.shape.kv_heads * self.shape.head_dim;
        let write = Tensor::from_vec(write, (rows, 1), &self.device)?.broadcast_as((rows, width))?.contiguous()?;
        let positions = Tensor::new(positions, &self.device)?;
        let single: Vec<&Span> = batch.spans.iter().filter(|span| span.rows == 1).collect();
        let together = if single.len() > 1 { Some(self.together(&single)?) } else { None };
        Ok(Places { positions, write, together })
    }

    fn together(&self, spans: &[&Span]) -> Result<Together> {
        let longest = spans.iter().map(|span| span.position + 1).max().unwrap_or(1);
        let rows: Vec<u32> = spans.iter().map(|span| span.row as u32).collect();
        let mut read = Vec::with_capacity(spans.len() * longest);
        let mut mask = Vec::with_capacity(spans.len() * longest);
        for span in spans {
            read.extend((0..longest).map(|at| place(span, at.min(span.position))));
            mask.extend((0..longest).map(|at| if at <= span.position { 0.0_f32 } else { f32::NEG_INFINITY }));
        }
        Ok(Together {
            rows: Tensor::new(rows, &self.device)?,
            read: Tensor::new(read, &self.device)?,
            mask: Tensor::from_vec(mask, (spans.len(), 1, 1, longest), &self.device)?,
            spans: spans.len(),
            longest,
        })
    }

    fn copy(&mut self, from: usize, to: usize) -> Result<()> {
        for (keys, values) in &self.kv {
            for pool in [keys, values] {
                let block = pool.narrow(0, from * BLOCK, BLOCK)?.copy()?;
                pool.slice_set(&block, 0, to * BLOCK)?;
            }
        }
        Ok(())
    }

    fn turned(&self, x: &Tensor, heads: usize, norm: Option<&Tensor>, places: &Places) -> Result<Tensor> {
        let (rows, dim) = (x.dims()[0], self.shape.head_dim);
        let mut x = x.reshape((rows, heads, dim))?.contiguous()?;
        if let Some(norm) = norm {
            x = rms_norm(&x, norm, self.shape.eps)?;
        }
        let (cos, sin) = (self.cos.index_select(&places.positions, 0)?, self.sin.index_select(&places.positions, 0)?);
        let x = x.transpose(0, 1)?.unsqueeze(0)?.contiguous()?;
        let turned = if self.shape.halves { rope(&x, &cos, &sin)? } else { rope_i(&x, &cos, &sin)? };
        Ok(turned.squeeze(0)?.transpose(0, 1)?.contiguous()?)
    }

    /// Sequences of one row each. `q` is `[rows, heads, dim]`; gives `[spans, heads * dim]`.
    fn attend_together(&self, layer: usize, q: &Tensor, these: &Together) -> Result<Tensor> {
        let Shape { heads, kv_heads, head_dim: dim, .. } = self.shape;
        let group = heads / kv_heads;
        let (n, longest) = (these.spans, these.longest);
        let gather = |pool: &Tensor| {
            let rows = pool.index_select(&these.read, 0)?.to_dtype(self.dtype)?;
            rows.reshape((n, longest, kv_heads, dim))?.transpose(1, 2)?.contiguous()
        };
        let (keys, values) = (gather(&self.kv[layer].0)?, gather(&self.kv[layer].1)?);
        let q = q.index_select(&these.rows, 0)?.reshape((n, kv_heads, group, dim))?;
        let scores = q.matmul(&keys.transpose(2, 3)?.contiguous()?)?.to_dtype(DType::F32)?;
        let weights = softmax_last_dim(&scores.broadcast_add(&these.mask)?)?.to_dtype(self.dtype)?;
        Ok(weights.matmul(&values)?.reshape((n, heads * dim))?.to_dtype(DType::F32)?)
    }

    /// One sequence; gives `[rows, heads * dim]`.
    fn attend_one(&self, layer: usize, q: &Tensor, span: &Span) -> Result<Tensor> {
        let Shape { heads, kv_heads, head_dim: dim, .. } = self.shape;
        let group = heads / kv_heads;
        let (rows, seen) = (span.rows, span.position + span.rows);
        let read: Vec<u32> = (0..seen).map(|at| place(span, at)).collect();
        let read = Tensor::new(read, &self.device)?;
        let gather = |pool: &Tensor| {
            let found = pool.index_select(&read, 0)?.to_dtype(self.dtype)?;
            found.reshape((seen, kv_heads, dim))?.transpose(0, 1)?.contiguous()
        };
        let (keys, values) = (gather(&self.kv[layer].0)?, gather(&self.kv[layer].1)?);
        // Heads that share keys are rows of one product, so keys are never copied for each head.
        let q = q.narrow(0, span.row, rows)?.transpose(0, 1)?.reshape((kv_heads, group * rows, dim))?;
        let scores = q.matmul(&keys.transpose(1, 2)?.contiguous()?)?.to_dtype(DType::F32)?;
        let mask = mask(rows, span.position, &self.device)?;
        let scores = scores.reshape((heads, rows, seen))?.broadcast_add(&mask)?;
        let weights = softmax_last_dim(&scores)?.to_dtype(self.dtype)?.reshape((kv_heads, group * rows, seen))?;
        let out = weights.matmul(&values)?.reshape((heads, rows, dim))?.transpose(0, 1)?;
        Ok(out.reshape((rows, heads * dim))?.to_dtype(DType::F32)?)
    }
}

/// The row of the pool where a token of a sequence is.
fn place(span: &Span, position: usize) -> u32 {
    span.blocks[position / BLOCK] * BLOCK as u32 + (position % BLOCK) as u32
}

/// What is added to the scores of `rows` tokens after `before` others.
fn mask(rows: usize, before: usize, device: &Device) -> Result<Tensor> {
    let seen = before + rows;
    let row = |i: usize| (0..seen).map(move |j| if j > before + i { f32::NEG_INFINITY } else { 0.0 });
    let values: Vec<f32> = (0..rows).flat_map(row).collect();
    Ok(Tensor::from_vec(values, (rows, seen), device)?)
}

impl Ops for TensorOps {
    /// The outputs of a linear's parts, side by side.
    type Rows = Vec<Tensor>;
    type Norm = Tensor;
    type Linear = Linear;
    type Embedding = Embedding;

    fn embed(&mut self, table: &Embedding, tokens: &[u32]) -> Result<Vec<Tensor>> {
        if let Some(token) = tokens.iter().find(|token| **token as usize >= table.rows) {
            return Err(EngineError::BadRequest(format!("there is no token {token}")));
        }
        let ids = Tensor::new(tokens, &self.device)?;
        let rows = match &table.table {
            Matrix::Quantised(tensor) => tensor.embedding(&ids)?,
            Matrix::Plain(tensor) => tensor.index_select(&ids, 0)?,
        };
        Ok(vec![rows.to_dtype(DType::F32)?])
    }

    fn project(&mut self, x: &Vec<Tensor>, norm: &Tensor, linear: &Linear) -> Result<Vec<Tensor>> {
        let normed = rms_norm(&x[0], norm, self.shape.eps)?;
        multiply(linear, &normed)
    }

    fn attend(
        &mut self,
        layer: usize,
        qkv: Vec<Tensor>,
        head_norms: Option<&(Tensor, Tensor)>,
        spans: &[Span],
    ) -> Result<Vec<Tensor>> {
        let [q, k, v] = &qkv[..] else {
            return Err(EngineError::Failed("attention wants queries, keys and values".into()));
        };
        let places = self.places.as_ref().ok_or_else(|| EngineError::Failed("a step without places".into()))?;
        let Shape { heads, kv_heads, head_dim: dim, .. } = self.shape;
        let scale = (dim as f64).sqrt().recip();
        let q = self.turned(q, heads, head_norms.map(|n| &n.0), places)?;
        let q = (q * scale)?.to_dtype(self.dtype)?;
        let k = self.turned(k, kv_heads, head_norms.map(|n| &n.1), places)?;
        let (rows, width) = (k.dims()[0], kv_heads * dim);
        let (keys, values) = &self.kv[layer];
        keys.scatter_set(&places.write, &k.reshape((rows, width))?.to_dtype(DType::F16)?, 0)?;
        values.scatter_set(&places.write, &v.to_dtype(DType::F16)?.contiguous()?, 0)?;
        let together = places.together.as_ref().map(|t| self.attend_together(layer, &q, t)).transpose()?;
        let (mut parts, mut single) = (Vec::new(), 0);
        for span in spans {
            match &together {
                Some(rows) if span.rows == 1 => {
                    parts.push(rows.narrow(0, single, 1)?);
                    single += 1;
                }
                _ => parts.push(self.attend_one(layer, &q, span)?),
            }
        }
        Ok(vec![if single == spans.len() { together.unwrap_or(q) } else { Tensor::cat(&parts, 0)? }])
    }

    fn gate(&mut self, both: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let [gate, up] = &both[..] else { return Err(EngineError::Failed("gating wants two".into())) };
        Ok(vec![(silu(gate)? * up)?])
    }

    fn add(&mut self, x: &mut Vec<Tensor>, y: Vec<Tensor>, linear: &Linear) -> Result<()> {
        let product = multiply(linear, &y[0])?;
        *x = vec![(&x[0] + &product[0])?];
        Ok(())
    }

    fn select(&mut self, x: Vec<Tensor>, rows: &[usize]) -> Result<Vec<Tensor>> {
        let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        Ok(vec![x[0].index_select(&Tensor::new(rows, &self.device)?, 0)?])
    }
}

fn multiply(linear: &Linear, x: &Tensor) -> Result<Vec<Tensor>> {
    let x = x.contiguous()?;
    let one = |(weight, bias): &(Weight, Option<Tensor>)| {
        let y = weight.multiply(&x)?;
        Ok(match bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        })
    };
    linear.0.iter().map(one).collect()
}
