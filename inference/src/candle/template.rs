//! The chat template: messages to the parts of a prompt.
//!
//! A template is rendered with a mark in place of each content, and the result is cut at the marks. Control tokens are
//! looked for only in what the template itself wrote; contents are put in afterwards, as text. So a message that spells
//! a control token stays a message, and a template's rendering of honest messages gives the same tokens as ever.

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

use super::hub;
use super::tokenizer::{ModelTokenizer, PromptPart};
use crate::checkpoint::Checkpoint;
use crate::{ChatMessage, EngineError, ToolSpec};

/// Around the number of a content. Private-use characters, so that no template has them by itself.
const MARK: char = '\u{F8FE}';
/// Steps that a template may take for one conversation: a long one takes some hundred thousand.
const MOST_STEPS: u64 = 5_000_000;

/// A model's chat template.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    /// Longest first, so that of two names with one beginning the longer one is found.
    control: Vec<String>,
    begin: String,
    end: String,
}

impl ChatTemplate {
    pub(super) fn load(file: &Checkpoint, tokenizer: &ModelTokenizer) -> Result<Self, EngineError> {
        let (source, begin, end) = match file {
            Checkpoint::Gguf(_) => of_gguf(file)?,
            Checkpoint::Folder(folder) => hub::template(folder).map_err(|why| file.refuse(why))?,
        };
        let names = tokenizer.control_names().map(str::to_owned).collect();
        let refuse = |e: &dyn std::fmt::Display| file.refuse(format_args!("chat template: {e}"));
        let template = Self::new(source, names, begin, end).map_err(|e| refuse(&e))?;
        // What can't say this can't say anything, or doesn't come to an end.
        let tried = template.parts(&[ChatMessage::user("Hello")], &[], Some(""));
        tried.and_then(|parts| tokenizer.encode_prompt(&parts)).map_err(|e| refuse(&e))?;
        Ok(template)
    }

    /// The template of a model whose file isn't there.
    #[cfg(test)]
    pub(super) fn of(source: &str, tokenizer: &ModelTokenizer) -> Self {
        let names = tokenizer.control_names().map(str::to_owned).collect();
        Self::new(source.to_owned(), names, String::new(), String::new()).unwrap_or_else(|e| panic!("{e}"))
    }

    fn new(source: String, mut control: Vec<String>, begin: String, end: String) -> Result<Self, Error> {
        control.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let mut environment = Environment::new();
        environment.set_fuel(Some(MOST_STEPS));
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |why: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, why))
        });
        environment.add_filter("tojson", to_json);
        environment.add_template_owned("chat", source)?;
        Ok(Self { environment, control, begin, end })
    }

    /// The prompt of a conversation in which these tools may be called. With `reply`, the assistant's turn is opened and
    /// begun with that text.
    pub(super) fn parts(
        &self,
        messages: &[ChatMessage],
        tools: &[ToolSpec],
        reply: Option<&str>,
    ) -> Result<Vec<PromptPart>, EngineError> {
        let mut texts = Texts::default();
        let rendered = self.render(messages, tools, reply.is_some(), &mut texts);
        let rendered = rendered.map_err(|e| EngineError::BadRequest(format!("chat template: {e}")))?;
        let mut parts = Vec::new();
        for (i, piece) in rendered.split(MARK).enumerate() {
            // Marks come in pairs: every second piece is the number of a text.
            if i % 2 == 0 {
                self.split_control(piece, &mut parts);
            } else {
                let text = piece.parse::<usize>().ok().and_then(|n| texts.0.get(n));
                let text = text.ok_or_else(|| EngineError::Failed("chat template: stray mark".into()))?;
                parts.push(PromptPart::Text(text.clone()));
            }
        }
        parts.extend(reply.filter(|r| !r.is_empty()).map(|r| PromptPart::Text(r.to_owned())));
        Ok(parts)
    }

    fn render(
        &self,
        messages: &[ChatMessage],
        tools: &[ToolSpec],
        open_reply: bool,
        texts: &mut Texts,
    ) -> Result<String, Error> {
        let messages: Vec<Value> = messages.iter().map(|m| message(m, texts)).collect();
        let tools: Vec<Value> = tools.iter().map(|tool| texts.mark(&described(tool))).collect();
        self.environment.get_template("chat")?.render(context! {
            messages,
            tools => if tools.is_empty() { Value::from(()) } else { Value::from(tools) },
            add_generation_prompt => open_reply,
            bos_token => self.begin,
            eos_token => self.end,
        })
    }

    fn split_control(&self, mut text: &str, parts: &mut Vec<PromptPart>) {
        while let Some((at, name)) = self.first_control(text) {
            if at > 0 {
                parts.push(PromptPart::Text(text[..at].to_owned()));
            }
            parts.push(PromptPart::Control(name.to_owned()));
            text = &text[at + name.len()..];
        }
        if !text.is_empty() {
            parts.push(PromptPart::Text(text.to_owned()));
        }
    }

    fn first_control(&self, text: &str) -> Option<(usize, &str)> {
        let found = self.control.iter().filter_map(|name| Some((text.find(name.as_str())?, name.as_str())));
        // The earliest; of several there the longest, which stands first.
        found.min_by_key(|(at, name)| (*at, std::cmp::Reverse(name.len())))
    }
}

