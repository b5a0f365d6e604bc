//! What a reply must look like: the fields `tools`, `tool_choice`, `parallel_tool_calls`, `response_format`, and vLLM's
//! `structured_outputs`.

use fleet_inference::tools::{MOST_CALLS, ToolChoice, calls_or_answer, constraint};
use fleet_inference::{Constraint, ToolSpec};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::OpenAiError;
use super::fields::Fields;

/// As many as OpenAI takes.
const MOST_TOOLS: usize = 128;
/// The schema of `{"type": "json_object"}`.
const ANY_OBJECT: &str = r#"{"type":"object"}"#;

/// What was asked of the form of a reply.
pub(super) struct Shape {
    /// What the model may call.
    pub(super) tools: Vec<ToolSpec>,
    pub(super) constraint: Constraint,
    /// The field that the constraint came from.
    pub(super) constrained_by: Option<&'static str>,
}

impl Shape {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, OpenAiError> {
        let mut tools = tools(fields.take("tools")?.unwrap_or_default())?;
        let choice = choice(fields.take("tool_choice")?, &tools)?;
        let most = if fields.take("parallel_tool_calls")? == Some(false) { 1 } else { MOST_CALLS };
        let answer = answer(fields.take("response_format")?)?;
        if let Some(constraint) = structured(fields.take("structured_outputs")?)? {
            if answer.is_some() || !tools.is_empty() {
                let message = "`structured_outputs` goes with neither `response_format` nor `tools`.";
                return Err(OpenAiError::param("structured_outputs", "invalid_value", message));
            }
            return Ok(Self { tools, constraint, constrained_by: Some("structured_outputs") });
        }
        if choice == ToolChoice::None {
            tools.clear();
        }
        let called = constraint(&tools, &choice, most).map_err(|e| OpenAiError::of_engine(&e, Some("tools")))?;
        let (constraint, constrained_by) = match (answer, called) {
            (None, Constraint::None) => (Constraint::None, None),
            (Some(schema), Constraint::None) if tools.is_empty() => {
                (Constraint::JsonSchema(schema), Some("response_format"))
            }
            (Some(schema), Constraint::None) => {
                let by = Some("response_format");
                (calls_or_answer(&tools, &schema, most).map_err(|e| OpenAiError::of_engine(&e, by))?, by)
            }
            // A reply that must call something answers nothing: the form of an answer doesn't matter.
            (_, calls) => (calls, Some("tools")),
        };
        Ok(Self { tools, constraint, constrained_by })
    }
}

#[derive(Deserialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: String,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

fn tools(tools: Vec<Tool>) -> Result<Vec<ToolSpec>, OpenAiError> {
    if tools.len() > MOST_TOOLS {
        let message = format!("Invalid `tools`: {MOST_TOOLS} at most, there are {}.", tools.len());
        return Err(OpenAiError::param("tools", "invalid_value", message));
    }
    let mut specs: Vec<ToolSpec> = Vec::new();
    for (n, tool) in tools.into_iter().enumerate() {
        let spec = spec(n, tool)?;
        if specs.iter().any(|other| other.name == spec.name) {
            let (name, twice) = (format!("tools[{n}].function.name"), crate::plain::line(&spec.name));
            let message = format!("Invalid `{name}`: there are two tools called {twice:?}.");
            return Err(OpenAiError::param(name, "invalid_value", message));
        }
        specs.push(spec);
    }
    Ok(specs)
}

fn spec(n: usize, tool: Tool) -> Result<ToolSpec, OpenAiError> {
    let (kind, function) = (tool.kind, tool.function);
    let Some(function) = function.filter(|_| kind == "function") else {
        return Err(OpenAiError::unsupported(
            format!("tools[{n}].type"),
            "only tools of type `function` are supported",
        ));
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if function.name.is_empty() || function.name.len() > 128 || !function.name.chars().all(allowed) {
        let name = format!("tools[{n}].function.name");
        let message = format!("Invalid `{name}`: letters, digits and `_-./`, 128 at most.");
        return Err(OpenAiError::param(name, "invalid_value", message));
    }
    Ok(ToolSpec {
        name: function.name,
        description: function.description.unwrap_or_default(),
        parameters: function.parameters.map(|schema| Value::Object(schema).to_string()).unwrap_or_default(),
    })
}

fn choice(choice: Option<Value>, tools: &[ToolSpec]) -> Result<ToolChoice, OpenAiError> {
    let invalid = |message: String| Err(OpenAiError::param("tool_choice", "invalid_value", message));
    let choice = match choice {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => return Ok(ToolChoice::Auto),
            "none" => return Ok(ToolChoice::None),
            "required" => ToolChoice::Required,
            _ => return invalid("Invalid `tool_choice`: none of none, auto, required and a function.".into()),
        },
        Some(object) => match (object["type"].as_str(), object["function"]["name"].as_str()) {
            (Some("function"), Some(name)) => ToolChoice::Named(name.to_owned()),
            _ => return Err(OpenAiError::unsupported("tool_choice", "only a choice of type `function` is supported")),
        },
    };
    match &choice {
        _ if tools.is_empty() => invalid("`tool_choice` is only allowed when `tools` are specified.".into()),
        ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => {
            invalid(format!("Invalid `tool_choice`: there is no tool {:?}.", crate::plain::line(name)))
        }
        _ => Ok(choice),
    }
}

/// The constraint that vLLM's clients ask for.
fn structured(asked: Option<Map<String, Value>>) -> Result<Option<Constraint>, OpenAiError> {
    let Some(mut asked) = asked else { return Ok(None) };
    asked.retain(|_, value| !value.is_null());
    let invalid = |message: &str| {
        let message = format!("Invalid `structured_outputs`: {message}.");
        Err(OpenAiError::param("structured_outputs", "invalid_value", message))
    };
    let Some((kind, value)) = asked.iter().next().filter(|_| asked.len() == 1) else {
        return invalid("exactly one of json, regex, choice and grammar");
    };
    Ok(Some(match (kind.as_str(), value) {
        ("json", Value::String(schema)) => Constraint::JsonSchema(schema.clone()),
        ("json", schema @ Value::Object(_)) => Constraint::JsonSchema(schema.to_string()),
        ("regex", Value::String(regex)) => Constraint::Regex(regex.clone()),
        ("grammar", Value::String(grammar)) => Constraint::Lark(grammar.clone()),
        ("choice", Value::Array(texts)) => {
            let texts: Option<Vec<String>> = texts.iter().map(|text| text.as_str().map(str::to_owned)).collect();
            match texts {
                Some(texts) if !texts.is_empty() => Constraint::Choice(texts),
                _ => return invalid("choice is a list of texts"),
            }
        }
        _ => return invalid("one of json (a schema), regex, choice (texts) and grammar (Lark)"),
    }))
}

/// The JSON Schema that an answer must keep to.
fn answer(format: Option<Value>) -> Result<Option<String>, OpenAiError> {
    let Some(format) = format else { return Ok(None) };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(ANY_OBJECT.to_owned())),
        Some("json_schema") => match &format["json_schema"]["schema"] {
            schema @ Value::Object(_) => Ok(Some(schema.to_string())),
            Value::Null => Ok(Some(ANY_OBJECT.to_owned())),
            _ => {
                let name = "response_format.json_schema.schema";
                Err(OpenAiError::param(name, "invalid_type", format!("Invalid `{name}`: it is no JSON Schema.")))
            }
        },
        _ => {
            let message = "Invalid `response_format.type`: none of text, json_object and json_schema.";
            Err(OpenAiError::param("response_format.type", "invalid_value", message))
        }
    }
}
