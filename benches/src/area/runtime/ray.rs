//! How Ray is started: by its own Python, in the virtual environment that `scripts/bench-peers` makes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

const SOURCE: &str = include_str!("../../../peers/ray_peer.py");

/// The process that is asked; Ray starts the others.
pub fn prepare(dir: &Path) -> Result<Command> {
    let python = environment()?.join("bin/python");
    ensure!(python.exists(), "not installed: no {} (scripts/bench-peers makes it)", python.display());
    let script = dir.join("ray_peer.py");
    std::fs::write(&script, SOURCE)?;
    let mut command = Command::new(python);
    command.arg(script).arg(dir);
    Ok(command)
}

fn environment() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("no HOME to find Ray in")?).join(".cache"),
    };
    Ok(cache.join("fleet/bench/ray"))
}
