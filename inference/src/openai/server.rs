//! One server: how it is reached, how often, and what its refusals mean.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Dialect, OpenAiOptions};
use crate::{Embeddings, EngineError};

const CONNECT: Duration = Duration::from_secs(10);
/// The longest that a server may say nothing, between two parts of an answer too: prompts of a hundred thousand tokens are
/// read that long on a machine without a GPU.
const SILENCE: Duration = Duration::from_secs(300);
/// How long a list of models may take.
const LIST: Duration = Duration::from_secs(10);
/// The pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, also where the server asks for more.
const LONGEST: Duration = Duration::from_secs(60);
/// Of what a server says about an error.
const MOST_SAID: usize = 500;

/// A way to a server.
pub(super) struct Server {
    http: reqwest::Client,
    base: String,
    requests: Option<DefaultDirectRateLimiter>,
    tokens: Option<(DefaultDirectRateLimiter, u32)>,
}

/// Why it was refused.
pub(super) struct Refused {
    pub(super) error: EngineError,
    /// It may be otherwise after that time, or after a pause of one's own.
    pub(super) passes: Option<Duration>,
}

/// A model that a server has.
pub(super) struct Known {
    pub(super) id: String,
    pub(super) context: Option<u32>,
    pub(super) dialect: Dialect,
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    #[serde(default)]
    owned_by: String,
    /// vLLM's and Fleet's word.
    #[serde(default)]
    max_model_len: Option<u32>,
    /// llama.cpp's.
    #[serde(default)]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    n_ctx: Option<u32>,
}

#[derive(Deserialize)]
struct Vectors {
    data: Vec<Vector>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct Vector {
    index: usize,
    embedding: Vec<f32>,
}

impl Server {
    pub(super) fn new(options: &OpenAiOptions) -> Result<Self, EngineError> {
        let wrong = |what: &dyn std::fmt::Display| {
            EngineError::Config(format!("engine {}: base_url {:?}: {what}", options.name, options.base_url))
        };
        let url = reqwest::Url::parse(&options.base_url).map_err(|e| wrong(&e))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong(&"it must begin with http:// or https:// and name a host"));
        }
        if url.query().is_some() || !url.username().is_empty() {
            return Err(wrong(
                &"it may hold neither a user nor a query; a key belongs into api_key_env or api_key_file",
            ));
        }
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if options.api_key.is_some() && url.scheme() == "http" && !here {
            tracing::warn!(engine = options.name, "the key is sent to {url} without encryption");
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = &options.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                EngineError::Config(format!("engine {}: the key isn't one line of ASCII", options.name))
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        fleet_runtime::net::install_crypto();
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .default_headers(headers)
            // The key goes to the address that was named, not where something on the way sends it.
            .redirect(reqwest::redirect::Policy::none());
        if here {
            http = http.no_proxy();
        }
        let minute = |n: u32| NonZeroU32::new(n).map(|n| RateLimiter::direct(Quota::per_minute(n)));
        Ok(Self {
            http: http.build().map_err(|e| wrong(&e))?,
            base: options.base_url.trim_end_matches('/').to_owned(),
            requests: minute(options.requests_per_minute),
            tokens: minute(options.tokens_per_minute).map(|limiter| (limiter, options.tokens_per_minute)),
        })
    }

    /// Waits until one more request with so many tokens may be sent.
    pub(super) async fn rate(&self, tokens: u32) {
        if let Some(limiter) = &self.requests {
            limiter.until_ready().await;
        }
        if let Some((limiter, most)) = &self.tokens
            && let Some(tokens) = NonZeroU32::new(tokens.min(*most))
        {
            // More than a minute's worth was cut to it, so there is always a time for it.
            let _ = limiter.until_n_ready(tokens).await;
        }
    }

    /// The model that is configured, or the only one.
    pub(super) async fn models(&self, options: &OpenAiOptions) -> Result<Known, Refused> {
        let listing = async {
            let answer = self.http.get(format!("{}/models", self.base)).send().await;
            let answer = self.accepted(answer).await?;
            answer.json::<Models>().await.map_err(|e| self.never(format!("{}/models can't be read: {e}", self.base)))
        };
        let late = |_| self.passing(EngineError::Failed(format!("{} doesn't answer", self.base)), Duration::ZERO);
        let models = tokio::time::timeout(LIST, listing).await.map_err(late)??.data;
        let names = || models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>().join(", ");
        let model = match (options.model.as_str(), models.as_slice()) {
            ("", [only]) => only,
            ("", []) => return Err(self.never(format!("{} has no model", self.base))),
            ("", _) => {
                return Err(self.never(format!("{} has several models; set `model` to one: {}", self.base, names())));
            }
            (name, all) => match all.iter().find(|model| model.id == name) {
                Some(model) => model,
                // Some services don't list all that they have.
                None if all.is_empty() => {
                    return Ok(Known { id: name.to_owned(), context: None, dialect: Dialect::OpenAi });
                }
                None => return Err(self.never(format!("{} has no model {name}; it has: {}", self.base, names()))),
            },
        };
        let context = model.max_model_len.or_else(|| model.meta.as_ref()?.n_ctx);
        Ok(Known { id: model.id.clone(), context, dialect: Dialect::of_owner(&model.owned_by) })
    }

