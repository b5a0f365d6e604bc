//! A streamed reply, read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use sse_stream::SseByteStream;

use super::server::Said;
use super::{Cost, Dialect, body};
use crate::stream::TokenSink;
use crate::text::TextOut;
use crate::tools::written;
use crate::{Constraint, EngineError, Finish, Request, TokenLogprob};

const DONE: &str = "[DONE]";

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Counted>,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    logprobs: Option<Likely>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta {
    content: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: usize,
    #[serde(default)]
    function: FunctionDelta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Likely {
    #[serde(default)]
    content: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    token: String,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    logprob: f32,
    #[serde(default)]
    top_logprobs: Vec<Entry>,
}

impl Entry {
    fn bytes(&self) -> Vec<u8> {
        self.bytes.clone().unwrap_or_else(|| self.token.clone().into_bytes())
    }
}

/// Reads a reply into a stream.
pub(super) struct Reading<'a> {
    sink: &'a TokenSink,
    out: TextOut,
    /// What the reply may begin with once more: not every server goes on where it was told to.
    prefix: Option<String>,
    /// The reply is a JSON object around the text that is wanted.
    wrapped: bool,
    held: String,
    calls: BTreeMap<usize, (String, String)>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(request: &Request, dialect: Dialect, sink: &'a TokenSink) -> Self {
        Self {
            sink,
            out: TextOut::new(&request.stop),
            prefix: request.assistant_prefix.clone().filter(|prefix| !prefix.is_empty()),
            wrapped: dialect == Dialect::OpenAi && matches!(request.constraint, Constraint::Choice(_)),
            held: String::new(),
            calls: BTreeMap::new(),
        }
    }

    /// Gives out the reply as it comes, until it ends.
    pub(super) async fn read(
        mut self,
        answer: Response,
        began: Instant,
        cost: &mut Cost,
    ) -> Result<Finish, EngineError> {
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return Err(EngineError::Failed(format!("the server answers with {kind:?} instead of a stream")));
        }
        let mut events = SseByteStream::new(answer.bytes_stream());
        let mut finish = None;
        while let Some(event) = events.next().await {
            let event = event.map_err(|e| broken(&e))?;
            let Some(data) = event.data.filter(|data| !data.is_empty()) else { continue };
            if data.trim() == DONE {
                break;
            }
            let chunk: Chunk = serde_json::from_str(&data).map_err(|e| broken(&format_args!("unreadable: {e}")))?;
            if !chunk.error.is_null() {
                return Err(EngineError::Failed(format!("the server says: {}", Said::of(&chunk.error).message)));
            }
            count(chunk.usage, cost);
            let Some(choice) = chunk.choices.into_iter().next() else { continue };
            finish = choice.finish_reason.clone().or(finish);
            if self.take(choice, began, cost) {
                cost.all = began.elapsed();
                return Ok(Finish::Stop);
            }
        }
        cost.all = began.elapsed();
        self.end(finish.as_deref())
    }

    /// True if a stop text came.
    fn take(&mut self, choice: Choice, began: Instant, cost: &mut Cost) -> bool {
        for call in choice.delta.tool_calls.unwrap_or_default() {
            let (name, arguments) = self.calls.entry(call.index).or_default();
            name.push_str(&call.function.name.unwrap_or_default());
            arguments.push_str(&call.function.arguments.unwrap_or_default());
        }
        let likely: Vec<_> = choice.logprobs.and_then(|likely| likely.content).unwrap_or_default();
        let likely: Vec<TokenLogprob> = likely.iter().map(logprob).collect();
        let content = choice.delta.content.unwrap_or_default();
        if content.is_empty() && likely.is_empty() {
            return false;
        }
        // A chunk is a token, unless its server says otherwise.
        let tokens = u32::try_from(likely.len().max(1)).unwrap_or(u32::MAX);
        cost.completion_tokens += tokens;
        cost.first.get_or_insert_with(|| began.elapsed().max(Duration::from_millis(1)));
        let content = self.behind_prefix(content);
        if self.wrapped {
            self.held.push_str(&content);
            self.sink.text("", tokens);
            return false;
        }
        let (text, stopped) = self.out.push(content.as_bytes());
        self.sink.tokens(&text, tokens, likely);
        stopped
    }

    /// The text without the prefix, if the reply says it again.
    fn behind_prefix(&mut self, content: String) -> String {
        let Some(prefix) = self.prefix.take() else { return content };
        self.held.push_str(&content);
        if let Some(rest) = self.held.strip_prefix(&prefix) {
            let rest = rest.to_owned();
            self.held.clear();
            return rest;
        }
        if prefix.starts_with(&self.held) {
            self.prefix = Some(prefix);
            return String::new();
        }
        std::mem::take(&mut self.held)
    }

    fn end(mut self, finish: Option<&str>) -> Result<Finish, EngineError> {
        let finish = match finish {
            Some("length") => Finish::Length,
            Some("stop" | "tool_calls" | "function_call" | "eos") => Finish::Stop,
            Some("content_filter") => {
                return Err(EngineError::Failed("the server's content filter ended the reply".into()));
            }
            Some(other) => return Err(EngineError::Failed(format!("the reply ended because of {other:?}"))),
            None => return Err(broken(&"it ended in the middle")),
        };
        let mut held = std::mem::take(&mut self.held);
        if self.wrapped {
            let object: Value = serde_json::from_str(&held).unwrap_or_default();
            let chosen = object[body::CHOICE].as_str();
            held = chosen.ok_or_else(|| EngineError::Constraint("the reply is none of the choices".into()))?.to_owned();
        }
        let (mut text, _) = self.out.push(held.as_bytes());
        text.push_str(&self.out.finish());
        for (name, arguments) in self.calls.into_values() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&written(&name, &arguments));
        }
        self.sink.text(&text, 0);
        Ok(finish)
    }
}

fn count(usage: Option<Counted>, cost: &mut Cost) {
    let Some(usage) = usage else { return };
    cost.prompt_tokens = usage.prompt_tokens;
    cost.completion_tokens = usage.completion_tokens;
    cost.cached_tokens = usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
}

fn logprob(entry: &Entry) -> TokenLogprob {
    let top = entry.top_logprobs.iter().map(|other| (other.bytes(), other.logprob)).collect();
    TokenLogprob { bytes: entry.bytes(), logprob: entry.logprob, top }
}

fn broken(why: &dyn std::fmt::Display) -> EngineError {
    EngineError::Failed(format!("the server's stream broke: {why}"))
}
