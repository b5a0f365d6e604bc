//! The body of a chat completion, read into what an engine is asked.

use std::collections::BTreeMap;

use fleet_inference::{ChatMessage, ChatRole, Priority, Request, RequestTag, Sampling};
use serde::Deserialize;
use uuid::Uuid;

use super::DEADLINE;
use super::error::OpenAiError;
use super::fields::Fields;
use super::messages;
use super::shape::Shape;

/// Replies to one request; each is decoded by itself.
const MOST_CHOICES: u32 = 8;
const MOST_STOPS: usize = 16;
const MOST_BIASES: usize = 1024;
const MOST_TOP_LOGPROBS: u32 = 20;
/// What an engine is asked for where the context isn't known and the client gives no bound.
const SOME_TOKENS: u32 = 1024;
/// Whose prefixes those of all clients of this protocol are.
const PROJECT: &str = "api";

/// What OpenAI has and what changes no answer here.
const HARMLESS: [&str; 9] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prediction",
    "verbosity",
];

/// What OpenAI has, what would change the answer, and what isn't done.
const REFUSED: [(&str, &str); 6] = [
    ("audio", "audio isn't supported"),
    ("functions", "is deprecated; use `tools`"),
    ("function_call", "is deprecated; use `tool_choice`"),
    ("reasoning_effort", "isn't supported by these models"),
    ("web_search_options", "there is no web search"),
    ("moderation", "there is no moderation"),
];

/// A chat completion that was asked for.
pub(super) struct Ask {
    pub(super) model: String,
    /// What the first choice is decoded from.
    request: Request,
    pub(super) choices: u32,
    /// Whether the client has set a bound on the tokens itself.
    bounded: bool,
    pub(super) stream: bool,
    /// Whether the stream ends with what it cost.
    pub(super) stream_usage: bool,
    /// Whether tools were offered: their calls are taken out of the text.
    pub(super) calls: bool,
    pub(super) logprobs: bool,
    pub(super) constrained_by: Option<&'static str>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stops {
    One(String),
    Many(Vec<String>),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

impl Ask {
    /// Reads a body; `who` is asking.
    pub(super) fn new(mut fields: Fields, who: &str) -> Result<Self, OpenAiError> {
        fields.ignore(&HARMLESS);
        fields.refuse(&REFUSED)?;
        only_text(&mut fields)?;
        let model = fields.need("model")?;
        let mut messages = messages::read(fields.need("messages")?)?;
        let assistant_prefix = begun(&mut fields, &mut messages)?;
        let shape = Shape::take(&mut fields)?;
        let max_tokens = fields.number("max_completion_tokens", 1, u32::MAX)?;
        let max_tokens = fields.number("max_tokens", 1, u32::MAX)?.or(max_tokens);
        let choices = fields.number("n", 1, MOST_CHOICES)?.unwrap_or(1);
        let stream = fields.take("stream")?.unwrap_or(false);
        let options: StreamOptions = fields.take("stream_options")?.unwrap_or_default();
        let logprobs = logprobs(&mut fields)?;
        let request = Request {
            assistant_prefix,
            tools: shape.tools,
            sampling: sampling(&mut fields)?,
            logit_bias: biases(&mut fields)?,
            logprobs,
            constraint: shape.constraint,
            stop: stops(&mut fields)?,
            project: PROJECT.into(),
            tag: RequestTag { role: "api".into(), task: who.into(), ..RequestTag::default() },
            deadline: DEADLINE,
            priority: Priority::Normal,
            ..Request::new(messages, max_tokens.unwrap_or(SOME_TOKENS))
        };
        fields.end()?;
        Ok(Self {
            model,
            choices,
            bounded: max_tokens.is_some(),
            stream,
            stream_usage: options.include_usage,
            calls: !request.tools.is_empty(),
            logprobs: logprobs.is_some(),
            constrained_by: shape.constrained_by,
            request,
        })
    }

    /// What choice `n` is decoded from, by an engine with this context.
    pub(super) fn request(&self, n: u32, context: u32) -> Request {
        let mut request = Request { id: Uuid::new_v4(), ..self.request.clone() };
        request.sampling.seed = request.sampling.seed.wrapping_add(u64::from(n));
        request.tag.attempt = n;
        if !self.bounded && context > 1 {
            request.max_tokens = context / 2;
        }
        request
    }

