//! How this crate runs commands: always through a [`Runner`], which is the sandbox except in tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::gateway::output::{fit, strip_controls};
use crate::repo::Workspace;
use crate::sandbox::{Limits, Run, RunResult, Sandbox, SandboxError, Stop, Toolchains};

/// Characters of each output stream that a record keeps.
const KEPT: usize = 6_000;

/// Keeps tools from asking, paging, colouring, downloading, or putting build output into the tree.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("CARGO_TARGET_DIR", "/scratch/target"),
    ("CARGO_NET_OFFLINE", "true"),
    ("CARGO_TERM_COLOR", "never"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTHONHASHSEED", "0"),
    ("PIP_PROGRESS_BAR", "off"),
    ("TQDM_DISABLE", "1"),
    ("npm_config_cache", "/scratch/npm"),
    ("NO_COLOR", "1"),
    ("PAGER", "cat"),
    ("GIT_PAGER", "cat"),
    ("RUST_BACKTRACE", "0"),
];

/// Something that runs commands in confinement. Dropping the future kills the command.
pub trait Runner: Send + Sync + 'static {
    /// Runs a command to its end or to a limit.
    fn run(&self, run: Run) -> BoxFuture<'_, Result<RunResult, SandboxError>>;
    /// User and group that workspaces must belong to; none if the node's own user runs the commands.
    fn owner(&self) -> Option<(u32, u32)>;
    /// Gives a directory and all in it to [`Runner::owner`].
    fn adopt(&self, dir: &Path) -> Result<(), SandboxError>;
}

impl Runner for Sandbox {
    fn run(&self, run: Run) -> BoxFuture<'_, Result<RunResult, SandboxError>> {
        Box::pin(Sandbox::run(self, run, futures::future::pending()))
    }

    fn owner(&self) -> Option<(u32, u32)> {
        Sandbox::owner(self)
    }

    fn adopt(&self, dir: &Path) -> Result<(), SandboxError> {
        Sandbox::adopt(self, dir)
    }
}

/// Where and with what commands are run; cheap to clone.
#[derive(Clone)]
pub struct Workbench {
    /// What runs the commands.
    pub runner: Arc<dyn Runner>,
    /// Below it, workspaces are made. Belongs to the node, holds nothing that has to be kept.
    pub dir: PathBuf,
    /// Compilers and interpreters that commands see.
    pub toolchains: Toolchains,
}

impl Workbench {
    /// Runs a command line in a workspace, through the shell of the sandbox.
    pub async fn shell(
        &self,
        workspace: &Workspace,
        command: &str,
        limits: &Limits,
    ) -> Result<RunResult, SandboxError> {
        let mut run = Run::new(["/bin/sh", "-c", command], workspace.root());
        run.scratch = Some(workspace.scratch());
        run.env = ENVIRONMENT.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        run.limits = limits.clone();
        run.toolchains = self.toolchains.clone();
        self.runner.run(run).await
    }
}

impl std::fmt::Debug for Workbench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workbench").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What is recorded of a run: enough to judge it, and bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The command line, as given to the shell.
    pub command: String,
    /// Exit code; none when the sandbox stopped it.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why the sandbox stopped it, if it did.
    pub stopped: Option<Stop>,
    /// The memory limit was hit.
    pub oom: bool,
    /// Some output was left out.
    pub output_truncated: bool,
    /// Head and tail of what it wrote to stdout.
    pub stdout: String,
    /// Head and tail of what it wrote to stderr.
    pub stderr: String,
    /// Milliseconds by the clock.
    pub wall_ms: u64,
    /// Milliseconds of processor time.
    pub cpu_ms: u64,
    /// Most memory used at once, in bytes.
    pub memory_peak: u64,
    /// What it ran in.
    pub tier: String,
    /// What a reader of the record has to know.
    pub notes: Vec<String>,
}

impl RunSummary {
    /// What is recorded of a result.
    pub fn of(command: &str, result: &RunResult) -> Self {
        let kept = |clip: &crate::sandbox::Clip| fit(&strip_controls(&clip.text()), KEPT);
        Self {
            command: command.to_owned(),
            exit: result.exit,
            signal: result.signal,
            stopped: result.stopped,
            oom: result.oom,
            output_truncated: result.output_truncated,
            stdout: kept(&result.stdout),
            stderr: kept(&result.stderr),
            wall_ms: result.wall_ms,
            cpu_ms: result.cpu_ms,
            memory_peak: result.memory_peak,
            tier: result.tier.clone(),
            notes: result.notes.clone(),
        }
    }

    /// The command ended by itself with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.exit == Some(0) && self.stopped.is_none()
    }

    /// How it ended, in a few words.
    pub fn ending(&self) -> String {
        match (self.stopped, self.oom, self.exit) {
            (Some(Stop::Wall), ..) => "stopped: it took too long".to_owned(),
            (Some(Stop::Cpu), ..) => "stopped: it used up its processor time".to_owned(),
            (Some(Stop::Output), ..) => "stopped: it wrote too much".to_owned(),
            (Some(Stop::Disk), ..) => "stopped: it filled too much of the disk".to_owned(),
            (Some(Stop::Cancelled), ..) => "stopped: it was cancelled".to_owned(),
            (None, true, _) => "out of memory".to_owned(),
            (None, false, Some(code)) => format!("exit code {code}"),
            (None, false, None) => "killed".to_owned(),
        }
    }
}
