//! The CPU backend: rows are plain vectors, weights are tiles, and what has no tiles is computed by candle, slower.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{CpuStorage, CustomOp1, Layout};

use super::load::{Embedding, Means};
use super::shape::Shape;
use super::{Backend, Batch, Model, Ops, forward};
use crate::EngineError;
use crate::candle::brief;
use crate::checkpoint::Checkpoint;
use crate::kernels::{self, Attention, KvLayer, Level, Packed, Part, Quantised, Span};

/// Weights of one product, or of several with the same input.
pub(super) struct Linear {
    pub(super) parts: Vec<Matrix>,
    pub(super) bias: Option<Vec<f32>>,
    /// Outputs of all parts.
    pub(super) n: usize,
}

pub(super) enum Matrix {
    Tiles(Packed),
    /// A format without tiles.
    Candle(Arc<QTensor>),
}

impl Matrix {
    fn n(&self) -> usize {
        match self {
            Self::Tiles(packed) => packed.n(),
            Self::Candle(tensor) => tensor.shape().dims().first().copied().unwrap_or(0),
        }
    }
}

/// A model on the CPU.
pub(crate) struct CpuBackend {
    ops: CpuOps,
    model: Model<CpuOps>,
    vocabulary: usize,
    weight_bytes: u64,
    untiled: Vec<String>,
}

impl CpuBackend {
    /// Loads the weights, and makes room for as many blocks of keys and values as fit `means.kv_bytes`, but at least for
    /// one sequence of `means.context`.
    pub(crate) fn load(file: &Checkpoint, means: &Means<'_>) -> Result<Self, EngineError> {
        let shape = Shape::read(file)?;
        let loaded = super::load::load(file, &shape, means)?;
        let context = shape.context.min(means.context);
        let block_bytes = shape.kv_bytes() * crate::paged::BLOCK as u64;
        let wanted = usize::try_from(means.kv_bytes / block_bytes).unwrap_or(usize::MAX);
        let blocks = wanted.max(context.div_ceil(crate::paged::BLOCK)).min(1 << 24);
        let (cos, sin) = shape.rotations(context);
        let kv = (0..shape.layers).map(|_| KvLayer::new(blocks, shape.kv_heads, shape.head_dim));
        let kv = kv.collect::<Option<Vec<_>>>().ok_or_else(|| {
            file.refuse(format_args!("no memory for {} bytes of keys and values", blocks as u64 * block_bytes))
        })?;
        let ops = CpuOps {
            level: Level::best(),
            shape,
            context,
            blocks,
            kv,
            cos,
            sin,
            quantised: Quantised::default(),
            spare: Vec::new(),
        };
        let vocabulary = loaded.model.head.n;
        let (weight_bytes, untiled) = (loaded.bytes, loaded.untiled);
        Ok(Self { ops, model: loaded.model, vocabulary, weight_bytes, untiled })
    }
}

impl Backend for CpuBackend {
    fn shape(&self) -> &Shape {
        &self.ops.shape
    }

    fn context(&self) -> usize {
        self.ops.context
    }

    fn blocks(&self) -> usize {
        self.ops.blocks
    }

    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        let rows = forward(&mut self.ops, &self.model, batch)?;
        logits.clear();
        if let Some(rows) = rows {
            logits.extend_from_slice(&rows.values);
            self.ops.done(rows);
        }
        Ok(())
    }

    fn copy_block(&mut self, from: u32, to: u32) {
        for layer in &mut self.ops.kv {
            layer.copy_block(from as usize, to as usize);
        }
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    fn describe(&self) -> String {
        let threads = candle_core::utils::get_num_threads();
        let slow =
            if self.untiled.is_empty() { String::new() } else { format!(", slower for {}", self.untiled.join(", ")) };
        format!("cpu, {threads} threads, {}{slow}", self.ops.level.name())
    }
}

/// Rows of activations, one after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    values: Vec<f32>,
    width: usize,
}

pub(super) struct CpuOps {
    level: Level,
    shape: Shape,
    context: usize,
    blocks: usize,
    kv: Vec<KvLayer>,
    cos: Vec<f32>,
    sin: Vec<f32>,
    quantised: Quantised,
    /// Vectors to be used again: fresh memory costs a page fault for every 4 KiB.
    spare: Vec<Vec<f32>>,
}

impl CpuOps {
    /// Rows whose values are to be overwritten, all of them.
    fn rows(&mut self, rows: usize, width: usize) -> Rows {
        let mut values = self.spare.pop().unwrap_or_default();
        values.resize(rows * width, 0.0);
        Rows { values, width }
    }

    /// `linear(x)` of rows that lie in `self.quantised` already, or in `x` for what has no tiles.
    fn multiply(&mut self, linear: &Linear, x: &Rows) -> Result<Rows, EngineError> {
        let rows = x.values.len() / x.width;
        let mut out = self.rows(rows, linear.n);
        let mut column = 0;
        let mut tiles = Vec::new();
        for matrix in &linear.parts {
            match matrix {
                Matrix::Tiles(weights) => tiles.push(Part { weights, column }),
                Matrix::Candle(tensor) => by_candle(tensor, x, &mut out, column)?,
            }
            column += matrix.n();
        }
        if !tiles.is_empty() {
            self.quantised.fill(self.level, &x.values, x.width);
            kernels::matmul(self.level, &tiles, &self.quantised, &mut out.values, linear.n);
        }
        if let Some(bias) = &linear.bias {
            kernels::add_bias(&mut out.values, bias);
        }
        Ok(out)
    }
}

