//! From a model's files to a model on the CPU: tiles for the formats that have them, candle's tensors for the others.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::QTensor;

use super::cpu::{CpuOps, Linear, Matrix};
use super::shape::Shape;
use super::tiles::Tiles;
use super::{Layer, Model};
use crate::EngineError;
use crate::candle::brief;
use crate::checkpoint::{Checkpoint, Rows};
use crate::kernels::{Bytes, Format, Packed, Planes};

/// A matrix of fewer outputs is no model's, and would be mostly padding as tiles.
const FEWEST: usize = 16;

/// What a backend may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means<'a> {
    /// The longest sequence, in tokens.
    pub(crate) context: usize,
    /// For keys and values, in bytes.
    pub(crate) kv_bytes: u64,
    /// Where tiles are kept; `None`: nowhere.
    pub(crate) tiles: Option<&'a Path>,
}

pub(super) struct Loaded {
    pub(super) model: Model<CpuOps>,
    pub(super) bytes: u64,
    /// Formats without tiles.
    pub(super) untiled: Vec<String>,
}

/// A tensor that becomes tiles.
struct Planned {
    name: String,
    format: Format,
    planes: Planes,
    at: usize,
}

/// What the tiles of a model are made of, in the order of their file.
struct Plan {
    tensors: Vec<Planned>,
    len: usize,
}

pub(super) fn load(file: &Checkpoint, shape: &Shape, means: &Means<'_>) -> Result<Loaded, EngineError> {
    let head = if file.has_tensor("output.weight") { "output.weight" } else { "token_embd.weight" };
    let mut names: Vec<String> = Vec::new();
    for layer in 0..shape.layers {
        let parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
        names.extend(parts.map(|part| format!("blk.{layer}.{part}.weight")));
    }
    names.push(head.to_owned());
    let plan = Plan::of(file, &names)?;
    let tiles = Tiles { file, dir: means.tiles, len: plan.len };
    let bytes = tiles.get(|out| plan.fill(file, out))?;
    let mut loader = Loader { file, plan: &plan, bytes, total: plan.len as u64, untiled: BTreeSet::new() };
    let layers = (0..shape.layers).map(|layer| loader.layer(layer, shape)).collect::<Result<_, _>>()?;
    let head = loader.linear(&[head.to_owned()], &[], shape.width)?;
    let embedding = Embedding::open(file, shape.width)?;
    if head.n > embedding.rows as usize {
        return Err(file.refuse(format_args!("{} tokens can follow, but {} are known", head.n, embedding.rows)));
    }
    let norm = loader.vector("output_norm.weight", shape.width)?;
    let untiled: Vec<String> = loader.untiled.into_iter().collect();
    if !untiled.is_empty() {
        tracing::warn!(formats = untiled.join(", "), "no kernels of our own for these formats: candle's are slower");
    }
    Ok(Loaded { bytes: loader.total, untiled, model: Model { embedding, layers, norm, head } })
}

impl Plan {
    fn of(file: &Checkpoint, names: &[String]) -> Result<Self, EngineError> {
        let (mut tensors, mut len) = (Vec::new(), 0);
        for name in names {
            let (kind, dims) = file.about(name)?;
            let [n, k] = dims[..] else {
                return Err(file.refuse(format_args!("{name} has {} dimensions instead of two", dims.len())));
            };
            if n < FEWEST {
                return Err(file.refuse(format_args!("{name} is {dims:?}")));
            }
            let Some((format, planes)) = Format::of(kind).and_then(|f| Some((f, Planes::of(f, n, k)?))) else {
                continue;
            };
            tensors.push(Planned { name: name.clone(), format, at: len, planes });
            len += tensors.last().map_or(0, |t| t.planes.len());
        }
        Ok(Self { tensors, len })
    }

    /// One tensor after the other, each on all threads: beside the tiles there are never more than some rows for each.
    fn fill(&self, file: &Checkpoint, out: &mut [u8]) -> Result<(), EngineError> {
        for tensor in &self.tensors {
            let rows = file.rows(&tensor.name)?;
            let read = |first: usize, out: &mut [u8]| rows.read(first, out);
            let filled = tensor.planes.fill(tensor.format, &mut out[tensor.at..], read);
            filled.map_err(|e| file.refuse(format_args!("{}: {e}", tensor.name)))?;
        }
        Ok(())
    }
}

struct Loader<'a> {
    file: &'a Checkpoint,
    plan: &'a Plan,
    bytes: Bytes,
    total: u64,
    untiled: BTreeSet<String>,
}

