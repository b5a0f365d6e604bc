//! The chat template: messages to the parts of a prompt.
//!
//! A template is rendered with a mark in place of each content, and the result is cut at the marks. Control tokens are
//! looked for only in what the template itself wrote; contents are put in afterwards, as text. So a message that spells
//! a control token stays a message, and a template's rendering of honest messages gives the same tokens as ever.

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, context};

use super::gguf::GgufFile;
use super::tokenizer::{ModelTokenizer, PromptPart};
use crate::{ChatMessage, EngineError};

/// Around the number of a content. Private-use characters, so that no template has them by itself.
const MARK: char = '\u{F8FE}';

/// A model's chat template.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    /// Longest first, so that of two names with one beginning the longer one is found.
    control: Vec<String>,
    begin: String,
    end: String,
}

impl ChatTemplate {
    pub(super) fn load(file: &GgufFile, tokenizer: &ModelTokenizer) -> Result<Self, EngineError> {
        let source = file.text("tokenizer.chat_template");
        let source = source.ok_or_else(|| file.refuse("it has no chat template"))?.to_owned();
        let token = |key: &str| {
            let tokens = file.value("tokenizer.ggml.tokens")?.to_vec().ok()?;
            tokens.get(file.number(key)? as usize)?.to_string().ok().cloned()
        };
        let begin = token("tokenizer.ggml.bos_token_id").unwrap_or_default();
        let end = token("tokenizer.ggml.eos_token_id").unwrap_or_default();
        let names = tokenizer.control_names().map(str::to_owned).collect();
        Self::new(source, names, begin, end).map_err(|e| file.refuse(format_args!("chat template: {e}")))
    }

    fn new(source: String, mut control: Vec<String>, begin: String, end: String) -> Result<Self, Error> {
        control.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |why: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, why))
        });
        environment.add_template_owned("chat", source)?;
        Ok(Self { environment, control, begin, end })
    }

    /// The prompt of a conversation. With `reply`, the assistant's turn is opened and begun with that text.
    pub(super) fn parts(&self, messages: &[ChatMessage], reply: Option<&str>) -> Result<Vec<PromptPart>, EngineError> {
        let rendered = self.render(messages, reply.is_some());
        let rendered = rendered.map_err(|e| EngineError::BadRequest(format!("chat template: {e}")))?;
        let mut parts = Vec::new();
        for (i, piece) in rendered.split(MARK).enumerate() {
            // Marks come in pairs: every second piece is the number of a content.
            if i % 2 == 0 {
                self.split_control(piece, &mut parts);
            } else {
                let content = piece.parse::<usize>().ok().and_then(|n| messages.get(n));
                let content = content.ok_or_else(|| EngineError::Failed("chat template: stray mark".into()))?;
                parts.push(PromptPart::Text(content.content.clone()));
            }
        }
        parts.extend(reply.filter(|r| !r.is_empty()).map(|r| PromptPart::Text(r.to_owned())));
        Ok(parts)
    }

    fn render(&self, messages: &[ChatMessage], open_reply: bool) -> Result<String, Error> {
        let marked = messages.iter().enumerate();
        let marked = marked.map(|(i, m)| context! { role => m.role.as_str(), content => format!("{MARK}{i}{MARK}") });
        self.environment.get_template("chat")?.render(context! {
            messages => marked.collect::<Vec<Value>>(),
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

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