/// The template of a GGUF file, and what it calls the tokens that begin and end a text.
fn of_gguf(file: &Checkpoint) -> Result<(String, String, String), EngineError> {
    let source = file.text("tokenizer.chat_template");
    let source = source.ok_or_else(|| file.refuse("it has no chat template"))?.to_owned();
    let token = |key: &str| {
        let tokens = file.value("tokenizer.ggml.tokens")?.to_vec().ok()?;
        tokens.get(file.number(key)? as usize)?.to_string().ok().cloned()
    };
    let name = |key: &str| token(key).unwrap_or_default();
    Ok((source, name("tokenizer.ggml.bos_token_id"), name("tokenizer.ggml.eos_token_id")))
}

/// What stands behind the marks.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn mark(&mut self, text: &str) -> Value {
        // Nothing is nothing: templates ask whether there is a content.
        if text.is_empty() {
            return Value::from("");
        }
        self.0.push(text.to_owned());
        Value::from(format!("{MARK}{}{MARK}", self.0.len() - 1))
    }
}

fn message(message: &ChatMessage, texts: &mut Texts) -> Value {
    let calls: Vec<Value> = message
        .tool_calls
        .iter()
        .map(|call| {
            let function = context! { name => texts.mark(&call.name), arguments => texts.mark(&call.arguments) };
            context! { id => texts.mark(&call.id), type => "function", function }
        })
        .collect();
    let (role, content) = (message.role.as_str(), texts.mark(&message.content));
    let call = message.tool_call_id.as_deref().map(|id| texts.mark(id));
    context! {
        role,
        content,
        tool_calls => if calls.is_empty() { Value::from(()) } else { Value::from(calls) },
        tool_call_id => call,
    }
}

/// A tool as the templates expect it, in JSON as Python writes it: that is what models were trained with.
fn described(tool: &ToolSpec) -> String {
    let parameters = serde_json::from_str(&tool.parameters).unwrap_or(serde_json::Value::Null);
    let function = serde_json::json!({
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
    });
    spaced(&serde_json::json!({ "type": "function", "function": function }))
}

/// The filter `tojson`. What is marked is put in as it is: it is JSON already, or a word of it.
fn to_json(value: &Value) -> Result<String, Error> {
    if let Some(marked) = value.as_str().filter(|text| text.contains(MARK)) {
        return Ok(marked.to_owned());
    }
    let value = serde_json::to_value(value);
    value.map(|v| spaced(&v)).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))
}

/// JSON with a space after each comma and colon.
fn spaced(value: &serde_json::Value) -> String {
    let mut out = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut out, Spaced);
    // Writing a value into memory can't fail.
    let _ = value.serialize(&mut writer);
    String::from_utf8_lossy(&out).into_owned()
}

struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
