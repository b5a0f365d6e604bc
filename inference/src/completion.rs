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
}

/// One event of a token stream. After `Done` or `Failed` nothing follows.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum TokenEvent {
    /// `tokens` tokens were decoded and `text` became readable (part of a character or of a stop text is held back).
    Text {
        text: String,
        tokens: u32,
    },
    Done(Usage),
    Failed(EngineError),
}

/// A whole reply. `text` begins with the request's `assistant_prefix`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Completion {
    pub text: String,
    pub usage: Usage,
    pub model: String,
    pub engine: String,
    /// True if no model was asked: the text came from a script.
    pub mock: bool,
}
