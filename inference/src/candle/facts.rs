//! What a model file says about itself, for whoever chooses one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::template::ChatTemplate;
use super::tokenizer::ModelTokenizer;
use crate::EngineError;
use crate::checkpoint::{Checkpoint, Quantise};
use crate::graph::Shape;

/// A model file in a few words and figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    pub architecture: String,
    pub parameters: u64,
    /// The format of most weights.
    pub format: String,
    /// The longest sequence that it was made for, in tokens.
    pub context: u32,
    /// Bytes of keys and values of one token.
    pub kv_bytes: u64,
}

/// Whether an engine could run this file or folder, and what it is. Reads headers and tokenizer.
pub fn inspect(path: &Path) -> Result<ModelFacts, EngineError> {
    let file = Checkpoint::open(path, Quantise::Q8_0)?;
    let shape = Shape::read(&file)?;
    let tokenizer = ModelTokenizer::load(&file)?;
    ChatTemplate::load(&file, &tokenizer)?;
    let stored = file.stored();
    let mut counted = BTreeMap::<String, usize>::new();
    stored.iter().for_each(|(format, _)| *counted.entry(format!("{format:?}")).or_default() += 1);
    let most = counted.into_iter().filter(|(name, _)| name != "F32").max_by_key(|(_, n)| *n);
    Ok(ModelFacts {
        parameters: stored.iter().map(|(_, elements)| *elements as u64).sum(),
        format: most.map_or("F32".to_owned(), |(name, _)| name),
        context: u32::try_from(shape.context).unwrap_or(u32::MAX),
        kv_bytes: shape.kv_bytes(),
        architecture: shape.architecture,
    })
}

impl fmt::Display for ModelFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { architecture, parameters, format, context, .. } = self;
        let billions = *parameters as f64 / 1e9;
        write!(f, "{architecture}, {billions:.2} B parameters, mostly {format}, made for {context} tokens")
    }
}