    /// Asks for a streamed reply, again where it may help. The pauses are bounded by who asks.
    pub(super) async fn chat(&self, body: &Value, options: &OpenAiOptions) -> Result<Response, EngineError> {
        self.post("/chat/completions", body, options).await
    }

    pub(super) async fn embed(
        &self,
        texts: &[String],
        model: String,
        options: &OpenAiOptions,
    ) -> Result<Embeddings, EngineError> {
        let body = json!({ "model": model, "input": texts, "encoding_format": "float" });
        let answer = self.post("/embeddings", &body, options).await?;
        let unread = |why: &dyn std::fmt::Display| EngineError::Failed(format!("{}/embeddings: {why}", self.base));
        let mut made: Vectors = answer.json().await.map_err(|e| unread(&e))?;
        made.data.sort_by_key(|vector| vector.index);
        if made.data.len() != texts.len() {
            return Err(unread(&format_args!("{} vectors for {} texts", made.data.len(), texts.len())));
        }
        let tokens = made.usage["prompt_tokens"].as_u64().unwrap_or(0);
        Ok(Embeddings {
            vectors: made.data.into_iter().map(|vector| unit(vector.embedding)).collect(),
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
            model: made.model.unwrap_or(model),
        })
    }

    async fn post(&self, path: &str, body: &Value, options: &OpenAiOptions) -> Result<Response, EngineError> {
        let mut pause = PAUSE;
        for attempt in 0.. {
            let answer = self.http.post(format!("{}{path}", self.base)).json(body).send().await;
            let refused = match self.accepted(answer).await {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            let Some(after) = refused.passes.filter(|_| attempt < options.retries) else {
                return Err(refused.error);
            };
            // A little apart from others who were refused together with this one.
            let apart = pause.mul_f64(f64::from(rand::random::<f32>()));
            let after = (after.max(pause) + apart).min(LONGEST);
            tracing::debug!(engine = options.name, error = %refused.error, ?after, "asking again");
            tokio::time::sleep(after).await;
            pause *= 2;
        }
        Err(EngineError::Gone)
    }

    async fn accepted(&self, answer: reqwest::Result<Response>) -> Result<Response, Refused> {
        let answer = match answer {
            Ok(answer) if answer.status().is_success() => return Ok(answer),
            Ok(answer) => answer,
            Err(error) => {
                let why = root_cause(&error);
                let error = EngineError::Failed(format!("{} can't be asked: {why}", self.base));
                return Err(self.passing(error, Duration::ZERO));
            }
        };
        let status = answer.status();
        let header = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let after = header(RETRY_AFTER).and_then(|text| text.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
        let leads = header(LOCATION).map(str::to_owned);
        let said = said(answer).await;
        let whole = format!("{} answers {status}: {}", self.base, said.message);
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.never(format!("{whole} (check api_key_env or api_key_file)"))
            }
            _ if status.is_redirection() => {
                self.never(format!("{} leads to {}; set base_url to it", self.base, leads.unwrap_or_default()))
            }
            StatusCode::NOT_FOUND => {
                self.never(format!("{whole} (check base_url, which often ends with /v1, and model)"))
            }
            StatusCode::TOO_MANY_REQUESTS => self.passing(EngineError::Busy { queued: 0 }, after),
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => self.passing(EngineError::Failed(whole), after),
            _ if status.is_server_error() => self.passing(EngineError::Failed(whole), after),
            _ => Refused { error: said.too_long().unwrap_or(EngineError::BadRequest(whole)), passes: None },
        })
    }

    fn never(&self, why: String) -> Refused {
        Refused { error: EngineError::Model(why), passes: None }
    }

    fn passing(&self, error: EngineError, after: Duration) -> Refused {
        Refused { error, passes: Some(after) }
    }
}

/// What a server says about an error.
pub(super) struct Said {
    pub(super) message: String,
    code: String,
}

impl Said {
    pub(super) fn of(body: &Value) -> Self {
        let error = if body["error"].is_null() { body } else { &body["error"] };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let message = text(&error["message"]).or_else(|| text(error)).unwrap_or_else(|| error.to_string());
        let message = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_SAID).collect();
        Self { message, code: text(&error["code"]).unwrap_or_default() }
    }

    /// The refusal of a prompt that doesn't fit, if it is that and says by how much.
    fn too_long(&self) -> Option<EngineError> {
        if self.code != "context_length_exceeded" && !self.message.contains("maximum context length") {
            return None;
        }
        let numbers = self.message.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
        let [context, _, prompt_tokens, max_tokens] = numbers.collect::<Vec<_>>().try_into().ok()?;
        let allowed = context.saturating_sub(max_tokens);
        Some(EngineError::PromptTooLong { prompt_tokens, allowed, context, max_tokens })
    }
}

async fn said(answer: Response) -> Said {
    let text = tokio::time::timeout(LIST, answer.text()).await;
    let text = text.unwrap_or(Ok(String::new())).unwrap_or_default();
    Said::of(&serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The vector with length 1.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}
