//! The port behind which every engine stands: a model on this machine, a server elsewhere, or a script.

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use tokio::sync::oneshot;

use crate::{ChatMessage, EmbedRequest, Embeddings, EngineError, Request, TokenStream};

/// What stands behind the trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// A model on this machine, run by candle.
    Candle,
    /// A server that speaks the OpenAI protocol.
    #[serde(rename = "openai")]
    OpenAi,
    /// An embedding model on this machine.
    Embedding,
    /// Replies from a script.
    Mock,
}

impl EngineKind {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Candle => "candle",
            Self::OpenAi => "openai",
            Self::Embedding => "embedding",
            Self::Mock => "mock",
        }
    }
}

/// Where an engine is in its life. A request to a loading engine waits in its queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum EngineState {
    Loading,
    Ready,
    Failed {
        why: String,
    },
    /// It does what it has and takes nothing further.
    Draining,
}

/// What an engine is. `context` and the tokens of the prompt and completion are counted in the model's own tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct EngineInfo {
    pub name: String,
    pub model: String,
    pub kind: EngineKind,
    /// True if its replies come from a script. A person must see this wherever they see a reply.
    pub mock: bool,
    /// Prompt and completion together, in tokens. 0 while the model is still being loaded and no limit is configured.
    pub context: u32,
    pub state: EngineState,
}

/// What an engine has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct EngineStats {
    pub queued: u32,
    pub active: u32,
    pub completed: u64,
    pub cancelled: u64,
    pub failed: u64,
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub completion_tokens: u64,
    pub prefill_ms: u64,
    pub decode_ms: u64,
    /// Bytes of keys and values that later prompts may share, and in how many blocks.
    pub prefix_bytes: u64,
    pub prefix_entries: u32,
    /// Bytes for keys and values in all, and of those that requests and pins hold now.
    #[serde(default)]
    pub kv_bytes: u64,
    #[serde(default)]
    pub kv_held_bytes: u64,
    #[serde(default)]
    pub weight_bytes: u64,
    /// Requests that gave their keys and values back to others, to be computed again.
    #[serde(default)]
    pub preempted: u64,
    /// Tokens that were guessed ahead, and how many of them came.
    #[serde(default)]
    pub guessed: u64,
    #[serde(default)]
    pub guessed_right: u64,
    /// Requests that were answered by a reply that was kept from an earlier one; no other figure counts them.
    #[serde(default)]
    pub replayed: u64,
}

/// A pinned prompt prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct PinId(pub u64);

/// An engine. Every call returns at once; the work happens on the engine's own thread or task.
pub trait Engine: Send + Sync + 'static {
    fn info(&self) -> EngineInfo;

    /// Queues a request. `Busy` if the queue is full. Refusals that need the tokenizer come as the stream's `Failed`.
    fn submit(&self, request: Request) -> Result<TokenStream, EngineError>;

    /// Keeps the prefix that these messages make in the cache until `unpin`, for requests of that project. An engine without a prefix cache answers `Unsupported`.
    fn pin(&self, project: &str, messages: &[ChatMessage]) -> Result<PinId, EngineError>;

    fn unpin(&self, pin: PinId);

    fn stats(&self) -> EngineStats;

    /// Vectors for texts. An engine of another kind answers `Unsupported`.
    fn embed(&self, request: EmbedRequest) -> Result<oneshot::Receiver<Result<Embeddings, EngineError>>, EngineError> {
        drop(request);
        Err(EngineError::Unsupported("embeddings".into()))
    }

    /// How many tokens this text is, with the model's own tokenizer; an estimate while the model is being loaded.
    fn count_tokens(&self, text: &str) -> u32;
}