impl Loader<'_> {
    fn layer(&mut self, index: usize, shape: &Shape) -> Result<Layer<CpuOps>, EngineError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let weights = |parts: &[&str]| parts.iter().map(|p| name(&format!("{p}.weight"))).collect::<Vec<_>>();
        let biases = ["attn_q", "attn_k", "attn_v"].map(|p| name(&format!("{p}.bias")));
        let (queries, keys) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let qkv = self.linear(&weights(&["attn_q", "attn_k", "attn_v"]), &biases, shape.width)?;
        let output = self.linear(&weights(&["attn_output"]), &[], queries)?;
        let gate_up = self.linear(&weights(&["ffn_gate", "ffn_up"]), &[], shape.width)?;
        let down = self.linear(&weights(&["ffn_down"]), &[], gate_up.n / 2)?;
        let fits = qkv.n == queries + 2 * keys && output.n == shape.width && down.n == shape.width;
        if !fits || gate_up.n % 2 != 0 {
            return Err(self.file.refuse(format_args!("the weights of layer {index} don't fit together")));
        }
        let head_norms = match shape.head_norms {
            true => Some((
                self.vector(&name("attn_q_norm.weight"), shape.head_dim)?,
                self.vector(&name("attn_k_norm.weight"), shape.head_dim)?,
            )),
            false => None,
        };
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm.weight"), shape.width)?,
            qkv,
            head_norms,
            output,
            ffn_norm: self.vector(&name("ffn_norm.weight"), shape.width)?,
            gate_up,
            down,
        })
    }

    /// Products with the same input of `k`, as one.
    fn linear(&mut self, names: &[String], biases: &[String], k: usize) -> Result<Linear, EngineError> {
        let mut parts = Vec::new();
        let (mut n, mut bias) = (0, Vec::new());
        for (i, name) in names.iter().enumerate() {
            let (kind, dims) = self.file.about(name)?;
            if dims.len() != 2 || dims[1] != k || dims[0] == 0 {
                return Err(self.file.refuse(format_args!("{name} is {dims:?} instead of [any, {k}]")));
            }
            parts.push(match self.plan.tensors.iter().find(|t| t.name == *name) {
                Some(planned) => Matrix::Tiles(self.packed(planned)?),
                None => {
                    self.untiled.insert(format!("{kind:?}"));
                    let tensor = self.file.tensor(name)?;
                    self.total += tensor.storage_size_in_bytes() as u64;
                    Matrix::Candle(Arc::new(tensor))
                }
            });
            bias.extend(match biases.get(i).filter(|b| self.file.has_tensor(b)) {
                Some(name) => self.vector(name, dims[0])?,
                None => vec![0.0; dims[0]],
            });
            n += dims[0];
        }
        let biased = biases.iter().any(|b| self.file.has_tensor(b));
        Ok(Linear { parts, bias: biased.then_some(bias), n })
    }

    fn packed(&self, planned: &Planned) -> Result<Packed, EngineError> {
        let packed = Packed::new(planned.planes.clone(), Arc::clone(&self.bytes), planned.at);
        packed.ok_or_else(|| self.file.refuse(format_args!("the tiles of {} are cut short", planned.name)))
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, EngineError> {
        self.file.vector(name, len)
    }
}

/// The vectors of tokens. They stay in the model's file: a step needs a few of its many rows.
pub(super) struct Embedding {
    pub(super) width: usize,
    rows: u32,
    table: Table,
}

enum Table {
    /// In blocks.
    Blocks(Rows, Format),
    /// As plain numbers, which need not be quantised: no product is made of them.
    Plain(Rows),
    Candle(Box<QTensor>),
}

impl Embedding {
    fn open(file: &Checkpoint, width: usize) -> Result<Self, EngineError> {
        const NAME: &str = "token_embd.weight";
        let (kind, dims) = file.about(NAME)?;
        let [rows, k] = dims[..] else { return Err(file.refuse("the embedding has not two dimensions")) };
        if k != width || u32::try_from(rows).is_err() {
            return Err(file.refuse(format_args!("the embedding is {dims:?} instead of [any, {width}]")));
        }
        let table = match Format::of(kind).filter(|format| format.row_bytes(k).is_some()) {
            _ if file.is_plain() => Table::Plain(file.rows(NAME)?),
            Some(format) => Table::Blocks(file.rows(NAME)?, format),
            None => Table::Candle(Box::new(file.tensor(NAME)?)),
        };
        Ok(Self { width, rows: rows as u32, table })
    }

    pub(super) fn row(&self, token: u32, out: &mut [f32]) -> Result<(), EngineError> {
        let gone = |e| EngineError::Failed(format!("the model's file can't be read any more: {e}"));
        if token >= self.rows {
            return Err(EngineError::BadRequest(format!("there is no token {token}")));
        }
        match &self.table {
            Table::Blocks(rows, format) => {
                let mut bytes = vec![0; rows.bytes()];
                rows.read(token as usize, &mut bytes).map_err(gone)?;
                format.dequantise(&bytes, out);
            }
            Table::Plain(rows) => rows.floats(token as usize, out).map_err(gone)?,
            Table::Candle(tensor) => {
                let fail = |e: candle_core::Error| EngineError::Failed(brief(&e));
                let ids = candle_core::Tensor::new(&[token], &Device::Cpu).map_err(fail)?;
                let row = tensor.embedding(&ids).and_then(|r| r.flatten_all()?.to_vec1::<f32>()).map_err(fail)?;
                out.copy_from_slice(&row);
            }
        }
        Ok(())
    }
}
