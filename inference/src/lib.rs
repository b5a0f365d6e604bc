//! Inference: engines that turn messages into text, behind one trait.
//!
//! ```text
//! Request → EngineHandle → EngineActor → dyn Engine (candle on this machine | a server of the OpenAI protocol | mock) → TokenStream → Completion
//! ```
//! What is here: the types of a request and its answer, the engines, the model files that engines load, and the actor
//! through which the rest of Fleet reaches an engine. What isn't: prompts, roles and tools; a request carries a tag
//! that says what it is for, and only the mock engine looks at it.

mod actor;
mod candle;
mod checkpoint;
mod completion;
mod config;
mod device;
mod embedding;
mod engine;
mod error;
mod gpu;
mod gpus;
mod graph;
mod kernels;
mod mock;
mod openai;
mod paged;
mod replies;
mod request;
mod route;
mod schedule;
mod schema;
mod stream;
#[cfg(test)]
mod testing;
mod text;
#[cfg(test)]
#[path = "../tests/tiny/mod.rs"]
mod tiny;

pub mod bench;
pub mod models;
pub mod tools;

pub use actor::{Answer, EngineActor, EngineHandle, EngineMsg, Pinned, TokenItem};
pub use candle::{CandleEngine, CandleOptions, ModelFacts, inspect, text_nll};
pub use checkpoint::{Quantise, name_of};
pub use completion::{Completion, EmbedRequest, Embeddings, Finish, TokenEvent, TokenLogprob, Usage};
pub use config::{EngineConfig, build_engine};
pub use device::EngineDevice;
pub use engine::{Engine, EngineInfo, EngineKind, EngineState, EngineStats, PinId};
pub use error::EngineError;
pub use gpu::{GpuLease, LeaseDir, LeaseError};
pub use gpus::{GpuError, GpuSource, GpuStatus, NvmlProbe, gpus_of_machine};
pub use mock::{MockAction, MockEngine, MockMode, MockOptions, Script, ScriptEntry};
pub use openai::{Dialect, OpenAiEngine, OpenAiOptions};
pub use replies::{KeepsReplies, ReplyCache};
pub use request::{ChatMessage, ChatRole, Constraint, Priority, Request, RequestTag, Sampling, ToolCall, ToolSpec};
pub use route::{EngineRouter, Engines, KnownEngine, RoutedAnswer, Served, Wanted, only, writers};
pub use stream::TokenStream;
