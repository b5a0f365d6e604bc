//! What is said to models, beside the roles' own words. No word here is about any particular story, repository or
//! language.
//!
//! The order matters twice: what all members of a council are shown comes first, so that an engine
//! can share it, and the question comes last, because small models answer what they read last.

use fleet_inference::ChatMessage;
use fleet_tools::gateway::tool_info;
use serde_json::{Value, json};

use crate::event::Form;

/// How the tools that a role offers are called.
fn offer(tools: &[String]) -> String {
    let told: Vec<String> =
        tools.iter().filter_map(|t| tool_info(t)).map(|t| format!("{} {}: {}", t.name, t.example, t.about)).collect();
    if told.is_empty() {
        return String::new();
    }
    format!(
        "You may call a tool by answering with nothing but JSON: {{\"tool\": NAME, \"args\": {{…}}}}. The tools:\n{}\n\
When you know enough, answer with the code.\n",
        told.join("\n")
    )
}

/// Asks the architect for the design decision.
pub fn design(system: &str, bundle: &str) -> Vec<ChatMessage> {
    let ask = "Decide how this story is done. Answer in JSON: `summary`, one sentence on what is wrong or missing; \
`approach`, one or two sentences on what to change; `risks`, at most two short ones.";
    messages(system, bundle, ask)
}

/// The grammar of a design decision. The lengths keep a small model from rambling.
pub fn design_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "summary": { "type": "string", "maxLength": 240 },
            "approach": { "type": "string", "maxLength": 320 },
            "risks": { "type": "array", "items": { "type": "string", "maxLength": 120 }, "maxItems": 2 }
        },
        "required": ["summary", "approach", "risks"],
        "additionalProperties": false
    })
}

/// Asks the architect for the tasks.
pub fn plan(system: &str, bundle: &str, max_tasks: usize) -> Vec<ChatMessage> {
    let ask = format!(
        "Cut the work into tasks that one developer can do, at most {max_tasks}. Answer in JSON: `tasks`, each with \
`id` (t1, t2, …), `title` (what to do, one line), `depends_on` (ids), `files` (that will change; existing ones)."
    );
    messages(system, bundle, &ask)
}

/// What a developer is asked to do.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The system prompt of its role.
    pub system: &'a str,
    /// The file.
    pub path: &'a str,
    /// Qualified name of the function.
    pub function: &'a str,
    /// Name of the language for the fence.
    pub fence: &'a str,
    /// Whether that function is to be written, or the whole file.
    pub form: Form,
    /// Whether an earlier try is in the bundle.
    pub repair: bool,
    /// Whether a part of the change is in place already.
    pub adds: bool,
    /// The tools that are offered.
    pub tools: &'a [String],
}

/// Asks a developer to rewrite one function, or a file.
pub fn build(bundle: &str, ask: &Ask<'_>) -> Vec<ChatMessage> {
    let Ask { system, path, function, form, fence, repair, adds, tools } = ask;
    let again = match (repair, adds) {
        (true, _) => " The earlier try did not pass; do it differently.",
        (_, true) => " A part of the change is in place already; keep it and add what is missing.",
        _ => "",
    };
    let tools = offer(tools);
    let (wanted, keep) = match form {
        Form::Function => (
            format!("only the function `{function}` of {path}"),
            "keep its name, its parameters and every line that is right",
        ),
        Form::File => (
            format!("the file {path}, where `{function}` is the likeliest place,"),
            "keep every function, name and line that is right, and add what is missing",
        ),
    };
    let answer = answer_with(*form, function, fence);
    let ask = format!(
        "{tools}Rewrite {wanted} so that the failing tests pass and all others still do.{again} Change as little as \
possible: {keep}. {answer}"
    );
    messages(system, bundle, &ask)
}

fn answer_with(form: Form, function: &str, fence: &str) -> String {
    let whole = match form {
        Form::Function => format!("function `{function}`"),
        Form::File => "file".to_owned(),
    };
    format!("Answer with the whole {whole} in one ```{fence} block, without any explanation.")
}

/// Asks a tester for further tests beside those of a file.
pub fn probes(system: &str, bundle: &str, path: &str, fence: &str) -> Vec<ChatMessage> {
    let ask = format!(
        "Write at most five further tests in the style of {path}, as one file that begins as it does. Each checks one thing that \
the story or an acceptance criterion says and that no test checks yet; work out each expected value with care. Repeat no \
existing test. Answer with one ```{fence} block, without any explanation."
    );
    messages(system, bundle, &ask)
}

/// What follows a reply that could not be used.
pub fn observation(observed: &str, form: Form, function: &str, fence: &str) -> ChatMessage {
    ChatMessage::user(format!("{observed}\n\n{}", answer_with(form, function, fence)))
}

/// The beginning of a developer's reply: the fence and the first lines of what is rewritten, so that
/// nothing but the rest is left to say.
pub fn opening(fence: &str, first: &str) -> String {
    format!("```{fence}\n{}\n", first.trim_end())
}

fn messages(system: &str, bundle: &str, ask: &str) -> Vec<ChatMessage> {
    vec![ChatMessage::system(system), ChatMessage::user(format!("{bundle}\n## Your task\n{ask}"))]
}
