//! Runs git plumbing on a repository that is named outright, with everything that could run something else turned off.
//!
//! Git looks for configuration, hooks, filters and helpers in many places; whoever can write one of them can make git
//! execute programs. So there is no global or system configuration, no hook, no file-system monitor, no attribute file,
//! no transport, and no environment but the one made here.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::RepoError;

/// Settings that hold for every call, whatever a repository's own configuration says.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.quotePath=false",
    "core.pager=cat",
    "core.askPass=/bin/false",
    "credential.helper=",
    "commit.gpgSign=false",
    "protocol.allow=never",
    "protocol.file.allow=never",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=1",
    "diff.external=",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.renames=false",
    "diff.algorithm=myers",
    "apply.whitespace=nowarn",
    "apply.ignoreWhitespace=no",
];

/// Address space, processor seconds and file size (in 512-byte blocks) of a git process that reads foreign data.
const RLIMITS: &str = "ulimit -v 4194304 && ulimit -t 300 && ulimit -f 8388608 && exec git \"$@\"";

/// Git on one repository.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    place: Vec<OsString>,
    settings: Vec<String>,
    env: Vec<(OsString, OsString)>,
    rlimits: bool,
    deadline: Duration,
    output_max: usize,
}

/// What a git process came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// What a git process reads.
pub(crate) enum Input<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// From where the file stands to its end.
    File(std::fs::File),
}

impl Git {
    /// On the repository whose git directory this is.
    pub(crate) fn at(git_dir: &Path) -> Self {
        let mut place = OsString::from("--git-dir=");
        place.push(git_dir);
        Self::place(vec![place])
    }

    /// On whatever repository git finds from a directory; only for reading a user's own checkout.
    pub(crate) fn found_from(dir: &Path) -> Self {
        // Git runs in `/`, so a relative path would lead elsewhere. What can't be made absolute git itself will name.
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        Self::place(vec![OsString::from("-C"), dir.into()])
    }

    fn place(place: Vec<OsString>) -> Self {
        Self {
            place,
            settings: Vec::new(),
            env: Vec::new(),
            rlimits: false,
            deadline: Duration::from_secs(120),
            output_max: 256 << 20,
        }
    }

    pub(crate) fn work_tree(mut self, dir: &Path) -> Self {
        let mut place = OsString::from("--work-tree=");
        place.push(dir);
        self.place.push(place);
        self
    }

    pub(crate) fn in_dir(mut self, dir: &Path) -> Self {
        self.place.splice(0..0, [OsString::from("-C"), dir.into()]);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn setting(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// With an index of its own, so that no shared one is read or written.
    pub(crate) fn index(self, file: &Path) -> Self {
        self.env("GIT_INDEX_FILE", file)
    }

    /// With bounds on memory, processor time and file size, for reading data of unknown origin.
    pub(crate) fn with_rlimits(mut self) -> Self {
        self.rlimits = true;
        self
    }

    pub(crate) fn output_max(mut self, bytes: usize) -> Self {
        self.output_max = bytes;
        self
    }

    /// Runs to success; gives stdout.
    pub(crate) fn run(&self, args: &[&str]) -> Result<Vec<u8>, RepoError> {
        self.run_with(args, Input::Nothing)
    }

    /// Runs to success; gives stdout as text without the last line end.
    pub(crate) fn line(&self, args: &[&str]) -> Result<String, RepoError> {
        Ok(String::from_utf8_lossy(&self.run(args)?).trim_end().to_owned())
    }

    /// Runs to success with something on stdin.
    pub(crate) fn run_with(&self, args: &[&str], input: Input<'_>) -> Result<Vec<u8>, RepoError> {
        let outcome = self.attempt(args, input)?;
        if outcome.code == Some(0) {
            return Ok(outcome.stdout);
        }
        Err(RepoError::Git { command: command_name(args), detail: detail(&outcome) })
    }

    /// Runs to its end, whatever that is.
    pub(crate) fn attempt(&self, args: &[&str], input: Input<'_>) -> Result<Outcome, RepoError> {
        let mut command = self.command(args);
        let (stdin, bytes) = match input {
            Input::Nothing => (Stdio::null(), None),
            Input::Bytes(bytes) => (Stdio::piped(), Some(bytes)),
            Input::File(file) => (Stdio::from(file), None),
        };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(RepoError::io("git"))?;
        let ended = run_child(child, bytes, self.deadline, self.output_max);
        ended.map_err(|failed| self.failure(&failed, args))
    }

    /// The command, for callers that talk with the process while it runs.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = if self.rlimits {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", RLIMITS, "git"]);
            shell
        } else {
            Command::new("git")
        };
        command.env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent").env("LC_ALL", "C");
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_PROTOCOL_FROM_USER", "0"),
        ] {
            command.env(name, value);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        for setting in SETTINGS.iter().copied().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        command.args(&self.place).args(args).current_dir("/");
        command
    }

