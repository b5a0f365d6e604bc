//! Calls of tools in a model's text, in the form that Hermes and Qwen models are trained on:
//!
//! ```text
//! <tool_call>
//! {"name": "weather", "arguments": {"city": "Rome"}}
//! </tool_call>
//! ```
//! An engine gives text and knows nothing of calls. Whoever asked takes them out here, of the whole text ([`split`]) or as
//! it comes ([`Splitter`]), and may hold the model to the form beforehand ([`constraint`]). Nothing here does what is called.

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::schema::held;
use crate::{Constraint, EngineError, ToolCall, ToolSpec};

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";
/// What a tool takes that doesn't say so.
const ANY_ARGUMENTS: &str = r#"{"type": "object"}"#;

/// Calls in one reply where the asker doesn't say how many: a model that must call something doesn't always stop by itself.
pub const MOST_CALLS: u32 = 16;

/// Whether a reply may or must call tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No calls: the model isn't told of the tools.
    None,
    /// At least one call, of any of them.
    Required,
    /// One call of this one.
    Named(String),
}

/// What a reply must look like so that it calls as `choice` says, `most` calls at most. Nothing for a model that may
/// decide by itself.
///
/// # Errors
/// [`EngineError::Constraint`] where a tool's arguments have a schema that no reply can be held to.
pub fn constraint(tools: &[ToolSpec], choice: &ToolChoice, most: u32) -> Result<Constraint, EngineError> {
    match choice {
        ToolChoice::Auto | ToolChoice::None => Ok(Constraint::None),
        ToolChoice::Required => lark(tools.iter(), "start: calls\n", most),
        ToolChoice::Named(name) => lark(tools.iter().filter(|tool| tool.name == *name), "start: calls\n", 1),
    }
}

/// Calls, `most` at most, or else an answer after this JSON Schema.
///
/// # Errors
/// As [`constraint`]'s.
pub fn calls_or_answer(tools: &[ToolSpec], schema: &str, most: u32) -> Result<Constraint, EngineError> {
    lark(tools.iter(), &format!("start: calls | answer\nanswer: %json {}\n", held(schema)?), most)
}

fn lark<'a>(tools: impl Iterator<Item = &'a ToolSpec>, start: &str, most: u32) -> Result<Constraint, EngineError> {
    let more = if most > 1 { format!(" (\"\\n\" call){{0,{}}}", most - 1) } else { String::new() };
    let rules: Vec<String> = tools.enumerate().map(|(n, tool)| call_rule(n, tool)).collect::<Result<_, _>>()?;
    let names: Vec<String> = (0..rules.len()).map(|n| format!("call_{n}")).collect();
    let calls = format!("calls: call{more}\ncall: {}\n", names.join(" | "));
    Ok(Constraint::Lark(format!("{start}{calls}{}", rules.concat())))
}

/// Each tool's schema stays a document of its own: what it refers to (`#/$defs/…`) is counted from its root.
fn call_rule(n: usize, tool: &ToolSpec) -> Result<String, EngineError> {
    let begin = format!("{OPEN}\n{{\"name\": {}, \"arguments\": ", Value::from(tool.name.as_str()));
    let end = format!("}}\n{CLOSE}");
    let schema = if tool.parameters.trim().is_empty() { ANY_ARGUMENTS } else { &tool.parameters };
    let of_tool = |error| match error {
        EngineError::Constraint(why) => EngineError::Constraint(format!("tool {:?}: {why}", tool.name)),
        other => other,
    };
    let schema = held(schema).map_err(of_tool)?;
    Ok(format!("call_{n}: {} %json {schema} {}\n", Value::from(begin), Value::from(end)))
}

/// The same JSON without line ends outside of strings; what isn't JSON is left for the engine to refuse.
fn one_line(json: &str) -> String {
    serde_json::from_str::<Value>(json).map_or_else(|_| json.to_owned(), |value| value.to_string())
}

/// A call in that form; arguments that are no JSON stay as they are.
pub fn written(name: &str, arguments: &str) -> String {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    format!("{OPEN}\n{{\"name\": {}, \"arguments\": {}}}\n{CLOSE}", Value::from(name), one_line(arguments))
}

/// A part of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Call(ToolCall),
}

