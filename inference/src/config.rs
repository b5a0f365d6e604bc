//! The configuration of one engine, and the engine that it makes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::models::ModelStore;
use crate::{Dialect, Engine, EngineDevice, EngineError, EngineKind, MockMode, Quantise};

/// One `[[engine]]` of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// The engine's name in logs, reports and model profiles. Default: `local`.
    pub name: String,
    /// `candle` (a model on this machine; the default), `openai` (a server that speaks the OpenAI protocol: vLLM, llama.cpp,
    /// another Fleet, a service), `embedding` (vectors for texts, on this machine's CPU) or `mock` (replies from a script; needs `allow_mock`).
    pub kind: EngineKind,
    /// A name of the model catalogue, or the path of a GGUF file or of a folder of safetensors (then nothing proves that it is
    /// what you think; of a folder in the working directory `./NAME`).
    /// Default: the catalogue's default. `openai`: the server's name for it; default: the only one it has. Not used by `mock`.
    pub model: String,
    /// What the model runs on: `auto` (the default: a GPU if there is one that this program can use, else the CPU), `cpu`, or
    /// `cuda:UUID`. Only `candle`.
    pub device: EngineDevice,
    /// Prompt and reply together, in tokens. Larger costs memory (28 KB a token with the default model) and time.
    /// Default: 4096, or what the model can do if that is less. `openai`: default is what the server says, else 32768.
    pub context: Option<u32>,
    /// `candle`: how the matrices of a safetensors model are held: `q8_0`, `q6_k`, `q4_k`, or `none` for as they are, which a
    /// CPU computes slower. GGUF files are quantised already. Default: `q8_0` on a CPU, `none` on a GPU.
    pub quantise: Option<Quantise>,
    /// Requests that may wait; one more is refused as busy. Default: 64.
    pub queue: usize,
    /// Memory for the keys and values of what is being decoded and of prompts that later ones may share. One sequence of
    /// `context` fits in any case. Default: on a CPU 1 GiB, taken as it is used; on a GPU what the weights leave free.
    pub kv_memory: Option<ByteSize>,
    /// Engines of this process that share its GPU. Not to be configured: whoever starts the process knows it.
    #[serde(skip)]
    pub gpu_sharers: u32,
    /// Keeps the weights in the form that this machine computes with, beside the models: the next start is faster by
    /// seconds, for as much disk as the model takes. Default: true.
    pub keep_tiles: bool,
    /// `openai`: where the server is, up to and with `/v1`.
    pub base_url: Option<String>,
    /// `openai`: the environment's variable that holds the key. Default: no key.
    pub api_key_env: Option<String>,
    /// `openai`: the file that holds the key and nothing else. Default: no key.
    pub api_key_file: Option<PathBuf>,
    /// `openai`: what the server understands beyond the protocol: `openai` (nothing), `vllm` or `llama.cpp`.
    /// Default: found out from its list of models.
    pub dialect: Option<Dialect>,
    /// `openai`: requests that the server may have at once. Default: 16.
    pub requests: usize,
    /// `openai`: the server's limits; what is above them waits. 0: none, the default.
    pub requests_per_minute: u32,
    pub tokens_per_minute: u32,
    /// `openai`: how often a request that was refused for a time is sent again. Default: 4.
    pub retries: u32,
    /// `openai`: what a million tokens of prompts and replies cost, in whatever currency. Default: 0.
    pub price_in: f64,
    pub price_out: f64,
    /// `mock`: the file of scripted replies, YAML or JSON.
    pub script: Option<PathBuf>,
    /// `mock`: how good the replies are: `excellent` (default), `poor` or `stubborn`.
    pub mode: MockMode,
    /// `mock`: time taken by each token. Default: none.
    #[serde(with = "humantime_serde")]
    pub token_delay: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            name: "local".into(),
            kind: EngineKind::Candle,
            model: String::new(),
            device: EngineDevice::default(),
            context: None,
            quantise: None,
            queue: 64,
            kv_memory: None,
            gpu_sharers: 1,
            keep_tiles: true,
            base_url: None,
            api_key_env: None,
            api_key_file: None,
            dialect: None,
            requests: 16,
            requests_per_minute: 0,
            tokens_per_minute: 0,
            retries: 4,
            price_in: 0.0,
            price_out: 0.0,
            script: None,
            mode: MockMode::Excellent,
            token_delay: Duration::ZERO,
        }
    }
}

/// Makes the engine. Returns before the model is loaded: [`EngineInfo::state`](crate::EngineInfo) tells when it is.
///
/// What can be known at once is an error here: an unknown or missing model, a script that can't be read,
/// a mock engine where none is allowed.
pub fn build_engine(
    config: &EngineConfig,
    allow_mock: bool,
    store: &ModelStore,
) -> Result<Arc<dyn Engine>, EngineError> {
    match config.kind {
        EngineKind::Mock if !allow_mock => Err(EngineError::Config(format!(
            "engine {} is a mock: its replies come from a script, not from a model; set `allow_mock = true` if that is wanted",
            config.name
        ))),
        EngineKind::Mock => Ok(Arc::new(crate::mock::from_config(config)?)),
        EngineKind::Candle => Ok(Arc::new(crate::candle::from_config(config, store)?)),
        EngineKind::OpenAi => Ok(Arc::new(crate::openai::from_config(config)?)),
        EngineKind::Embedding => Ok(Arc::new(crate::embedding::from_config(config, store)?)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::models::Catalogue;

    fn store() -> ModelStore {
        ModelStore::new("/nonexistent/models", Catalogue::built_in().unwrap())
    }

    fn refused(config: &str, allow_mock: bool) -> String {
        let config: EngineConfig = toml::from_str(config).unwrap();
        build_engine(&config, allow_mock, &store()).err().unwrap().to_string()
    }

    #[test]
    fn a_mock_engine_needs_permission() {
        assert!(refused("kind = 'mock'", false).contains("allow_mock = true"));
        let config: EngineConfig = toml::from_str("kind = 'mock'\nmode = 'poor'\ntoken_delay = '5ms'").unwrap();
        let info = build_engine(&config, true, &store()).unwrap().info();
        assert_eq!((info.mock, info.model.as_str(), info.context), (true, "mock:poor", 4096));
    }

    #[test]
    fn what_is_missing_is_known_before_anything_starts() {
        assert!(refused("", false).contains("fleet model pull qwen2.5-coder-1.5b-instruct"));
        assert!(refused("model = 'gpt-17'", false).contains("there is no model gpt-17"));
        assert!(refused("model = '/nonexistent/x.gguf'", false).contains("/nonexistent/x.gguf"));
        assert!(refused("kind = 'mock'\nscript = '/nonexistent/s.yaml'", true).contains("/nonexistent/s.yaml"));
        assert!(refused("kind = 'openai'", false).contains("needs base_url"));
        assert!(toml::from_str::<EngineConfig>("modle = 'x'").is_err());
    }
}
