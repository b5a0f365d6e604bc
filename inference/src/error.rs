//! What can go wrong with an engine, and what the caller can do about it.

use thiserror::Error;
use wincode::{SchemaRead, SchemaWrite};

/// An engine's refusal or failure. It travels between nodes, so causes are carried as text.
#[derive(Clone, Debug, PartialEq, Eq, Error, SchemaWrite, SchemaRead)]
pub enum EngineError {
    /// Try again later, or elsewhere.
    #[error("the engine's queue is full ({queued} requests wait)")]
    Busy { queued: u32 },
    /// Shorten the prompt or ask for fewer tokens.
    #[error(
        "the prompt has {prompt_tokens} tokens, but only {allowed} fit: context {context} less max_tokens {max_tokens}"
    )]
    PromptTooLong { prompt_tokens: u32, allowed: u32, context: u32, max_tokens: u32 },
    /// The request itself is wrong; asking again will not help.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// The constraint could not be compiled or led to a dead end.
    #[error("constraint: {0}")]
    Constraint(String),
    /// The model could not be loaded. The message says what to do.
    #[error("model not available: {0}")]
    Model(String),
    #[error("the engine does not support {0}")]
    Unsupported(String),
    #[error("the deadline passed after {after_ms} ms")]
    Deadline { after_ms: u64 },
    #[error("cancelled")]
    Cancelled,
    /// A fault while computing. The engine goes on with the next request.
    #[error("inference failed: {0}")]
    Failed(String),
    /// The engine is stopped or crashed. Nothing more comes from it.
    #[error("the engine is gone")]
    Gone,
    /// The configuration names something that isn't there or isn't allowed.
    #[error("engine configuration: {0}")]
    Config(String),
    /// Try again elsewhere, or when it has been resumed.
    #[error("the engine is being drained: it takes no further requests until it is resumed")]
    Draining,
}
