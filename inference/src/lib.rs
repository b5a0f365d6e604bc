//! Inference: engines that turn messages into text, behind one trait.
//!
//! ```text
//! Request → EngineHandle → EngineActor → dyn Engine (candle on this CPU | mock) → TokenStream → Completion
//! ```
//! What is here: the types of a request and its answer, the engines, the model files that engines load, and the actor
//! through which the rest of Fleet reaches an engine. What isn't: prompts, roles and tools; a request carries a tag
//! that says what it is for, and only the mock engine looks at it.

mod actor;
mod candle;
mod completion;
mod config;
mod device;
mod engine;
mod error;
mod gpus;
mod graph;
mod kernels;
mod mock;
mod paged;
mod request;
mod schedule;
mod stream;
#[cfg(test)]
mod testing;
mod text;

pub mod models;

pub use actor::{EngineActor, EngineHandle, EngineMsg, NodeEngines, PlacedArgs, PlacedEngine, TokenItem};
pub use candle::{CandleEngine, CandleOptions, text_nll};
pub use completion::{Completion, EmbedRequest, Embeddings, Finish, TokenEvent, TokenLogprob, Usage};
pub use config::{EngineConfig, build_engine};
pub use device::EngineDevice;
pub use engine::{Engine, EngineInfo, EngineKind, EngineState, EngineStats, PinId};
pub use error::EngineError;
pub use gpus::{GpuError, GpuSource, NvmlProbe};
pub use mock::{MockAction, MockEngine, MockMode, MockOptions, Script, ScriptEntry};
pub use request::{ChatMessage, ChatRole, Constraint, Priority, Request, RequestTag, Sampling, ToolCall, ToolSpec};
pub use stream::TokenStream;
