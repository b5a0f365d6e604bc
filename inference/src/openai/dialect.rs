//! What servers understand beyond the protocol.

use serde::{Deserialize, Serialize};

/// Whose words a server understands. Found out from its list of models where it isn't configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// Nothing but the protocol.
    #[default]
    #[serde(rename = "openai")]
    OpenAi,
    /// vLLM, and Fleet's own nodes: `structured_outputs`, `continue_final_message`, all of sampling.
    #[serde(rename = "vllm")]
    Vllm,
    /// llama.cpp's server: `grammar`, `repeat_penalty`; a last message of the assistant is continued.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
}

impl Dialect {
    /// Of the server that says this owns its models.
    pub(super) fn of_owner(owner: &str) -> Self {
        match owner {
            "vllm" | "fleet" => Self::Vllm,
            "llamacpp" => Self::LlamaCpp,
            _ => Self::OpenAi,
        }
    }
}
