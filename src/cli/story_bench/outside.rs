//! Runs commands without a sandbox, for who has none and says that it is all right: bounded in time and in what is read of the
//! output, and in nothing else.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use fleet_tools::run::Runner;
use fleet_tools::sandbox::{Clip, Run, RunResult, SandboxError, Stop};
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What `timeout` exits with when it has ended the command, and when it had to kill it.
const TOO_LATE: [i32; 2] = [124, 137];

/// Plain processes of this user.
#[derive(Debug, Clone, Copy)]
pub struct Outside;

impl Runner for Outside {
    fn run(&self, run: Run) -> BoxFuture<'_, Result<RunResult, SandboxError>> {
        Box::pin(ran(run))
    }

    fn owner(&self) -> Option<(u32, u32)> {
        None
    }

    fn adopt(&self, _: &Path) -> Result<(), SandboxError> {
        Ok(())
    }
}

async fn ran(run: Run) -> Result<RunResult, SandboxError> {
    let began = Instant::now();
    let mut child = command(&run).spawn().map_err(failed)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let keep = run.limits.keep_bytes.as_u64();
    // Who writes more waits for a reader that doesn't come, and is ended when its time is over.
    let (stdout, stderr) = tokio::join!(read(out, keep), read(err, keep));
    let status = child.wait().await.map_err(failed)?;
    let late = status.code().is_some_and(|code| TOO_LATE.contains(&code));
    let cut = [&stdout, &stderr].iter().any(|kept| kept.len() as u64 >= keep);
    Ok(RunResult {
        exit: status.code().filter(|_| !late),
        stopped: late.then_some(Stop::Wall),
        timed_out: late,
        output_truncated: cut,
        stdout: Clip::whole(stdout),
        stderr: Clip::whole(stderr),
        wall_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        tier: "none".to_owned(),
        notes: vec!["it ran as a plain process of this user, in no sandbox".to_owned()],
        ..RunResult::default()
    })
}

fn failed(source: std::io::Error) -> SandboxError {
    SandboxError::Io { path: "timeout".into(), source }
}

/// `timeout` ends the whole group of processes that the command is.
fn command(run: &Run) -> Command {
    let work = format!("{}/", run.workspace.display());
    let scratch = run.scratch.as_ref().map(|dir| format!("{}/", dir.display())).unwrap_or_default();
    // As in the sandbox, where the two have names of their own.
    let placed = |text: &String| text.replace("/work/", &work).replace("/scratch/", &scratch);
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &format!("{}", run.limits.wall.as_secs().max(1))]);
    command.args(run.argv.iter().map(placed));
    command.current_dir(run.cwd.as_ref().map_or(run.workspace.clone(), |cwd| run.workspace.join(cwd)));
    command.envs(run.env.iter().map(|(name, value)| (name, placed(value))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(from) = from {
        // A pipe that breaks has said what it had.
        let _ = from.take(most).read_to_end(&mut kept).await;
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use fleet_tools::sandbox::Limits;

    use super::*;

    fn shell(dir: &Path, line: &str) -> Run {
        let mut run = Run::new(["/bin/sh", "-c", line], dir);
        run.scratch = Some(dir.join("s"));
        run.env = vec![("T".to_owned(), "/scratch/t".to_owned())];
        run
    }

    #[tokio::test]
    async fn a_command_runs_in_its_folder_and_says_how_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let ended = Outside.run(shell(dir.path(), "pwd; echo $T >&2; exit 3")).await.unwrap();
        assert_eq!((ended.exit, ended.stopped, ended.tier.as_str()), (Some(3), None, "none"));
        assert_eq!(ended.stdout.text().trim(), dir.path().canonicalize().unwrap().display().to_string());
        assert_eq!(ended.stderr.text().trim(), format!("{}/s/t", dir.path().display()));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_ended_with_all_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = shell(dir.path(), "sleep 600 & sleep 600");
        run.limits = Limits { wall: Duration::from_secs(1), ..Limits::default() };
        let began = Instant::now();
        let ended = Outside.run(run).await.unwrap();
        assert_eq!((ended.exit, ended.stopped), (None, Some(Stop::Wall)));
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
