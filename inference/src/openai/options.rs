//! How a server is asked.

use std::path::Path;

use super::{Dialect, OpenAiEngine};
use crate::{EngineConfig, EngineError};

/// See the keys of [`EngineConfig`] of the same names.
#[derive(Clone, PartialEq)]
pub struct OpenAiOptions {
    pub name: String,
    pub base_url: String,
    /// Empty: the only one that the server has.
    pub model: String,
    pub api_key: Option<String>,
    /// Nothing: what the server says.
    pub context: Option<u32>,
    pub queue: usize,
    pub requests: usize,
    pub requests_per_minute: u32,
    pub tokens_per_minute: u32,
    pub retries: u32,
    pub price_in: f64,
    pub price_out: f64,
    pub dialect: Option<Dialect>,
}

impl std::fmt::Debug for OpenAiOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's business.
        f.debug_struct("OpenAiOptions")
            .field("name", &self.name)
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl Default for OpenAiOptions {
    fn default() -> Self {
        let config = EngineConfig::default();
        Self {
            name: config.name,
            base_url: String::new(),
            model: String::new(),
            api_key: None,
            context: None,
            queue: config.queue,
            requests: config.requests,
            requests_per_minute: 0,
            tokens_per_minute: 0,
            retries: config.retries,
            price_in: 0.0,
            price_out: 0.0,
            dialect: None,
        }
    }
}

/// The engine of a configuration.
pub(crate) fn from_config(config: &EngineConfig) -> Result<OpenAiEngine, EngineError> {
    let wrong = |what: String| EngineError::Config(format!("engine {}: {what}", config.name));
    let Some(base_url) = config.base_url.clone() else {
        return Err(wrong("kind = \"openai\" needs base_url, as in \"http://127.0.0.1:8000/v1\"".into()));
    };
    let api_key = match (&config.api_key_env, &config.api_key_file) {
        (Some(_), Some(_)) => return Err(wrong("api_key_env and api_key_file are both set; keep one".into())),
        (Some(name), None) => match std::env::var(name) {
            Ok(key) if !key.trim().is_empty() => Some(key.trim().to_owned()),
            _ => return Err(wrong(format!("api_key_env: the environment has no {name}"))),
        },
        (None, Some(path)) => Some(read_key(path).map_err(|why| wrong(format!("api_key_file: {why}")))?),
        (None, None) => None,
    };
    for (name, price) in [("price_in", config.price_in), ("price_out", config.price_out)] {
        if !price.is_finite() || price < 0.0 {
            return Err(wrong(format!("{name} is what a million tokens cost, 0 or more, and not {price}")));
        }
    }
    OpenAiEngine::new(OpenAiOptions {
        name: config.name.clone(),
        base_url,
        model: config.model.clone(),
        api_key,
        context: config.context,
        queue: config.queue,
        requests: config.requests,
        requests_per_minute: config.requests_per_minute,
        tokens_per_minute: config.tokens_per_minute,
        retries: config.retries,
        price_in: config.price_in,
        price_out: config.price_out,
        dialect: config.dialect,
    })
}

fn read_key(path: &Path) -> Result<String, String> {
    let key = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let key = key.trim();
    if key.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(key.to_owned()) }
}