fn by_candle(tensor: &Arc<QTensor>, x: &Rows, out: &mut Rows, column: usize) -> Result<(), EngineError> {
    let failed = |e: candle_core::Error| EngineError::Failed(brief(&e));
    let rows = x.values.len() / x.width;
    let storage = CpuStorage::F32(x.values.clone());
    let layout = Layout::contiguous((rows, x.width));
    let (product, _) = tensor.cpu_fwd(&storage, &layout).map_err(failed)?;
    let CpuStorage::F32(product) = product else {
        return Err(EngineError::Failed("a product of another type".into()));
    };
    let n = product.len() / rows;
    for (from, to) in product.chunks_exact(n).zip(out.values.chunks_exact_mut(out.width)) {
        to[column..column + n].copy_from_slice(from);
    }
    Ok(())
}

impl Ops for CpuOps {
    type Rows = Rows;
    type Norm = Vec<f32>;
    type Linear = Linear;
    type Embedding = Embedding;

    fn embed(&mut self, table: &Embedding, tokens: &[u32]) -> Result<Rows, EngineError> {
        let mut out = self.rows(tokens.len(), table.width);
        for (token, row) in tokens.iter().zip(out.values.chunks_exact_mut(table.width)) {
            table.row(*token, row)?;
        }
        Ok(out)
    }

    fn project(&mut self, x: &Rows, norm: &Vec<f32>, linear: &Linear) -> Result<Rows, EngineError> {
        let mut normed = self.rows(x.values.len() / x.width, x.width);
        kernels::norm(self.level, &x.values, norm, self.shape.eps, &mut normed.values);
        let out = self.multiply(linear, &normed);
        self.done(normed);
        out
    }

    fn attend(
        &mut self,
        layer: usize,
        mut qkv: Rows,
        head_norms: Option<&(Vec<f32>, Vec<f32>)>,
        spans: &[Span],
    ) -> Result<Rows, EngineError> {
        let Shape { heads, kv_heads, head_dim: dim, eps, halves, .. } = self.shape;
        let (queries, keys) = (heads * dim, kv_heads * dim);
        if let Some((of_queries, of_keys)) = head_norms {
            kernels::norm_heads(&mut qkv.values, qkv.width, 0, heads, of_queries, eps);
            kernels::norm_heads(&mut qkv.values, qkv.width, queries, kv_heads, of_keys, eps);
        }
        let scale = (dim as f32).sqrt().recip();
        let kv = &mut self.kv[layer];
        for span in spans {
            for i in 0..span.rows {
                let position = span.position + i;
                let row = &mut qkv.values[(span.row + i) * qkv.width..][..qkv.width];
                let angles = position * dim / 2..(position + 1) * dim / 2;
                let (cos, sin) = (&self.cos[angles.clone()], &self.sin[angles]);
                let (q, rest) = row.split_at_mut(queries);
                let (k, v) = rest.split_at_mut(keys);
                kernels::rotate(q, cos, sin, halves, scale);
                kernels::rotate(k, cos, sin, halves, 1.0);
                let block = span.blocks[position / crate::paged::BLOCK] as usize;
                kv.put(block, position % crate::paged::BLOCK, k, v);
            }
        }
        let mut out = self.rows(qkv.values.len() / qkv.width, queries);
        let form = Attention { heads, kv_heads, dim, width: qkv.width };
        kernels::attend(self.level, form, &self.kv[layer], spans, &qkv.values, &mut out.values);
        self.done(qkv);
        Ok(out)
    }

    fn gate(&mut self, both: Rows) -> Result<Rows, EngineError> {
        let width = both.width / 2;
        let mut out = self.rows(both.values.len() / both.width, width);
        kernels::gate(self.level, &both.values, width, &mut out.values);
        self.done(both);
        Ok(out)
    }

    fn add(&mut self, x: &mut Rows, y: Rows, linear: &Linear) -> Result<(), EngineError> {
        let product = self.multiply(linear, &y)?;
        kernels::add(&mut x.values, &product.values);
        self.done(product);
        self.done(y);
        Ok(())
    }

    fn select(&mut self, x: Rows, rows: &[usize]) -> Result<Rows, EngineError> {
        let mut out = self.rows(rows.len(), x.width);
        for (row, to) in rows.iter().zip(out.values.chunks_exact_mut(x.width)) {
            to.copy_from_slice(&x.values[row * x.width..][..x.width]);
        }
        self.done(x);
        Ok(out)
    }

    fn done(&mut self, rows: Rows) {
        // As many as one step needs at a time.
        if self.spare.len() < 8 {
            self.spare.push(rows.values);
        }
    }
}
