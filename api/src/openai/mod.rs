//! The OpenAI protocol under `/v1`: models, chat completions, embeddings, for the clients that speak it already.
//!
//! ```text
//! body → Fields → Ask → Request ×n → EngineRouter → RoutedAnswer ×n → whole (reply) | as it comes (chunks)
//! ```
//! It translates; what a model says is the engine's business. A field that would change the answer and isn't done is refused
//! by name, never passed over. A client that hangs up drops the answers, and with them the decoding.

mod ask;
mod chat;
mod chunks;
mod embeddings;
mod engines;
mod error;
mod fields;
mod messages;
mod models;
mod reply;
mod shape;

use std::time::Duration;

pub(crate) use chat::complete;
pub(crate) use embeddings::embed;
pub(crate) use engines::{drain, status};
pub(crate) use error::in_its_words;
pub(crate) use models::{list, show};

/// How long one request may take, queue and all: as long as OpenAI's own clients wait.
const DEADLINE: Duration = Duration::from_secs(600);
