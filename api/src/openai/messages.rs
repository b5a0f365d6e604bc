//! A conversation as OpenAI's protocol writes it.

use fleet_inference::{ChatMessage, ChatRole, ToolCall};
use serde::Deserialize;
use serde_json::Value;

use super::error::OpenAiError;

/// As many as fit into a body anyway; more is a mistake.
const MOST: usize = 4096;

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default)]
    function_call: Value,
    #[serde(default)]
    audio: Value,
}

#[derive(Deserialize)]
struct Call {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

/// Reads the field `messages`.
pub(super) fn read(messages: Vec<Value>) -> Result<Vec<ChatMessage>, OpenAiError> {
    if messages.is_empty() || messages.len() > MOST {
        let message = format!("Invalid `messages`: there must be between 1 and {MOST}, there are {}.", messages.len());
        return Err(OpenAiError::param("messages", "invalid_value", message));
    }
    messages.into_iter().enumerate().map(|(n, message)| one(&format!("messages[{n}]"), message)).collect()
}

fn one(at: &str, message: Value) -> Result<ChatMessage, OpenAiError> {
    let wrong = |e: serde_json::Error| OpenAiError::param(at, "invalid_type", format!("Invalid `{at}`: {e}"));
    let message: Message = serde_json::from_value(message).map_err(wrong)?;
    let role = role(at, &message.role)?;
    for (name, value) in [("function_call", &message.function_call), ("audio", &message.audio)] {
        if !value.is_null() {
            return Err(OpenAiError::unsupported(format!("{at}.{name}"), "isn't supported; use `tool_calls` or text"));
        }
    }
    let calls = message.tool_calls.unwrap_or_default();
    if message.content.is_null() && (role != ChatRole::Assistant || calls.is_empty()) {
        let name = format!("{at}.content");
        let message = format!("Missing required parameter: `{name}`.");
        return Err(OpenAiError::param(name, "missing_required_parameter", message));
    }
    if role == ChatRole::Tool && message.tool_call_id.is_none() {
        let name = format!("{at}.tool_call_id");
        let message = format!("Missing required parameter: `{name}`.");
        return Err(OpenAiError::param(name, "missing_required_parameter", message));
    }
    let call = |call: Call| ToolCall { id: call.id, name: call.function.name, arguments: call.function.arguments };
    Ok(ChatMessage {
        role,
        content: text(at, message.content)?,
        tool_calls: calls.into_iter().map(call).collect(),
        tool_call_id: message.tool_call_id,
    })
}

fn role(at: &str, role: &str) -> Result<ChatRole, OpenAiError> {
    match role {
        "system" | "developer" => Ok(ChatRole::System),
        "user" => Ok(ChatRole::User),
        "assistant" => Ok(ChatRole::Assistant),
        "tool" => Ok(ChatRole::Tool),
        other => {
            let (name, other) = (format!("{at}.role"), crate::plain::line(other));
            let message =
                format!("Invalid `{name}`: {other:?} is none of system, developer, user, assistant and tool.");
            Err(OpenAiError::param(name, "invalid_value", message))
        }
    }
}

/// A text, or parts of one.
fn text(at: &str, content: Value) -> Result<String, OpenAiError> {
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            parts.iter().enumerate().map(|(n, part)| part_text(&format!("{at}.content[{n}]"), part)).collect()
        }
        _ => {
            let name = format!("{at}.content");
            let message = format!("Invalid `{name}`: it is neither a text nor a list of parts.");
            Err(OpenAiError::param(name, "invalid_type", message))
        }
    }
}

fn part_text(at: &str, part: &Value) -> Result<String, OpenAiError> {
    match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => Ok(text.to_owned()),
        (Some("text"), None) => {
            let name = format!("{at}.text");
            let message = format!("Missing required parameter: `{name}`.");
            Err(OpenAiError::param(name, "missing_required_parameter", message))
        }
        _ => Err(OpenAiError::unsupported(format!("{at}.type"), "only parts of type `text` are supported")),
    }
}
