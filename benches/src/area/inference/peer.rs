//! The processes that are measured: llama.cpp's, and this program as an engine.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::ENGINE;
use super::engine::QUICK;
use crate::area::{ROLE, Run};

/// llama.cpp, or why it can't be compared with.
pub(super) struct Peer(Result<PathBuf, String>);

impl Peer {
    pub(super) fn find(run: &Run) -> Self {
        if run.without.iter().any(|peer| peer == "llama.cpp") {
            return Self(Err("llama.cpp is left out".into()));
        }
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        let program = cache.map(|cache| cache.join("fleet/bench/llamacpp/llamacpp")).filter(|path| path.is_file());
        Self(program.ok_or_else(|| "llama.cpp isn't built: scripts/bench-llamacpp builds it".into()))
    }

    pub(super) fn ask<T: for<'a> Deserialize<'a>>(&self, what: &str, model: &Path) -> Result<T, String> {
        self.ask_of(what, model, &[])
    }

    pub(super) fn ask_of<T: for<'a> Deserialize<'a>>(
        &self,
        what: &str,
        model: &Path,
        more: &[&str],
    ) -> Result<T, String> {
        let program = self.0.as_ref().map_err(Clone::clone)?;
        let line = first_line(Command::new(program).arg(what).arg(model).args(more));
        let line = line.map_err(|e| format!("llama.cpp: {e:#}"))?;
        serde_json::from_str(&line).map_err(|e| format!("llama.cpp said {line:?}: {e}"))
    }
}

/// This program, to be an engine with two threads.
pub(super) fn this_program(quick: bool) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    if quick {
        command.env(QUICK, "1");
    }
    command.args([ROLE, ENGINE]).env("CANDLE_NUM_THREADS", "2").env("RAYON_NUM_THREADS", "2");
    Ok(command)
}

/// Runs a program to its end and gives the first line that it prints, when it prints it.
pub(super) fn first_line(command: &mut Command) -> Result<String> {
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
    let mut out = BufReader::new(child.stdout.take().context("no output")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    // Whoever measures a start has its line; the rest is reaped beside.
    let mut rest = String::new();
    out.read_to_string(&mut rest)?;
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    ensure!(!line.is_empty(), "it said nothing");
    Ok(line.trim_end().to_owned())
}
