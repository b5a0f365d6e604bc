//! The forward pass beside candle-transformers': the same weights and tokens have to give the same logits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::gguf::GgufFile;
use super::tokenizer::ModelTokenizer;
use crate::graph::{Backend, Batch, CpuBackend, Means, Span};
use crate::models::ModelStore;

const TEXT: &str = "def page_count(total, per_page):\n    return total // per_page + 1\n\n\ndef page_items";
/// Tokens that are decoded one by one after the text.
const DECODED: usize = 6;
const CHUNK: usize = 16;
/// How far apart the two may be, in units of how far the reference is from itself when it takes the same tokens one by
/// one instead of together: products round their inputs to eight bits, so another order of sums shows.
const TOLERANCE: f32 = 2.0;

/// The reference: tokens so far and the place of the first give the logits of the next.
type Reference = Box<dyn FnMut(&[u32], usize) -> Vec<f32>>;

fn tensor(tokens: &[u32]) -> Tensor {
    Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap()
}

fn row(logits: &Tensor) -> Vec<f32> {
    logits.flatten_all().unwrap().to_vec1().unwrap()
}

fn llama(path: &Path) -> Reference {
    let mut reader = BufReader::new(File::open(path).unwrap());
    let content = Content::read(&mut reader).unwrap();
    let mut weights = quantized_llama::ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).unwrap();
    Box::new(move |tokens, at| row(&weights.forward(&tensor(tokens), at).unwrap()))
}

fn qwen2(path: &Path) -> Reference {
    let mut reader = BufReader::new(File::open(path).unwrap());
    let content = Content::read(&mut reader).unwrap();
    let mut weights = quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).unwrap();
    Box::new(move |tokens, at| row(&weights.forward(&tensor(tokens), at).unwrap()))
}

/// Our forward pass, one sequence.
struct Ours {
    backend: CpuBackend,
    len: usize,
}

impl Ours {
    fn open(path: &Path) -> Self {
        let means = Means { context: 256, kv_bytes: 0, tiles: None };
        Self { backend: CpuBackend::load(&GgufFile::open(path).unwrap(), &means).unwrap(), len: 0 }
    }

    /// The logits after these tokens.
    fn extend(&mut self, tokens: &[u32]) -> Vec<f32> {
        // Blocks in an order that isn't the natural one.
        let blocks = (0..self.backend.blocks() as u32).rev().collect();
        let span = Span { row: 0, rows: tokens.len(), position: self.len, blocks };
        let batch = Batch { tokens: tokens.to_vec(), spans: vec![span], outputs: vec![tokens.len() - 1] };
        let mut logits = Vec::new();
        self.backend.step(&batch, &mut logits).unwrap();
        self.len += tokens.len();
        logits
    }
}

fn best(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    u32::try_from(best.0).unwrap()
}

/// The largest difference as a part of the reference's spread.
fn distance(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let spread = theirs.iter().copied().fold(f32::MIN, f32::max) - theirs.iter().copied().fold(f32::MAX, f32::min);
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / spread
}

/// Prefills the prompt in chunks, then decodes greedily, and compares at every token.
fn compare(path: &Path, prompt: &[u32], open: fn(&Path) -> Reference) {
    let mut model = Ours::open(path);
    let mut ours = prompt.chunks(CHUNK).map(|chunk| model.extend(chunk)).last().unwrap();
    let (mut reference, mut one_by_one) = (open(path), open(path));
    let mut theirs = reference(prompt, 0);
    let alone = prompt.iter().enumerate().map(|(at, token)| one_by_one(&[*token], at)).last().unwrap();
    // Ours rounds keys and values to f16 and inputs by kernels of its own: at least that much apart is no fault.
    let noise = distance(&alone, &theirs).max(4e-3);
    for step in 0..=DECODED {
        let apart = distance(&ours, &theirs);
        println!("token {step}: {apart:.1e} of the spread apart, the reference from itself {noise:.1e}");
        assert!(apart < TOLERANCE * noise, "token {step} is {apart:e} of the spread apart, noise is {noise:e}");
        let next = best(&theirs);
        ours = model.extend(&[next]);
        theirs = reference(&[next], prompt.len() + step);
    }
}

#[test]
fn llama_gives_the_logits_of_candle_transformers() {
    let path = ModelStore::of_user().unwrap().path("smollm2-135m-instruct");
    let path = path.unwrap_or_else(|e| panic!("run `make setup`: {e}"));
    let prompt = ModelTokenizer::load(&GgufFile::open(&path).unwrap()).unwrap().encode(TEXT).unwrap();
    compare(&path, &prompt, llama);
}

#[test]
fn qwen2_gives_the_logits_of_candle_transformers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    write_tiny_qwen2(&path);
    let prompt: Vec<u32> = (0..45).map(|n| n * 7 % TINY_VOCABULARY).collect();
    compare(&path, &prompt, qwen2);
}

const TINY_VOCABULARY: u32 = 128;
const TINY_LAYERS: usize = 2;

/// A model of the right form with random weights: two layers, four heads on two of keys.
fn write_tiny_qwen2(path: &Path) {
    let (width, hidden, kv) = (64, 128, 32);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut weights = |dims: &[usize], scale: f32, kind: GgmlDType| {
        let mut unit = || f64::from(random.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0;
        let values = (0..dims.iter().product()).map(|_| (f64::from(scale) * unit()) as f32).collect();
        QTensor::quantize(&Tensor::from_vec::<_, f32>(values, dims, &Device::Cpu).unwrap(), kind).unwrap()
    };
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), weights(&[TINY_VOCABULARY as usize, width], 1.0, GgmlDType::Q8_0)),
        ("output_norm.weight".to_owned(), weights(&[width], 1.0, GgmlDType::F32)),
    ];
    for layer in 0..TINY_LAYERS {
        let parts: [(&str, &[usize]); 7] = [
            ("attn_q", &[width, width]),
            ("attn_k", &[kv, width]),
            ("attn_v", &[kv, width]),
            ("attn_output", &[width, width]),
            ("ffn_gate", &[hidden, width]),
            ("ffn_up", &[hidden, width]),
            ("ffn_down", &[width, hidden]),
        ];
        for (part, dims) in parts {
            tensors.push((format!("blk.{layer}.{part}.weight"), weights(dims, 0.3, GgmlDType::Q8_0)));
        }
        for (part, len) in [("attn_q.bias", width), ("attn_k.bias", kv), ("attn_v.bias", kv)] {
            tensors.push((format!("blk.{layer}.{part}"), weights(&[len], 0.5, GgmlDType::F32)));
        }
        for part in ["attn_norm.weight", "ffn_norm.weight"] {
            tensors.push((format!("blk.{layer}.{part}"), weights(&[width], 1.0, GgmlDType::F32)));
        }
    }
    let metadata = [
        ("general.architecture", Value::String("qwen2".into())),
        ("qwen2.attention.head_count", Value::U32(4)),
        ("qwen2.attention.head_count_kv", Value::U32(2)),
        ("qwen2.embedding_length", Value::U32(u32::try_from(width).unwrap())),
        ("qwen2.context_length", Value::U32(256)),
        ("qwen2.block_count", Value::U32(u32::try_from(TINY_LAYERS).unwrap())),
        ("qwen2.attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
        ("qwen2.rope.freq_base", Value::F32(1_000_000.0)),
    ];
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
}
