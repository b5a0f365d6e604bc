//! What tools there are, and what they take.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::ToolResult;

/// A tool as it is described to a model.
#[derive(Debug, Clone, Copy)]
pub struct ToolInfo {
    /// Its name.
    pub name: &'static str,
    /// What it does and takes, in a line.
    pub about: &'static str,
    /// An example of its arguments, as JSON.
    pub example: &'static str,
    /// It may change the workspace.
    pub changes: bool,
}

/// Every tool.
pub const TOOLS: &[ToolInfo] = &[
    ToolInfo { name: "list", about: "lists the files below a directory", example: r#"{"path": "."}"#, changes: false },
    ToolInfo {
        name: "read",
        about: "shows lines of a file",
        example: r#"{"path": "src/a.py", "from": 1, "to": 200}"#,
        changes: false,
    },
    ToolInfo {
        name: "search",
        about: "finds a regular expression in all files",
        example: r#"{"pattern": "def total", "path": "."}"#,
        changes: false,
    },
    ToolInfo {
        name: "replace_function",
        about: "replaces one function of a file by new code",
        example: r#"{"path": "src/a.py", "name": "total", "code": "def total(items):\n    ..."}"#,
        changes: true,
    },
    ToolInfo {
        name: "write_file",
        about: "writes a whole file",
        example: r#"{"path": "src/a.py", "content": "..."}"#,
        changes: true,
    },
    ToolInfo { name: "run_tests", about: "builds and runs the story's tests", example: "{}", changes: true },
    ToolInfo {
        name: "exec",
        about: "runs a shell command in the sandbox",
        example: r#"{"command": "ls -l"}"#,
        changes: true,
    },
];

/// The description of a tool.
pub fn tool_info(name: &str) -> Option<&'static ToolInfo> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The file or directory that a call is about, if its tool takes one.
pub(super) fn path_of(args: &Value) -> Option<&str> {
    args.get("path").and_then(Value::as_str)
}

#[derive(Debug, Deserialize)]
pub(super) struct ListArgs {
    #[serde(default)]
    pub(super) path: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReadArgs {
    pub(super) path: String,
    pub(super) from: Option<usize>,
    pub(super) to: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SearchArgs {
    pub(super) pattern: String,
    #[serde(default)]
    pub(super) path: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReplaceArgs {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) code: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct WriteArgs {
    pub(super) path: String,
    pub(super) content: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExecArgs {
    pub(super) command: String,
}

/// Reads the arguments; what comes back otherwise tells the agent how they look.
pub(super) fn arguments<T: DeserializeOwned>(tool: &str, args: &Value) -> Result<T, Box<ToolResult>> {
    let args = if args.is_null() { json!({}) } else { args.clone() };
    serde_json::from_value(args).map_err(|error| {
        let example = tool_info(tool).map_or("{}", |info| info.example);
        Box::new(ToolResult::refused(format!(
            "the arguments of {tool} aren't right ({error}); give them like {example}"
        )))
    })
}
