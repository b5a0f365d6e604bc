//! The forward pass beside candle-transformers': the same weights and tokens have to give the same logits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};

use super::tokenizer::ModelTokenizer;
use crate::Quantise;
use crate::checkpoint::Checkpoint;
use crate::graph::{Backend, Batch, CpuBackend, Means, Span, TensorBackend};
use crate::models::ModelStore;
use crate::tiny;

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

fn qwen3(path: &Path) -> Reference {
    let mut reader = BufReader::new(File::open(path).unwrap());
    let content = Content::read(&mut reader).unwrap();
    let mut weights = quantized_qwen3::ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).unwrap();
    Box::new(move |tokens, at| row(&weights.forward(&tensor(tokens), at).unwrap()))
}

fn tiles(path: &Path) -> Box<dyn Backend> {
    let means = Means { context: 256, kv_bytes: 0, tiles: None };
    Box::new(CpuBackend::load(&Checkpoint::open(path, Quantise::Q8_0).unwrap(), &means).unwrap())
}

/// What runs on GPUs, on the CPU.
fn tensors(path: &Path) -> Box<dyn Backend> {
    Box::new(
        TensorBackend::load(&Checkpoint::open(path, Quantise::Q8_0).unwrap(), &Device::Cpu, 256, |_| Ok(0)).unwrap(),
    )
}

/// Our forward pass, one sequence.
struct Ours {
    backend: Box<dyn Backend>,
    len: usize,
}

impl Ours {
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

/// Prefills the prompt in chunks, then decodes greedily, and compares at every token; with both backends.
fn compare(path: &Path, prompt: &[u32], open: fn(&Path) -> Reference) {
    compare_one(Ours { backend: tiles(path), len: 0 }, path, prompt, open);
    compare_one(Ours { backend: tensors(path), len: 0 }, path, prompt, open);
}

fn compare_one(mut model: Ours, path: &Path, prompt: &[u32], open: fn(&Path) -> Reference) {
    let mut ours = prompt.chunks(CHUNK).map(|chunk| model.extend(chunk)).last().unwrap();
    let (mut reference, mut one_by_one) = (open(path), open(path));
    let mut theirs = reference(prompt, 0);
    let alone = prompt.iter().enumerate().map(|(at, token)| one_by_one(&[*token], at)).last().unwrap();
    // Ours rounds keys and values to f16 and inputs by kernels of its own: at least that much apart is no fault.
    let noise = distance(&alone, &theirs).max(8e-3);
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
    let prompt = ModelTokenizer::load(&Checkpoint::open(&path, Quantise::Q8_0).unwrap()).unwrap().encode(TEXT).unwrap();
    compare_one(Ours { backend: tiles(&path), len: 0 }, &path, &prompt, llama);
    // By tensors this model takes half a minute; one of its form does as well.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    write_tiny("llama", &path);
    compare(&path, &tiny_prompt(45), llama);
}

#[test]
fn qwen2_gives_the_logits_of_candle_transformers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    write_tiny("qwen2", &path);
    compare(&path, &tiny_prompt(45), qwen2);
}

#[test]
fn qwen3_gives_the_logits_of_candle_transformers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    write_tiny("qwen3", &path);
    compare(&path, &tiny_prompt(45), qwen3);
}

fn write_tiny(architecture: &str, path: &Path) {
    tiny::Gguf::tiny(architecture).write(path);
}

fn tiny_prompt(n: u32) -> Vec<u32> {
    (0..n).map(|n| n * 7 % tiny::VOCABULARY).collect()
}

/// Several sequences in one step, some of them decoding, give what each gives by itself.
#[test]
fn a_mixed_batch_gives_what_its_sequences_give_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    write_tiny("qwen2", &path);
    for open in [tiles, tensors] {
        let prompts = [tiny_prompt(40), tiny_prompt(3), tiny_prompt(17), tiny_prompt(33)];
        let alone: Vec<Vec<f32>> =
            prompts.iter().map(|prompt| Ours { backend: open(&path), len: 0 }.extend(prompt)).collect();
        let mut backend = open(&path);
        let blocks = |n: u32| vec![2 * n + 1, 2 * n];
        // All but the last of each first; then the last ones together, but for one prompt that comes whole.
        let first = |n: usize| (n as u32, 0, &prompts[n][..prompts[n].len() - 1]);
        let last = |n: usize| (n as u32, prompts[n].len() - 1, &prompts[n][prompts[n].len() - 1..]);
        let mut step = |parts: Vec<(u32, usize, &[u32])>| {
            let mut batch = Batch::default();
            for (n, position, tokens) in parts {
                let row = batch.tokens.len();
                batch.tokens.extend_from_slice(tokens);
                batch.spans.push(Span { row, rows: tokens.len(), position, blocks: blocks(n) });
                batch.outputs.push(batch.tokens.len() - 1);
            }
            let mut logits = Vec::new();
            backend.step(&batch, &mut logits).unwrap();
            logits
        };
        step(vec![first(0), first(1), first(2)]);
        let together = step(vec![last(0), (3, 0, &prompts[3]), last(1), last(2)]);
        let width = together.len() / 4;
        for (n, logits) in [0, 3, 1, 2].into_iter().zip(together.chunks_exact(width)) {
            assert!(distance(logits, &alone[n]) < 2e-3, "sequence {n}: {}", distance(logits, &alone[n]));
        }
    }
}

#[test]
fn a_copied_block_is_as_good_as_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    write_tiny("qwen3", &path);
    for open in [tiles, tensors] {
        let mut backend = open(&path);
        let mut step = |tokens: &[u32], position, block| {
            let span = Span { row: 0, rows: tokens.len(), position, blocks: vec![block] };
            let batch = Batch { tokens: tokens.to_vec(), spans: vec![span], outputs: vec![tokens.len() - 1] };
            let mut logits = Vec::new();
            if position > 0 {
                backend.copy_block(0, block);
            }
            backend.step(&batch, &mut logits).unwrap();
            logits
        };
        let prompt = tiny_prompt(20);
        step(&prompt[..19], 0, 0);
        let here = step(&prompt[19..], 19, 3);
        assert_eq!(step(&prompt[19..], 19, 5), here);
    }
}
