//! From a [`Run`] to its [`RunResult`]: checks what is asked, starts a helper for it, waits for the answer.

use std::future::Future;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

use super::helper::HELPER_ARGUMENT;
use super::helper::spec::{Reply, Spec, read_reply, write_request};
use super::{Bind, Clip, Run, RunResult, Sandbox, SandboxError};

const MAX_STDIN: usize = 64 << 20;
/// What the helper may need beyond the run itself, to set up, to bury a tree, to answer.
const GRACE: Duration = Duration::from_secs(30);

/// Lets a command find its programs, and keeps tools that know these from paging, colouring and littering.
const ENVIRONMENT: [(&str, &str); 12] = [
    ("HOME", "/tmp"),
    ("TMPDIR", "/tmp"),
    ("USER", "sandbox"),
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
    ("NO_COLOR", "1"),
    ("PAGER", "cat"),
    ("GIT_PAGER", "cat"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PIP_NO_INPUT", "1"),
];

impl Sandbox {
    /// The checked form of a run; nothing has been started yet.
    pub(super) fn resolve(&self, run: &Run) -> Result<Spec, SandboxError> {
        if run.argv.is_empty() || run.argv.iter().any(|arg| arg.contains('\0')) {
            return Err(refused("there is no program, or an argument holds a zero byte"));
        }
        if run.stdin.as_ref().is_some_and(|bytes| bytes.len() > MAX_STDIN) {
            return Err(refused("stdin is longer than 64 MiB; put it into a file and show that"));
        }
        let workspace = self.writable(&run.workspace)?;
        let scratch = run.scratch.as_deref().map(|dir| self.writable(dir)).transpose()?;
        let binds = run.toolchains.binds.iter().chain(&run.read_only);
        let read_only = binds.map(|bind| resolve_bind(bind, &workspace)).collect::<Result<_, _>>()?;
        Ok(Spec {
            bwrap: self.bwrap().to_path_buf(),
            argv: run.argv.clone(),
            cwd: inside_work(run.cwd.as_deref())?,
            env: environment(run)?,
            workspace,
            scratch,
            read_only,
            limits: run.limits.clone(),
            drop_to: self.owner().map(|(user, _)| user),
            leaf: self.new_leaf(),
        })
    }

    fn writable(&self, dir: &Path) -> Result<PathBuf, SandboxError> {
        use std::os::unix::fs::MetadataExt;
        let real = dir.canonicalize().map_err(SandboxError::io(dir))?;
        let facts = real.metadata().map_err(SandboxError::io(dir))?;
        if !facts.is_dir() || real.components().count() < 3 {
            return Err(refused(format!("{} is no directory for a workspace", real.display())));
        }
        if let Some((user, _)) = self.owner().filter(|(user, _)| *user != facts.uid()) {
            let owner = facts.uid();
            return Err(refused(format!(
                "{} belongs to user {owner}, not to the sandbox's {user}; adopt it",
                real.display()
            )));
        }
        utf8(&real)
    }

    /// Runs a resolved spec to its end.
    pub(super) async fn launch(
        &self,
        spec: Spec,
        stdin: Option<Vec<u8>>,
        cancel: impl Future<Output = ()> + Send,
    ) -> Result<RunResult, SandboxError> {
        let _noted = self.note(&spec)?;
        let mut helper = self.start_helper()?;
        let mut request = Vec::new();
        write_request(&mut request, &spec, stdin.as_deref()).map_err(|error| SandboxError::Setup(error.to_string()))?;
        let whole = tokio::time::timeout(spec.limits.wall + GRACE, talk(&mut helper, &request, cancel));
        let answer = match whole.await {
            Ok(answer) => answer,
            Err(_) => Err("it did not answer in time".to_owned()),
        };
        match answer.and_then(|bytes| read_reply(&mut bytes.as_slice()).map_err(|error| error.to_string())) {
            Ok((reply, clips)) => {
                let _ = helper.wait().await;
                self.result(reply, clips)
            }
            Err(why) => Err(self.bury(helper, &spec, why).await),
        }
    }

    fn start_helper(&self) -> Result<Child, SandboxError> {
        Command::new(self.helper())
            .arg(HELPER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(SandboxError::io(self.helper()))
    }

    pub(super) fn result(&self, reply: Reply, clips: [Clip; 2]) -> Result<RunResult, SandboxError> {
        let done = match reply {
            Reply::Done(done) => done,
            Reply::SetupFailed(why) => return Err(SandboxError::Setup(why)),
        };
        let [stdout, stderr] = clips;
        let mut notes = self.notes().to_vec();
        notes.extend(done.notes);
        Ok(RunResult {
            exit: done.exit,
            signal: done.exit.filter(|code| *code > 128).map(|code| code - 128),
            stopped: done.stopped,
            timed_out: done.stopped == Some(super::Stop::Wall),
            oom: done.oom,
            output_truncated: stdout.is_truncated()
                || stderr.is_truncated()
                || done.stopped == Some(super::Stop::Output),
            stdout,
            stderr,
            wall_ms: done.wall_ms,
            cpu_ms: done.cpu_ms,
            memory_peak: done.memory_peak,
            tier: self.tier().to_owned(),
            notes,
        })
    }

    /// The helper is lost: what it looked after is killed here.
    async fn bury(&self, mut helper: Child, spec: &Spec, why: String) -> SandboxError {
        let _ = helper.kill().await;
        let leaf = spec.leaf.clone();
        let cleaned = tokio::task::spawn_blocking(move || {
            leaf.map_or(Ok(false), |leaf| leaf.kill_all(GRACE).and_then(|()| leaf.remove(GRACE)))
        });
        match cleaned.await {
            Ok(Ok(_)) => SandboxError::HelperLost(why),
            Ok(Err(error)) => SandboxError::HelperLost(format!("{why}; and its control group remains: {error}")),
            Err(error) => SandboxError::HelperLost(format!("{why}; and cleaning failed: {error}")),
        }
    }
}

/// Sends the request and reads the whole answer. The helper's stdin stays open meanwhile: its end means "stop".
async fn talk(helper: &mut Child, request: &[u8], cancel: impl Future<Output = ()> + Send) -> Result<Vec<u8>, String> {
    let (Some(mut stdin), Some(mut stdout)) = (helper.stdin.take(), helper.stdout.take()) else {
        return Err("it has no pipes".to_owned());
    };
    // A helper that dies early is noticed by its answer, not by this.
    let _ = stdin.write_all(request).await;
    let mut answer = Vec::new();
    let mut lifeline: Option<ChildStdin> = Some(stdin);
    let reading = stdout.read_to_end(&mut answer);
    tokio::pin!(cancel, reading);
    loop {
        tokio::select! {
            read = &mut reading => {
                read.map_err(|error| error.to_string())?;
                drop(lifeline);
                return if answer.is_empty() { Err("it was killed".to_owned()) } else { Ok(answer) };
            }
            () = &mut cancel, if lifeline.is_some() => drop(lifeline.take()),
        }
    }
}

fn refused(why: impl Into<String>) -> SandboxError {
    SandboxError::Refused(why.into())
}

fn utf8(path: &Path) -> Result<PathBuf, SandboxError> {
    let text = path.to_str().ok_or_else(|| refused(format!("{} is not UTF-8", path.display())))?;
    Ok(PathBuf::from(text))
}

/// A place in the sandbox, from a path relative to the workspace that can't lead out of it.
fn inside_work(cwd: Option<&Path>) -> Result<String, SandboxError> {
    let Some(cwd) = cwd else {
        return Ok("/work".to_owned());
    };
    let plain = cwd.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain {
        return Err(refused(format!("{} is not a path within the workspace", cwd.display())));
    }
    Ok(utf8(&Path::new("/work").join(cwd))?.display().to_string())
}

fn resolve_bind(bind: &Bind, workspace: &Path) -> Result<Bind, SandboxError> {
    let source = bind.source.canonicalize().map_err(SandboxError::io(&bind.source))?;
    // A link that a command has put into its workspace must not choose what the next one is shown.
    if bind.source.starts_with(workspace) && source != bind.source {
        return Err(refused(format!("{} leads through a symbolic link", bind.source.display())));
    }
    let plain = bind.target.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let reserved = ["/proc", "/dev", "/sys"].iter().any(|dir| bind.target.starts_with(dir));
    if !bind.target.is_absolute() || !plain || reserved || bind.target.components().count() < 2 {
        return Err(refused(format!("nothing can be shown at {}", bind.target.display())));
    }
    if let Ok(below) = bind.target.strip_prefix("/work") {
        let on_host = workspace.join(below);
        if on_host.canonicalize().ok().as_deref() != Some(&on_host) {
            return Err(refused(format!("{} is not in the workspace, or a symbolic link", below.display())));
        }
    }
    Ok(Bind { source: utf8(&source)?, target: utf8(&bind.target)? })
}

fn environment(run: &Run) -> Result<Vec<(String, String)>, SandboxError> {
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let mut env: Vec<_> = ENVIRONMENT.map(own).into();
    let mut path = run.toolchains.path.clone();
    path.extend(["/usr/local/bin", "/usr/bin", "/bin"].map(str::to_owned));
    env.push(("PATH".to_owned(), path.join(":")));
    let build = if run.scratch.is_some() { "/scratch/target" } else { "/tmp/target" };
    env.push(own(("CARGO_TARGET_DIR", build)));
    env.extend(run.toolchains.env.iter().chain(&run.env).cloned());
    let bad = |text: &str| text.contains('\0');
    match env.iter().find(|(key, value)| key.is_empty() || key.contains('=') || bad(key) || bad(value)) {
        Some((key, _)) => Err(refused(format!("{key:?} is not a name for a variable, or its value holds a zero byte"))),
        None => Ok(env),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_command_can_only_start_within_the_workspace() {
        assert_eq!(inside_work(Some(Path::new("a/b"))).unwrap(), "/work/a/b");
        assert!(inside_work(Some(Path::new("../etc"))).is_err());
        assert!(inside_work(Some(Path::new("/etc"))).is_err());
    }

    #[test]
    fn a_link_in_the_workspace_does_not_choose_what_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("/etc", workspace.join("tests")).unwrap();
        let from = Bind { source: workspace.join("tests"), target: "/shown".into() };
        assert!(resolve_bind(&from, &workspace).is_err());
        let onto = Bind { source: "/usr/share".into(), target: "/work/tests".into() };
        assert!(resolve_bind(&onto, &workspace).is_err());
    }

    #[test]
    fn nothing_is_shown_over_the_kernels_file_systems() {
        for target in ["/proc/x", "/dev", "/", "relative", "/a/../proc"] {
            let bind = Bind { source: "/usr/share".into(), target: target.into() };
            assert!(resolve_bind(&bind, Path::new("/nowhere")).is_err(), "{target}");
        }
    }

    #[test]
    fn a_variable_that_is_none_is_refused() {
        let mut run = Run::new(["true"], "/tmp");
        run.env = vec![("A=B".into(), "c".into())];
        assert!(environment(&run).is_err());
    }
}
