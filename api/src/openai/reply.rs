//! A chat completion as OpenAI's protocol writes it: whole, and the parts that a stream shares with it.

use fleet_inference::{EngineInfo, Finish, TokenLogprob, ToolCall, Usage, tools};
use serde_json::{Value, json};
use uuid::Uuid;

/// What every answer to one request has in common.
pub(super) struct Head {
    id: String,
    created: i64,
    model: String,
    fingerprint: String,
}

impl Head {
    pub(super) fn new(info: &EngineInfo) -> Self {
        Self {
            id: format!("chatcmpl-{}", Uuid::new_v4().simple()),
            created: jiff::Timestamp::now().as_second(),
            model: info.model.clone(),
            fingerprint: format!("fleet-{}-{}", env!("CARGO_PKG_VERSION"), info.kind.as_str()),
        }
    }

    /// An object of this kind.
    pub(super) fn object(&self, kind: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        })
    }
}

/// One decoded choice.
pub(super) struct Choice {
    pub(super) text: String,
    pub(super) logprobs: Vec<TokenLogprob>,
    pub(super) usage: Usage,
}

impl Choice {
    /// The choice as one of a whole completion.
    pub(super) fn object(self, index: usize, with_calls: bool, with_logprobs: bool) -> Value {
        let (content, calls) = if with_calls { tools::split(&self.text) } else { (self.text, Vec::new()) };
        let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
        if !calls.is_empty() {
            if content_is_empty(&message) {
                message["content"] = Value::Null;
            }
            message["tool_calls"] = calls.iter().map(call).collect();
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": with_logprobs.then(|| logprobs(&self.logprobs)),
            "finish_reason": finish(self.usage.finish, !calls.is_empty()),
        })
    }
}

fn content_is_empty(message: &Value) -> bool {
    message["content"].as_str().is_none_or(str::is_empty)
}

/// A call of a tool.
pub(super) fn call(call: &ToolCall) -> Value {
    json!({
        "id": call.id,
        "type": "function",
        "function": { "name": call.name, "arguments": call.arguments },
    })
}

/// Why a choice ended. One that was cut off in the middle of something says so even if it called something before.
pub(super) fn finish(finish: Finish, called: bool) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::Stop | Finish::Cancelled if called => "tool_calls",
        Finish::Stop | Finish::Cancelled => "stop",
    }
}

/// How likely the tokens of a choice were.
pub(super) fn logprobs(tokens: &[TokenLogprob]) -> Value {
    let entry = |bytes: &[u8], logprob: f32| json!({ "token": String::from_utf8_lossy(bytes), "logprob": logprob, "bytes": bytes });
    let content = tokens.iter().map(|token| {
        let mut said = entry(&token.bytes, token.logprob);
        said["top_logprobs"] = token.top.iter().map(|(bytes, logprob)| entry(bytes, *logprob)).collect();
        said
    });
    json!({ "content": content.collect::<Vec<_>>(), "refusal": null })
}

/// What all choices of a request cost together. Their prompt is one and counts once.
pub(super) fn usage(choices: &[Usage]) -> Value {
    let prompt = choices.first().map_or(0, |usage| usage.prompt_tokens);
    let cached = choices.first().map_or(0, |usage| usage.cached_tokens);
    let completion: u32 = choices.iter().map(|usage| usage.completion_tokens).sum();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": u64::from(prompt) + u64::from(completion),
        "prompt_tokens_details": { "cached_tokens": cached },
    })
}
