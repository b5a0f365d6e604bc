//! The configuration of one engine, and the engine that it makes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::models::ModelStore;
use crate::{Engine, EngineDevice, EngineError, EngineKind, MockMode};

/// One `[[engine]]` of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// The engine's name in logs, reports and model profiles. Default: `local`.
    pub name: String,
    /// `candle` (a model on this machine's CPU; the default) or `mock` (replies from a script; needs `allow_mock`).
    pub kind: EngineKind,
    /// A name of the model catalogue, or the path of a GGUF file (then nothing proves that it is what you think).
    /// Default: the catalogue's default. Not used by `mock`.
    pub model: String,
    /// What the model runs on: `auto` (the default: a GPU if there is one that this program can use, else the CPU), `cpu`, or
    /// `cuda:UUID`. Not used by `mock`.
    pub device: EngineDevice,
    /// Prompt and reply together, in tokens. Larger costs memory (28 KB a token with the default model) and time.
    /// Default: 4096, or what the model can do if that is less.
    pub context: u32,
    /// Requests that may wait; one more is refused as busy. Default: 64.
    pub queue: usize,
    /// Memory for the keys and values of what is being decoded and of prompts that later ones may share. One sequence of
    /// `context` fits in any case. Default: on a CPU 1 GiB, taken as it is used; on a GPU what the weights leave free.
    pub kv_memory: Option<ByteSize>,
    /// Keeps the weights in the form that this machine computes with, beside the models: the next start is faster by
    /// seconds, for as much disk as the model takes. Default: true.
    pub keep_tiles: bool,
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
            context: 4096,
            queue: 64,
            kv_memory: None,
            keep_tiles: true,
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
        EngineKind::OpenAi | EngineKind::Embedding => {
            Err(EngineError::Config(format!("engine {}: this kind isn't there yet", config.name)))
        }
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
        assert!(toml::from_str::<EngineConfig>("modle = 'x'").is_err());
    }
}
