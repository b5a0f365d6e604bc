//! One run of a command: what to run, and what came of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Clip, Limits, Toolchains};

/// A directory or file of the host that is shown, read-only, inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Where it lies on the host.
    pub source: PathBuf,
    /// Where the command sees it; absolute. Below `/work` it must exist in the workspace already.
    pub target: PathBuf,
}

impl Bind {
    /// Shows `path` at the same place.
    pub fn same(path: impl Into<PathBuf>) -> Self {
        let source = path.into();
        Self { target: source.clone(), source }
    }
}

/// A command to run in the sandbox.
#[derive(Debug, Clone)]
pub struct Run {
    /// Program and arguments; the program is looked up in the sandbox's `PATH`.
    pub argv: Vec<String>,
    /// The directory that the command may write, seen as `/work`. It belongs to [`super::Sandbox::owner`].
    pub workspace: PathBuf,
    /// Where the command starts, relative to the workspace.
    pub cwd: Option<PathBuf>,
    /// A second writable directory, seen as `/scratch`, that keeps build output between runs on one workspace.
    /// Without it, build output goes to `/tmp` and is gone afterwards.
    pub scratch: Option<PathBuf>,
    /// What else it may read.
    pub read_only: Vec<Bind>,
    /// Its environment, besides `PATH`, `HOME`, the locale and what the toolchains need. Nothing is inherited.
    pub env: Vec<(String, String)>,
    /// What it reads from stdin; nothing by default. At most 64 MiB.
    pub stdin: Option<Vec<u8>>,
    /// How much it may use.
    pub limits: Limits,
    /// Compilers and interpreters that it needs.
    pub toolchains: Toolchains,
}

impl Run {
    /// A run of `argv` in `workspace` with default limits, no toolchains and nothing else to see.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>, workspace: impl Into<PathBuf>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            workspace: workspace.into(),
            cwd: None,
            scratch: None,
            read_only: Vec::new(),
            env: Vec::new(),
            stdin: None,
            limits: Limits::default(),
            toolchains: Toolchains::default(),
        }
    }
}

/// Why a run was stopped before its command had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Its wall-clock limit passed.
    Wall,
    /// Its tree used up its processor time.
    Cpu,
    /// It wrote more to stdout and stderr than allowed.
    Output,
    /// It put more into the workspace than allowed.
    Disk,
    /// The caller cancelled it, or went away.
    Cancelled,
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunResult {
    /// Exit code of the command; 128 + signal when a signal ended it; none when the sandbox stopped it.
    pub exit: Option<i32>,
    /// The signal that ended it, as far as an exit code tells.
    pub signal: Option<i32>,
    /// Why the sandbox stopped it, if it did.
    pub stopped: Option<Stop>,
    /// `stopped` is [`Stop::Wall`].
    pub timed_out: bool,
    /// The memory limit killed at least one of its processes.
    pub oom: bool,
    /// Some of stdout or stderr was left out.
    pub output_truncated: bool,
    /// What it wrote to stdout.
    pub stdout: Clip,
    /// What it wrote to stderr.
    pub stderr: Clip,
    /// Milliseconds by the clock, start-up of the sandbox included.
    pub wall_ms: u64,
    /// Milliseconds of processor time of the whole tree.
    pub cpu_ms: u64,
    /// Most memory that the tree used at once, in bytes; 0 where nothing counts it.
    pub memory_peak: u64,
    /// What it ran in, e.g. `bwrap+seccomp+cgroup-v1`.
    pub tier: String,
    /// What a reader of the record has to know, such as a missing layer.
    pub notes: Vec<String>,
}

impl RunResult {
    /// The command ended by itself with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.exit == Some(0) && self.stopped.is_none()
    }
}
