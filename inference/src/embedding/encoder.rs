//! A BERT encoder and its tokenizer.

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config, DTYPE};
use tokenizers::{Tokenizer, TruncationParams};

use crate::EngineError;

/// Tokens of a text that are read: what the model was trained with. The rest of a longer one is left out.
pub(super) const LONGEST: usize = 256;
/// Padded tokens that are computed at a time.
const BATCH: usize = 4096;

/// The tokenizer of an encoder.
#[derive(Clone)]
pub(super) struct Words(Tokenizer);

impl Words {
    fn load(path: &Path) -> Result<Self, EngineError> {
        let wrong = |e: tokenizers::Error| unreadable(path, &e);
        let mut tokenizer = Tokenizer::from_file(path).map_err(wrong)?;
        // Files of this kind ask for padding to a length of their own.
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: LONGEST, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(wrong)?;
        Ok(Self(tokenizer))
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let encoded = self.0.encode(text, true);
        Ok(encoded.map_err(|e| EngineError::Failed(format!("tokenizer: {e}")))?.get_ids().to_vec())
    }

    /// How many tokens of the text are read.
    pub(super) fn count(&self, text: &str) -> Option<u32> {
        Some(self.ids(text).ok()?.len() as u32)
    }
}

/// A model and its tokenizer.
pub(super) struct Encoder {
    model: BertModel,
    words: Words,
    bytes: u64,
}

impl Encoder {
    /// Loads weights with the `config.json` and `tokenizer.json` that lie beside them.
    pub(super) fn load(weights: &Path) -> Result<Self, EngineError> {
        let config = weights.with_file_name("config.json");
        let text = fs::read_to_string(&config).map_err(|e| unreadable(&config, &e))?;
        let config: Config = serde_json::from_str(&text).map_err(|e| unreadable(&config, &e))?;
        let words = Words::load(&weights.with_file_name("tokenizer.json"))?;
        let bytes = fs::read(weights).map_err(|e| unreadable(weights, &e))?;
        let size = bytes.len() as u64;
        let tensors = VarBuilder::from_buffered_safetensors(bytes, DTYPE, &Device::Cpu);
        let tensors = tensors.map_err(|e| unreadable(weights, &e))?;
        let model = BertModel::load(tensors, &config).map_err(|e| unreadable(weights, &e))?;
        Ok(Self { model, words, bytes: size })
    }

    pub(super) fn words(&self) -> &Words {
        &self.words
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One vector of length 1 a text, and how many tokens of it were read.
    pub(super) fn encode(&self, texts: &[&str]) -> Result<Vec<(Vec<f32>, u32)>, EngineError> {
        let ids = texts.iter().map(|text| self.words.ids(text)).collect::<Result<Vec<_>, _>>()?;
        // Texts of about one length together: padding is computed like anything else.
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|n| std::cmp::Reverse(ids[*n].len()));
        let mut vectors = vec![Vec::new(); ids.len()];
        let mut rest = order.as_slice();
        while let Some(longest) = rest.first().map(|n| ids[*n].len().max(1)) {
            let (batch, later) = rest.split_at((BATCH / longest).clamp(1, rest.len()));
            let made = self.batch(batch.iter().map(|n| ids[*n].as_slice()), longest);
            let made = made.map_err(|e| EngineError::Failed(format!("embedding: {e}")))?;
            for (n, vector) in batch.iter().zip(made) {
                vectors[*n] = vector;
            }
            rest = later;
        }
        Ok(vectors.into_iter().zip(ids).map(|(vector, ids)| (vector, ids.len() as u32)).collect())
    }

    fn batch<'a>(&self, texts: impl Iterator<Item = &'a [u32]>, longest: usize) -> candle_core::Result<Vec<Vec<f32>>> {
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for text in texts {
            ids.extend_from_slice(text);
            ids.resize(ids.len() + longest - text.len(), 0);
            mask.extend(std::iter::repeat_n(1.0_f32, text.len()));
            mask.resize(ids.len(), 0.0);
        }
        let shape = (ids.len() / longest, longest);
        let ids = Tensor::from_vec(ids, shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
        let out = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let sum = out.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?;
        let mean = sum.broadcast_div(&mask.sum_keepdim(1)?)?;
        let length = mean.sqr()?.sum_keepdim(1)?.sqrt()?.clamp(1e-12, f32::MAX)?;
        mean.broadcast_div(&length)?.to_vec2()
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> EngineError {
    EngineError::Model(format!("{} can't be read: {why}", path.display()))
}
