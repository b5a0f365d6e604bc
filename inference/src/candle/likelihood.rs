//! How likely a model finds a text: the measure by which the arithmetic of two engines is compared.

use std::path::Path;

use super::tokenizer::ModelTokenizer;
use crate::EngineError;
use crate::checkpoint::{Checkpoint, Quantise};
use crate::graph::{Backend, Batch, CpuBackend, Means, Span};
use crate::paged::BLOCK;

/// Rows of logits at a time: each is as long as the vocabulary.
const ROWS: usize = 64;

/// The mean negative log-likelihood of a text's tokens after the first, in nats, and how many tokens it has; at most the
/// first `most`. On the CPU.
pub fn text_nll(model: &Path, text: &str, most: usize) -> Result<(f64, usize), EngineError> {
    let file = Checkpoint::open(model, Quantise::Q8_0)?;
    let mut tokens = ModelTokenizer::load(&file)?.encode(text)?;
    tokens.truncate(most);
    if tokens.len() < 2 {
        return Err(EngineError::BadRequest("the text has less than two tokens".into()));
    }
    let mut backend = CpuBackend::load(&file, &Means { context: tokens.len(), kv_bytes: 0, tiles: None })?;
    let blocks: Vec<u32> = (0..tokens.len().div_ceil(BLOCK) as u32).collect();
    let (mut sum, mut logits) = (0.0, Vec::new());
    for (chunk, at) in tokens.chunks(ROWS).zip((0..).step_by(ROWS)) {
        let span = Span { row: 0, rows: chunk.len(), position: at, blocks: blocks.clone() };
        let batch = Batch { tokens: chunk.to_vec(), spans: vec![span], outputs: (0..chunk.len()).collect() };
        backend.step(&batch, &mut logits)?;
        for (row, next) in logits.chunks_exact(backend.vocabulary()).zip(&tokens[at + 1..]) {
            sum -= log_likelihood(row, *next);
        }
    }
    Ok((sum / (tokens.len() - 1) as f64, tokens.len()))
}

fn log_likelihood(logits: &[f32], token: u32) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|l| f64::from(l - highest).exp()).sum();
    let own = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    f64::from(own - highest) - total.ln()
}
