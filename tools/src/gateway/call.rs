//! What goes into the gateway and what comes out.

use std::time::Duration;

use fleet_runtime::{JobId, ProjectId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::repo::RepoError;
use crate::results::Format;
use crate::run::RunSummary;
use crate::sandbox::{Limits, SandboxError};

/// A tool and its arguments, as a model asked for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// One of [`super::TOOLS`].
    pub tool: String,
    /// An object; what it holds depends on the tool.
    #[serde(default)]
    pub args: Value,
}

impl ToolCall {
    /// A call with these arguments.
    pub fn new(tool: impl Into<String>, args: Value) -> Self {
        Self { tool: tool.into(), args }
    }
}

/// What came of a call. A denied or failed call is a result too: the agent reads it and goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// It did what was asked.
    pub ok: bool,
    /// What the agent reads: plain text within the budget.
    pub text: String,
    /// The same for a program, where there is more to say.
    pub data: Value,
    /// The rule that denied it, if one did.
    pub denied: Option<String>,
    /// The run that it made, if it made one.
    pub run: Option<RunSummary>,
}

impl ToolResult {
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self { ok: true, text: text.into(), ..Self::default() }
    }

    pub(crate) fn same() -> Self {
        let text = "the new code is the same as the old; nothing was changed";
        Self { data: json!({ "unchanged": true }), ..Self::refused(text) }
    }

    /// An edit that would have left everything as it is.
    pub fn unchanged(&self) -> bool {
        self.data["unchanged"] == true
    }

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// A workspace to be opened: whose it is, what it starts from, and what holds in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceSpec {
    /// The job that it belongs to.
    pub job: JobId,
    /// The project of that job.
    pub project: ProjectId,
    /// Its name, unique within the job; letters, digits, `-`, `_` and `.`. Keys of its effects are made of it.
    pub name: String,
    /// The role of the agent that uses it.
    pub role: String,
    /// The name of the agent that uses it.
    pub agent: String,
    /// The phase that the story is in.
    pub phase: String,
    /// A patch that it starts from, on top of the base; empty for the base itself.
    #[serde(default)]
    pub patch: Vec<u8>,
    /// Command that builds, run before the tests; none if the tests do.
    pub build: Option<String>,
    /// Command that runs the tests.
    pub test: String,
    /// How its output is read.
    pub format: Format,
    /// Globs of what mustn't be touched.
    pub protected: Vec<String>,
    /// Globs of test files.
    pub test_files: Vec<String>,
    /// How much one run may use.
    pub limits: Limits,
}

/// A call could not be carried out at all; a result that says no isn't one of these.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The gateway or the workspace is full or busy; try again later.
    #[error("busy: {0}")]
    Busy(String),
    /// The workspace is closed, or was lost; open it again.
    #[error("the workspace is gone: {0}")]
    Gone(String),
    /// No answer came in time; the call may have been carried out. Asking again gives the recorded result, if there is one.
    #[error("no answer within {} s: {why}", deadline.as_secs())]
    Unknown {
        /// What was waited for.
        why: String,
        /// How long.
        deadline: Duration,
    },
    /// The call couldn't be recorded, so it wasn't made.
    #[error("the call could not be recorded: {0}")]
    NotRecorded(String),
    /// The specification of a workspace can't be used.
    #[error("the workspace can't be opened: {0}")]
    BadSpec(String),
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}