    /// The bound for a prompt that leaves less room than was asked for, if the client asked for nothing.
    pub(super) fn what_fits(&self, prompt_tokens: u32, context: u32) -> Option<u32> {
        let rest = context.saturating_sub(prompt_tokens);
        (!self.bounded && rest > 0).then_some(rest)
    }
}

fn only_text(fields: &mut Fields) -> Result<(), OpenAiError> {
    match fields.take::<Vec<String>>("modalities")? {
        Some(modalities) if modalities.iter().any(|modality| modality != "text") => {
            Err(OpenAiError::unsupported("modalities", "only `text` is supported"))
        }
        _ => Ok(()),
    }
}

/// What the reply begins with: with vLLM's `continue_final_message`, the last message.
fn begun(fields: &mut Fields, messages: &mut Vec<ChatMessage>) -> Result<Option<String>, OpenAiError> {
    let on = fields.take("continue_final_message")?.unwrap_or(false);
    if fields.take("add_generation_prompt")?.unwrap_or(!on) == on {
        let message = "`add_generation_prompt` is the opposite of `continue_final_message`.";
        return Err(OpenAiError::param("add_generation_prompt", "invalid_value", message));
    }
    match messages.pop_if(|last| on && last.role == ChatRole::Assistant && last.tool_calls.is_empty()) {
        Some(last) => Ok(Some(last.content)),
        None if on => {
            let message = "`continue_final_message` needs a last message of the assistant that calls nothing.";
            Err(OpenAiError::param("continue_final_message", "invalid_value", message))
        }
        None => Ok(None),
    }
}

fn sampling(fields: &mut Fields) -> Result<Sampling, OpenAiError> {
    let seed = fields.take::<i64>("seed")?.map_or_else(rand::random, i64::cast_unsigned);
    Ok(Sampling {
        temperature: fields.number("temperature", 0.0, 2.0)?.unwrap_or(1.0),
        top_p: fields.number("top_p", 0.0, 1.0)?.unwrap_or(1.0),
        top_k: top_k(fields)?,
        min_p: fields.number("min_p", 0.0, 1.0)?.unwrap_or(0.0),
        repeat_penalty: fields.number("repetition_penalty", 0.01, 10.0)?.unwrap_or(1.0),
        presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?.unwrap_or(0.0),
        frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0)?.unwrap_or(0.0),
        seed,
    })
}

/// As others write it, -1 and 0 are both "all".
fn top_k(fields: &mut Fields) -> Result<u32, OpenAiError> {
    let top_k = fields.number("top_k", -1_i64, i64::from(u32::MAX))?.unwrap_or(0);
    Ok(u32::try_from(top_k).unwrap_or(0))
}

/// How many of the likeliest tokens to name with each, if any are wanted.
fn logprobs(fields: &mut Fields) -> Result<Option<u32>, OpenAiError> {
    let wanted = fields.take::<bool>("logprobs")?.unwrap_or(false);
    match fields.number("top_logprobs", 0, MOST_TOP_LOGPROBS)? {
        Some(_) if !wanted => {
            let message = "`top_logprobs` is only allowed when `logprobs` is true.";
            Err(OpenAiError::param("top_logprobs", "invalid_value", message))
        }
        top => Ok(wanted.then(|| top.unwrap_or(0))),
    }
}

fn biases(fields: &mut Fields) -> Result<Vec<(u32, f32)>, OpenAiError> {
    let biases: BTreeMap<String, f32> = fields.take("logit_bias")?.unwrap_or_default();
    let wrong = |what: &str| Err(OpenAiError::param("logit_bias", "invalid_value", format!("`logit_bias`: {what}.")));
    if biases.len() > MOST_BIASES {
        return wrong(&format!("{MOST_BIASES} at most"));
    }
    let mut read = Vec::new();
    for (token, bias) in biases {
        match token.parse() {
            Ok(token) if (-100.0..=100.0).contains(&bias) => read.push((token, bias)),
            Ok(_) => return wrong("a bias lies between -100 and 100"),
            Err(_) => return wrong("a key is the number of a token"),
        }
    }
    Ok(read)
}

