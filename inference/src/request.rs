//! What is asked of an engine: messages, how to sample, what the reply must look like, and where to stop.
//!
//! Everything here travels between nodes, so every type has the wire codec. Nothing here knows a model:
//! how messages become tokens is the engine's business.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wincode::{SchemaRead, SchemaWrite};

/// Who speaks a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    System,
    User,
    Assistant,
    /// What a tool answered; the message names the call.
    Tool,
}

impl ChatRole {
    /// The name that chat templates know the role by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message of a conversation. The content is always plain text: what looks like a control token in it is not one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct ChatMessage {
    pub role: ChatRole,
    pub content: String,
    /// The tools that an assistant's message calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool's message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl ChatMessage {
    pub fn new(role: ChatRole, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), tool_calls: Vec::new(), tool_call_id: None }
    }

    pub fn system(content: impl Into<String>) -> Self {
        Self::new(ChatRole::System, content)
    }

    pub fn user(content: impl Into<String>) -> Self {
        Self::new(ChatRole::User, content)
    }

    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(ChatRole::Assistant, content)
    }
}

/// A call of a tool by the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct ToolCall {
    /// Names the call within its conversation.
    pub id: String,
    pub name: String,
    /// JSON as text; what a model wrote, so it need not be valid.
    pub arguments: String,
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// The JSON Schema of its arguments, as text.
    pub parameters: String,
}

/// How the next token is drawn. The default is greedy and deterministic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(default)]
pub struct Sampling {
    /// 0 = greedy (the seed is then unused); 1 = the model's own distribution.
    pub temperature: f32,
    /// Keep the k likeliest tokens; 0 = all.
    pub top_k: u32,
    /// Keep the smallest set of likeliest tokens with at least this mass; 1 = all.
    pub top_p: f32,
    /// Drop tokens less likely than this share of the likeliest one; 0 = none.
    pub min_p: f32,
    /// Divide the logit of tokens seen in the last 64 decoded ones by this; 1 = off.
    pub repeat_penalty: f32,
    /// Taken from the logit of every token that was decoded before; 0 = off. From -2 to 2.
    pub presence_penalty: f32,
    /// Taken from the logit of a token for each time that it was decoded before; 0 = off. From -2 to 2.
    pub frequency_penalty: f32,
    /// The same request with the same seed gives the same tokens on the same engine.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
        }
    }
}

/// What the decoded text must look like. It governs what comes *after* `assistant_prefix`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    #[default]
    None,
    /// A JSON Schema as text.
    JsonSchema(String),
    /// A regular expression that the whole text matches.
    Regex(String),
    /// A Lark grammar.
    Lark(String),
    /// Exactly one of these texts.
    Choice(Vec<String>),
}

/// What the request is for: shown in stats and logs, and the key of scripted replies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(default)]
pub struct RequestTag {
    pub job: String,
    pub task: String,
    pub role: String,
    pub phase: String,
    /// Which of several attempts at one task, from 0.
    pub attempt: u32,
    /// Which round of repair within one attempt, from 0.
    pub round: u32,
}

/// Which of the waiting requests is served first. Equal priorities are served in order of arrival.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, SchemaWrite, SchemaRead,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

/// One request for text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Request {
    pub id: Uuid,
    pub messages: Vec<ChatMessage>,
    /// The assistant's turn is begun with this text; the model goes on from there and the completion contains it.
    pub assistant_prefix: Option<String>,
    /// What the prompt says that the model may call. What it called is in the text, in the model's own form:
    /// whoever asked takes it out.
    pub tools: Vec<ToolSpec>,
    pub sampling: Sampling,
    /// Added to the logits of these tokens of the model's vocabulary; -100 forbids one.
    pub logit_bias: Vec<(u32, f32)>,
    /// With each token its logarithmic probability, and those of so many of the likeliest.
    pub logprobs: Option<u32>,
    pub constraint: Constraint,
    /// Decoding ends before any of these texts; they are not part of the completion.
    pub stop: Vec<String>,
    pub max_tokens: u32,
    /// Whose it is: no prompt's computed prefix is shared over projects.
    pub project: String,
    pub tag: RequestTag,
    /// From submission; a request that is still waiting or decoding then fails with [`EngineError::Deadline`](crate::EngineError::Deadline).
    pub deadline: Duration,
    pub priority: Priority,
}

impl Request {
    /// A greedy, unconstrained request of normal priority with ten minutes to run.
    pub fn new(messages: Vec<ChatMessage>, max_tokens: u32) -> Self {
        Self {
            id: Uuid::new_v4(),
            messages,
            assistant_prefix: None,
            tools: Vec::new(),
            sampling: Sampling::default(),
            logit_bias: Vec::new(),
            logprobs: None,
            constraint: Constraint::None,
            stop: Vec::new(),
            max_tokens,
            project: String::new(),
            tag: RequestTag::default(),
            deadline: Duration::from_secs(600),
            priority: Priority::Normal,
        }
    }
}
