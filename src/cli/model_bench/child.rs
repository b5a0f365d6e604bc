//! The process that is measured, and how it is asked: a part on its stdin, one point a line on its stdout.
//!
//! The number of threads belongs to a process, and one that runs out of memory ends alone. It ends with whoever asked: its
//! stdin is open as long as that one lives.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use fleet_inference::bench::{self, Part, Point};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::plan::Task;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::terminal::Terminal;

/// Beyond what a load should take: loading a large model for the first time, and a machine that does other things, too.
const GRACE: Duration = Duration::from_secs(300);
/// What is kept of what a process says on stderr.
const SAID: usize = 4096;

/// The measured side: `fleet model bench-part`.
pub async fn serve(terminal: &Terminal) -> Outcome {
    // Where memory runs out, this process is to go and no other.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let (mut input, mut line) = (BufReader::new(tokio::io::stdin()), String::new());
    let read = input.read_line(&mut line).await;
    read.map_err(|e| Failure::input(format!("no part on stdin: {e}"), ""))?;
    let part: Part = serde_json::from_str(&line).map_err(|e| Failure::input(format!("that is no part: {e}"), ""))?;
    let gone = async {
        let mut nothing = [0; 64];
        while input.read(&mut nothing).await.is_ok_and(|n| n > 0) {}
    };
    let mut told = Ok(());
    let tell = |point: Point| {
        if told.is_ok() {
            told = terminal.json_line(&point);
        }
    };
    tokio::select! {
        ran = bench::run(&part, tell) => ran.map_err(|e| Failure::internal(e.to_string(), ""))?,
        () = gone => {}
    }
    told.map(|()| Exit::Ok)
}

/// Runs a task in a process of its own and tells each point. The error says why it ended before the last one.
pub async fn measure(task: &Task, mut each: impl FnMut(Point)) -> Result<(), String> {
    let mut child = start(task).map_err(|e| format!("its process can't be started: {e}"))?;
    let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
    let Some(((mut input, output), errors)) = pipes else { return Err("its process has no pipes".to_owned()) };
    let part = serde_json::to_string(&task.part).map_err(|e| e.to_string())?;
    // If this fails it has ended already, and says why.
    let _ = input.write_all(format!("{part}\n").as_bytes()).await;
    let patience = GRACE + Duration::from_secs_f64(task.part.longest_s.clamp(0.0, 86_400.0) * 4.0);
    let points = async {
        let told = read(output, patience, &mut each).await;
        if told.is_err() {
            let _ = child.start_kill();
        }
        told
    };
    let (points, said) = tokio::join!(points, last_words(errors));
    let ended = child.wait().await.map_err(|e| e.to_string())?;
    drop(input);
    points?;
    if ended.success() { Ok(()) } else { Err(why(ended, &said)) }
}

async fn read(output: ChildStdout, patience: Duration, each: &mut impl FnMut(Point)) -> Result<(), String> {
    let mut lines = BufReader::new(output).lines();
    loop {
        let line = tokio::time::timeout(patience, lines.next_line()).await;
        let line = line.map_err(|_| format!("it said nothing for {} s", patience.as_secs()))?;
        let Some(line) = line.map_err(|e| e.to_string())? else { return Ok(()) };
        each(serde_json::from_str(&line).map_err(|e| format!("it said {line:?}: {e}"))?);
    }
}

fn start(task: &Task) -> std::io::Result<Child> {
    let threads = task.threads.to_string();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["model", "bench-part"]).env("CANDLE_NUM_THREADS", &threads).env("RAYON_NUM_THREADS", &threads);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C is for the one who asks; it ends this one, or goes and leaves it with its stdin closed.
    command.process_group(0).kill_on_drop(true).spawn()
}

async fn last_words(mut errors: impl tokio::io::AsyncRead + Unpin) -> String {
    let (mut said, mut more) = (Vec::new(), [0; 1024]);
    while let Ok(n @ 1..) = errors.read(&mut more).await {
        said.extend_from_slice(&more[..n]);
        said.drain(..said.len().saturating_sub(SAID));
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn why(ended: ExitStatus, said: &str) -> String {
    let said = said.lines().rev().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("note: "));
    let said = said.map(|line| line.strip_prefix("error: ").unwrap_or(line));
    match (ended.signal(), said) {
        (Some(9), _) => "it was killed, probably for want of memory".to_owned(),
        (Some(signal), None) => format!("it was ended by signal {signal}"),
        (Some(signal), Some(said)) => format!("it was ended by signal {signal}: {said}"),
        (None, Some(said)) => said.to_owned(),
        (None, None) => format!("it ended with {ended}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ended_is_said_by_its_last_words_or_its_signal() {
        assert!(why(ExitStatus::from_raw(9), "error: whatever").contains("want of memory"));
        assert_eq!(
            why(ExitStatus::from_raw(6), "memory allocation failed\n\n"),
            "it was ended by signal 6: memory allocation failed"
        );
        assert_eq!(why(ExitStatus::from_raw(10 << 8), "x\nerror: no room\n"), "no room");
        assert!(why(ExitStatus::from_raw(3 << 8), "").contains('3'));
    }
}
