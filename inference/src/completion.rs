//! What an engine answers: token events, or the whole completion.

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::EngineError;

/// Why decoding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model ended its turn, the constraint was complete, or a stop text came.
    Stop,
    /// `max_tokens` or the context was used up.
    Length,
    /// The reader went away.
    Cancelled,
}

/// What a request cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Usage {
    pub prompt_tokens: u32,
    /// How many of the prompt's tokens were taken from the prefix cache.
    pub cached_tokens: u32,
    pub completion_tokens: u32,
    pub finish: Finish,
    pub prefill_ms: u64,
    pub decode_ms: u64,
    /// What a service charges for it, in millionths of the configured currency; 0 on one's own machine.
    #[serde(default)]
    pub cost_micros: u64,
    /// The reply was kept from an earlier, equal request; tokens and times are what it cost then.
    #[serde(default)]
    pub replayed: bool,
}

/// How likely a token was, among those that sampling left as they were: before temperature, penalties and constraints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct TokenLogprob {
    /// Its bytes; part of a character is possible.
    pub bytes: Vec<u8>,
    /// Natural logarithm of the probability.
    pub logprob: f32,
    /// The likeliest ones at that place, likeliest first.
    pub top: Vec<(Vec<u8>, f32)>,
}

/// Texts to embed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct EmbedRequest {
    pub texts: Vec<String>,
    /// From submission, in milliseconds.
    pub deadline_ms: u64,
}

/// One vector a text, in their order, each of length 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Embeddings {
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that were read; of a text that is longer than the model's limit, its beginning.
    pub tokens: u32,
    pub model: String,
}

/// One event of a token stream. After `Done` or `Failed` nothing follows.
#[derive(Clone, Debug, PartialEq, SchemaWrite, SchemaRead)]
pub enum TokenEvent {
    /// `tokens` tokens were decoded and `text` became readable (part of a character or of a stop text is held back).
    Text {
        text: String,
        tokens: u32,
        /// One for each of the tokens, if the request asked for them.
        logprobs: Vec<TokenLogprob>,
    },
    Done(Usage),
    Failed(EngineError),
}

/// A whole reply. `text` begins with the request's `assistant_prefix`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Completion {
    pub text: String,
    /// One for each decoded token, if the request asked for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
    pub usage: Usage,
    pub model: String,
    pub engine: String,
    /// True if no model was asked: the text came from a script.
    pub mock: bool,
}