    fn failure(&self, failed: &Failed, args: &[&str]) -> RepoError {
        let command = command_name(args);
        match failed {
            Failed::Deadline => RepoError::GitTimeout { command, seconds: self.deadline.as_secs() },
            Failed::Output => RepoError::TooLarge {
                what: format!("output of git {command}"),
                actual: self.output_max as u64 + 1,
                limit: self.output_max as u64,
            },
            Failed::Io(error) => RepoError::Git { command, detail: error.to_string() },
        }
    }
}

fn command_name(args: &[&str]) -> String {
    args.first().copied().unwrap_or_default().to_owned()
}

fn detail(outcome: &Outcome) -> String {
    let text: String = outcome.stderr.trim().chars().take(600).collect();
    match (text.is_empty(), outcome.code) {
        (false, _) => text,
        (true, Some(code)) => format!("exit code {code}"),
        (true, None) => "killed by a signal".to_owned(),
    }
}

enum Failed {
    Deadline,
    Output,
    Io(std::io::Error),
}

/// Feeds and drains a child; kills it at the deadline or when it writes too much.
fn run_child(mut child: Child, input: Option<&[u8]>, deadline: Duration, max: usize) -> Result<Outcome, Failed> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let until = Instant::now() + deadline;
    let (sender, done) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A child that ends early closes its end; its exit code says more than the broken pipe.
            scope.spawn(move || drop(stdin.write_all(input)));
        }
        let errors = scope.spawn(move || drain(stderr, 64 << 10));
        let output = scope.spawn(move || {
            let read = drain(stdout, max);
            let _ = sender.send(());
            read
        });
        let in_time = done.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok();
        if !in_time {
            drop(child.kill());
        }
        let output = output.join().unwrap_or(Drained { bytes: Vec::new(), whole: false });
        if !output.whole {
            drop(child.kill());
        }
        let stderr = errors.join().map(|e| String::from_utf8_lossy(&e.bytes).into_owned()).unwrap_or_default();
        let status = child.wait().map_err(Failed::Io)?;
        match (in_time, output.whole) {
            (false, _) => Err(Failed::Deadline),
            (true, false) => Err(Failed::Output),
            (true, true) => Ok(Outcome { code: status.code(), stdout: output.bytes, stderr }),
        }
    })
}

struct Drained {
    bytes: Vec<u8>,
    whole: bool,
}

fn drain(stream: Option<impl Read>, max: usize) -> Drained {
    let mut bytes = Vec::new();
    let Some(stream) = stream else {
        return Drained { bytes, whole: true };
    };
    let mut limited = stream.take(max as u64 + 1);
    // An error here is the child's death; its exit code is looked at next.
    drop(limited.read_to_end(&mut bytes));
    let whole = bytes.len() <= max;
    bytes.truncate(max);
    Drained { bytes, whole }
}

/// Makes an empty bare repository without git, so that no template or default can put anything into it.
pub(crate) fn make_bare(dir: &Path) -> Result<(), RepoError> {
    let make = |name: &str| std::fs::create_dir_all(dir.join(name)).map_err(RepoError::io(dir.join(name)));
    make("objects/pack")?;
    make("objects/info")?;
    make("refs/heads")?;
    let write = |name: &str, text: &str| {
        let file: PathBuf = dir.join(name);
        std::fs::write(&file, text).map_err(RepoError::io(file))
    };
    write("HEAD", "ref: refs/heads/none\n")?;
    write("config", "[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
}