/// What a whole text says and what it calls.
pub fn split(text: &str) -> (String, Vec<ToolCall>) {
    let mut splitter = Splitter::default();
    let mut pieces = splitter.push(text);
    pieces.extend(splitter.finish());
    let (mut content, mut calls) = (String::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => content.push_str(&text),
            Piece::Call(call) => calls.push(call),
        }
    }
    (content, calls)
}

/// Takes calls out of a text that comes in pieces. Text before a call comes out at once, a call when it is whole.
/// What looks like a call and isn't one is text; so is what follows a call, without the white space in between.
#[derive(Debug, Default)]
pub struct Splitter {
    /// Not given out yet: the beginning of a call, or what may become one.
    held: String,
    inside: bool,
    /// How far the held text was searched for the end of the call.
    searched: usize,
    /// Where a closing mark was that may stand in a string.
    doubtful: Option<usize>,
    /// Nothing was said since the last call.
    called: bool,
}

impl Splitter {
    /// Takes more text; gives what is certain.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while if self.inside { self.close(&mut pieces) } else { self.open(&mut pieces) } {}
        pieces
    }

    /// The rest, when nothing follows. A call that lacks only its closing mark is one.
    pub fn finish(mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let held = std::mem::take(&mut self.held);
        let call = if self.inside { held.strip_prefix(OPEN).and_then(|body| read(body).ok()) } else { None };
        match call {
            Some(call) => pieces.push(Piece::Call(call)),
            None => self.say(&held, &mut pieces),
        }
        pieces
    }

    /// Looks for the beginning of a call. True if there is one.
    fn open(&mut self, pieces: &mut Vec<Piece>) -> bool {
        let found = self.held.find(OPEN);
        let sure = found.unwrap_or_else(|| self.held.len() - self.possible_mark());
        // White space before a call belongs to neither.
        let ready = self.held[..sure].trim_end().len();
        let text: String = self.held.drain(..if found.is_some() { sure } else { ready }).collect();
        self.say(&text[..ready], pieces);
        self.inside = found.is_some();
        self.searched = OPEN.len();
        self.inside
    }

    /// Looks for the end of the call. True if the held text begins with no call any more.
    fn close(&mut self, pieces: &mut Vec<Piece>) -> bool {
        let from = self.held.floor_char_boundary(self.searched);
        let Some(at) = self.held[from..].find(CLOSE).map(|at| at + from) else {
            self.searched = self.held.len().saturating_sub(CLOSE.len()).max(OPEN.len());
            return false;
        };
        let end = at + CLOSE.len();
        match read(&self.held[OPEN.len()..at]) {
            // The mark stands in a string of the arguments.
            Err(unread) if unread.is_eof() => {
                self.searched = end;
                self.doubtful.get_or_insert(end);
                return true;
            }
            Err(_) => {
                let end = self.doubtful.unwrap_or(end);
                let text: String = self.held.drain(..end).collect();
                self.say(&text, pieces);
            }
            Ok(call) => {
                self.held.drain(..end);
                self.called = true;
                pieces.push(Piece::Call(call));
            }
        }
        (self.inside, self.doubtful) = (false, None);
        true
    }

    fn say(&mut self, text: &str, pieces: &mut Vec<Piece>) {
        let text = if self.called { text.trim_start() } else { text };
        if !text.is_empty() {
            self.called = false;
            pieces.push(Piece::Text(text.to_owned()));
        }
    }

    /// Length of the longest end of the held text that a call may begin with.
    fn possible_mark(&self) -> usize {
        (1..OPEN.len()).rev().find(|n| self.held.ends_with(&OPEN[..*n])).unwrap_or(0)
    }
}

#[derive(Deserialize)]
struct Written {
    name: String,
    #[serde(default, alias = "parameters")]
    arguments: Value,
}

fn read(body: &str) -> Result<ToolCall, serde_json::Error> {
    let Written { name, arguments } = serde_json::from_str(body.trim())?;
    let arguments = match arguments {
        // Some models encode them once more.
        Value::String(text) => text,
        Value::Null => "{}".to_owned(),
        value => value.to_string(),
    };
    Ok(ToolCall { id: format!("call_{}", Uuid::new_v4().simple()), name, arguments })
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
