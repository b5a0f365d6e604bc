//! The body of a chat completion.

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::{ChatMessage, ChatRole, Constraint, EngineError, Request, Sampling};

/// As many as OpenAI takes; the others are looked for on this side alone.
const MOST_STOPS: usize = 4;

/// Tokens of a text of that many bytes, about: the server's tokenizer isn't here.
pub(super) fn about(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX)
}

/// Tokens of the prompt, about.
pub(super) fn prompt(request: &Request) -> u32 {
    let messages = request.messages.iter().map(|message| message.content.len() + 16);
    about(messages.sum::<usize>() + request.assistant_prefix.as_ref().map_or(0, String::len))
}

/// The body for a streamed reply, or what the server can't be asked for.
pub(super) fn chat(request: &Request, model: &str, dialect: Dialect) -> Result<Value, EngineError> {
    let mut messages: Vec<Value> = request.messages.iter().map(message).collect();
    let mut body = Map::new();
    if let Some(prefix) = &request.assistant_prefix {
        messages.push(json!({ "role": "assistant", "content": prefix }));
        if dialect == Dialect::Vllm {
            body.insert("continue_final_message".into(), true.into());
            body.insert("add_generation_prompt".into(), false.into());
        }
    }
    body.insert("model".into(), model.into());
    body.insert("messages".into(), messages.into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    let max_tokens = if dialect == Dialect::OpenAi { "max_completion_tokens" } else { "max_tokens" };
    body.insert(max_tokens.into(), request.max_tokens.into());
    if !request.stop.is_empty() {
        body.insert("stop".into(), request.stop.iter().take(MOST_STOPS).cloned().collect());
    }
    if !request.tools.is_empty() {
        body.insert("tools".into(), tools(request)?);
    }
    if !request.logit_bias.is_empty() {
        let biases = request.logit_bias.iter().map(|(token, bias)| (token.to_string(), Value::from(*bias)));
        body.insert("logit_bias".into(), Value::Object(biases.collect()));
    }
    if let Some(top) = request.logprobs {
        body.insert("logprobs".into(), true.into());
        body.insert("top_logprobs".into(), top.into());
    }
    sampling(&request.sampling, dialect, &mut body);
    constraint(&request.constraint, dialect, &mut body)?;
    Ok(Value::Object(body))
}

fn message(message: &ChatMessage) -> Value {
    let mut said = json!({ "role": message.role.as_str(), "content": message.content });
    if !message.tool_calls.is_empty() {
        let call = |call: &crate::ToolCall| json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } });
        said["tool_calls"] = message.tool_calls.iter().map(call).collect();
    }
    if let (ChatRole::Tool, Some(id)) = (message.role, &message.tool_call_id) {
        said["tool_call_id"] = id.as_str().into();
    }
    said
}

fn tools(request: &Request) -> Result<Value, EngineError> {
    let tool = |tool: &crate::ToolSpec| {
        let mut function = json!({ "name": tool.name, "description": tool.description });
        if !tool.parameters.trim().is_empty() {
            function["parameters"] = schema(&tool.parameters)?;
        }
        Ok(json!({ "type": "function", "function": function }))
    };
    request.tools.iter().map(tool).collect()
}

fn sampling(sampling: &Sampling, dialect: Dialect, body: &mut Map<String, Value>) {
    let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    set("temperature", sampling.temperature.into());
    // Elsewhere it is signed.
    set("seed", (sampling.seed & u64::MAX >> 1).into());
    if sampling.top_p < 1.0 {
        set("top_p", sampling.top_p.into());
    }
    if sampling.presence_penalty != 0.0 {
        set("presence_penalty", sampling.presence_penalty.into());
    }
    if sampling.frequency_penalty != 0.0 {
        set("frequency_penalty", sampling.frequency_penalty.into());
    }
    if dialect == Dialect::OpenAi {
        return;
    }
    if sampling.top_k > 0 {
        set("top_k", sampling.top_k.into());
    }
    if sampling.min_p > 0.0 {
        set("min_p", sampling.min_p.into());
    }
    if sampling.repeat_penalty != 1.0 {
        let name = if dialect == Dialect::LlamaCpp { "repeat_penalty" } else { "repetition_penalty" };
        set(name, sampling.repeat_penalty.into());
    }
}

fn constraint(constraint: &Constraint, dialect: Dialect, body: &mut Map<String, Value>) -> Result<(), EngineError> {
    let (name, value) = match (constraint, dialect) {
        (Constraint::None, _) => return Ok(()),
        (Constraint::JsonSchema(text), _) => ("response_format", json_format(schema(text)?)),
        (Constraint::Regex(regex), Dialect::Vllm) => ("structured_outputs", json!({ "regex": regex })),
        (Constraint::Lark(grammar), Dialect::Vllm) => ("structured_outputs", json!({ "grammar": grammar })),
        (Constraint::Choice(texts), Dialect::Vllm) => ("structured_outputs", json!({ "choice": texts })),
        // GBNF's strings are written as those of JSON.
        (Constraint::Choice(texts), Dialect::LlamaCpp) => {
            let texts: Vec<String> = texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
            ("grammar", format!("root ::= {}", texts.join(" | ")).into())
        }
        (Constraint::Choice(texts), Dialect::OpenAi) => ("response_format", json_format(one_of(texts))),
        (Constraint::Regex(_), _) => return Err(EngineError::Unsupported("regular expressions on this server".into())),
        (Constraint::Lark(_), _) => return Err(EngineError::Unsupported("grammars on this server".into())),
    };
    body.insert(name.into(), value);
    Ok(())
}

/// The field that a choice is wrapped in for a server that only knows JSON Schema.
pub(super) const CHOICE: &str = "choice";

fn one_of(texts: &[String]) -> Value {
    json!({
        "type": "object",
        "properties": { CHOICE: { "type": "string", "enum": texts } },
        "required": [CHOICE],
        "additionalProperties": false,
    })
}

fn json_format(schema: Value) -> Value {
    json!({ "type": "json_schema", "json_schema": { "name": "reply", "schema": schema, "strict": true } })
}

fn schema(text: &str) -> Result<Value, EngineError> {
    serde_json::from_str(text).map_err(|e| EngineError::Constraint(format!("the schema is no JSON: {e}")))
}