fn stops(fields: &mut Fields) -> Result<Vec<String>, OpenAiError> {
    let stops = match fields.take("stop")? {
        None => Vec::new(),
        Some(Stops::One(stop)) => vec![stop],
        Some(Stops::Many(stops)) => stops,
    };
    if stops.len() > MOST_STOPS || stops.iter().any(String::is_empty) {
        let message = format!("Invalid `stop`: {MOST_STOPS} texts at most, none of them empty.");
        return Err(OpenAiError::param("stop", "invalid_value", message));
    }
    Ok(stops)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use fleet_inference::Constraint;
    use serde_json::{Value, json};

    use super::*;

    fn read(more: Value) -> Result<Ask, Value> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hello" }] });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let fields = Fields::parse(body.to_string().as_bytes()).unwrap();
        Ask::new(fields, "olga").map_err(|error| error.body()["error"].clone())
    }

    fn refused(more: Value) -> (String, String) {
        let error = read(more.clone()).err().unwrap_or_else(|| panic!("{more} was taken"));
        (error["param"].as_str().unwrap().to_owned(), error["code"].as_str().unwrap().to_owned())
    }

    #[test]
    fn every_field_comes_to_the_engine() {
        let ask = read(json!({
            "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1, "seed": -1,
            "presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": { "7": -100 }, "logprobs": true,
            "top_logprobs": 3, "stop": "END", "max_completion_tokens": 9, "n": 2, "stream": true,
            "stream_options": { "include_usage": true }, "user": "u", "metadata": { "a": "b" }, "store": false,
            "modalities": ["text"], "tools": null,
        }))
        .ok()
        .unwrap();
        let request = ask.request(1, 4096);
        assert_eq!(
            request.sampling,
            Sampling {
                temperature: 0.5,
                top_k: 40,
                top_p: 0.9,
                min_p: 0.1,
                repeat_penalty: 1.1,
                presence_penalty: 0.5,
                frequency_penalty: -0.5,
                seed: 0,
            }
        );
        assert_eq!((request.logit_bias, request.logprobs, request.max_tokens), (vec![(7, -100.0)], Some(3), 9));
        assert_eq!((request.stop, request.tag.attempt, request.project.as_str()), (vec!["END".into()], 1, "api"));
        assert!(ask.stream && ask.stream_usage && ask.choices == 2 && ask.what_fits(5, 100).is_none());
    }

    #[test]
    fn without_a_bound_half_of_the_context_is_asked_for_or_what_the_prompt_leaves() {
        let ask = read(json!({})).ok().unwrap();
        assert_eq!((ask.request(0, 4096).max_tokens, ask.request(0, 0).max_tokens), (2048, SOME_TOKENS));
        assert_eq!((ask.what_fits(4000, 4096), ask.what_fits(4096, 4096)), (Some(96), None));
        assert_eq!(ask.request(0, 9).sampling.temperature, 1.0);
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_its_name() {
        let part = |kind: &str| json!([{ "role": "user", "content": [{ "type": kind }] }]);
        for (more, param) in [
            (json!({ "n": 9 }), "n"),
            (json!({ "temperature": 3 }), "temperature"),
            (json!({ "temperature": "hot" }), "temperature"),
            (json!({ "modalities": ["text", "audio"] }), "modalities"),
            (json!({ "functions": [] }), "functions"),
            (json!({ "colour": "red" }), "colour"),
            (json!({ "top_logprobs": 2 }), "top_logprobs"),
            (json!({ "logit_bias": { "x": 1 } }), "logit_bias"),
            (json!({ "max_tokens": 0 }), "max_tokens"),
            (json!({ "stop": [""] }), "stop"),
            (json!({ "messages": [] }), "messages"),
            (json!({ "model": null }), "model"),
            (json!({ "messages": part("image_url") }), "messages[0].content[0].type"),
            (json!({ "messages": part("text") }), "messages[0].content[0].text"),
            (json!({ "messages": [{ "role": "judge", "content": "" }] }), "messages[0].role"),
            (json!({ "messages": [{ "role": "tool", "content": "" }] }), "messages[0].tool_call_id"),
            (json!({ "messages": [{ "role": "user" }] }), "messages[0].content"),
            (json!({ "tool_choice": "required" }), "tool_choice"),
            (json!({ "tools": [{ "type": "custom", "custom": {} }] }), "tools[0].type"),
            (json!({ "response_format": { "type": "xml" } }), "response_format.type"),
            (json!({ "structured_outputs": { "regex": "a", "choice": ["b"] } }), "structured_outputs"),
            (json!({ "structured_outputs": { "choice": [1] } }), "structured_outputs"),
            (
                json!({ "structured_outputs": { "regex": "a" }, "response_format": { "type": "json_object" } }),
                "structured_outputs",
            ),
            (json!({ "continue_final_message": true }), "continue_final_message"),
            (json!({ "add_generation_prompt": false }), "add_generation_prompt"),
        ] {
            assert_eq!(refused(more).0, param);
        }
        assert_eq!(refused(json!({ "colour": 1 })).1, "unknown_parameter");
    }

    #[test]
    fn a_last_message_can_be_gone_on_with_as_vllm_does() {
        let messages = json!([{ "role": "user", "content": "f" }, { "role": "assistant", "content": "def f(" }]);
        let ask = read(json!({ "messages": messages, "continue_final_message": true, "add_generation_prompt": false }));
        let request = ask.ok().unwrap().request(0, 0);
        assert_eq!((request.assistant_prefix.as_deref(), request.messages.len()), (Some("def f("), 1));
        assert_eq!(read(json!({ "messages": messages })).ok().unwrap().request(0, 0).messages.len(), 2);
    }

    #[test]
    fn a_conversation_with_calls_and_parts_is_read() {
        let call = json!({ "id": "c1", "type": "function", "function": { "name": "now", "arguments": "{}" } });
        let ask = read(json!({ "messages": [
            { "role": "developer", "content": [{ "type": "text", "text": "Be " }, { "type": "text", "text": "brief." }] },
            { "role": "assistant", "content": null, "tool_calls": [call], "refusal": null },
            { "role": "tool", "tool_call_id": "c1", "content": "noon", "name": "now" },
        ]}))
        .ok()
        .unwrap();
        let messages = ask.request(0, 0).messages;
        assert_eq!((messages[0].role, messages[0].content.as_str()), (ChatRole::System, "Be brief."));
        assert_eq!((messages[1].tool_calls[0].name.as_str(), messages[1].content.as_str()), ("now", ""));
        assert_eq!((messages[2].role, messages[2].tool_call_id.as_deref()), (ChatRole::Tool, Some("c1")));
    }

    #[test]
    fn the_form_of_the_reply_is_held_to_what_was_asked() {
        let tools = json!([{ "type": "function", "function": { "name": "now" } }]);
        let constraint = |more: Value| read(more).ok().unwrap().request.constraint;
        assert_eq!(constraint(json!({ "tools": tools })), Constraint::None);
        assert!(matches!(constraint(json!({ "tools": tools, "tool_choice": "required" })), Constraint::Lark(_)));
        let object = json!({ "type": "json_object" });
        assert_eq!(
            constraint(json!({ "response_format": object })),
            Constraint::JsonSchema(r#"{"type":"object"}"#.into())
        );
        let schema = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "integer" } } });
        assert_eq!(
            constraint(json!({ "response_format": schema })),
            Constraint::JsonSchema(r#"{"type":"integer"}"#.into())
        );
        assert!(matches!(constraint(json!({ "response_format": schema, "tools": tools })), Constraint::Lark(_)));
        let structured = |more: Value| constraint(json!({ "structured_outputs": more }));
        assert_eq!(structured(json!({ "regex": "a+", "json": null })), Constraint::Regex("a+".into()));
        assert_eq!(structured(json!({ "choice": ["a", "b"] })), Constraint::Choice(vec!["a".into(), "b".into()]));
        assert_eq!(
            structured(json!({ "json": { "type": "null" } })),
            Constraint::JsonSchema(r#"{"type":"null"}"#.into())
        );
        assert!(matches!(structured(json!({ "grammar": "start: /a/" })), Constraint::Lark(_)));
        let none = read(json!({ "tools": tools, "tool_choice": "none" })).ok().unwrap();
        assert!(!none.calls && none.request.tools.is_empty());
    }
}
