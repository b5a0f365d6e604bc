//! Control groups: what bounds memory and processes of a whole tree, and what a process can't leave.
//!
//! Each run gets a group of its own, a *leaf*; the supervisor stays outside it, or the OOM killer would take the witness
//! along. [`Parents`] is where leaves are made; [`Leaf`] is one of them, version 1 or 2 behind one face.

mod discover;
mod v1;
mod v2;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

pub(crate) use discover::discover;

use super::Limits;

/// The groups below which leaves are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Parents {
    V1 { memory: PathBuf, pids: PathBuf, cpuacct: Option<PathBuf> },
    V2 { dir: PathBuf },
}

impl Parents {
    /// `cgroup-v1` or `cgroup-v2`.
    pub(crate) fn version(&self) -> &'static str {
        match self {
            Self::V1 { .. } => "cgroup-v1",
            Self::V2 { .. } => "cgroup-v2",
        }
    }

    /// The leaf of that name, which need not exist yet.
    pub(crate) fn leaf(&self, name: &str) -> Leaf {
        match self {
            Self::V1 { memory, pids, cpuacct } => Leaf::V1 {
                memory: memory.join(name),
                pids: pids.join(name),
                cpuacct: cpuacct.as_ref().map(|dir| dir.join(name)),
            },
            Self::V2 { dir } => Leaf::V2 { dir: dir.join(name) },
        }
    }
}

/// What a tree has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_ms: Option<u64>,
    pub(crate) memory_peak: u64,
    pub(crate) oom_kills: u64,
}

/// The group of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Leaf {
    V1 { memory: PathBuf, pids: PathBuf, cpuacct: Option<PathBuf> },
    V2 { dir: PathBuf },
}

impl Leaf {
    /// Makes the group and sets its bounds.
    pub(crate) fn create(&self, limits: &Limits) -> io::Result<()> {
        for dir in self.dirs() {
            std::fs::create_dir(dir).map_err(|error| named(dir, &error))?;
        }
        match self {
            Self::V1 { memory, pids, .. } => v1::bound(memory, pids, limits),
            Self::V2 { dir } => v2::bound(dir, limits),
        }
    }

    /// The files into which a process writes `0` to join.
    pub(crate) fn join_files(&self) -> Vec<PathBuf> {
        self.dirs().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// Kills every process of the tree, new ones included, and waits until none is left.
    pub(crate) fn kill_all(&self, within: Duration) -> io::Result<()> {
        let pids = self.pids_dir();
        let deadline = Instant::now() + within;
        // With no process allowed any more a tree can't outgrow its killer.
        let _ = std::fs::write(pids.join("pids.max"), "0");
        if let Self::V2 { dir } = self {
            let _ = std::fs::write(dir.join("cgroup.kill"), "1");
        }
        while let Some(members) = self.members()? {
            for pid in members {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("processes remain in {}", pids.display())));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Its processes; none if there are none or the group is gone.
    fn members(&self) -> io::Result<Option<Vec<i32>>> {
        let mut found = Vec::new();
        for file in self.join_files() {
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(named(&file, &error)),
            }
        }
        Ok((!found.is_empty()).then_some(found))
    }

    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::V1 { memory, cpuacct, .. } => v1::usage(memory, cpuacct.as_deref()),
            Self::V2 { dir } => v2::usage(dir),
        }
    }

    /// Removes the empty group; true if anything was there.
    pub(crate) fn remove(&self, within: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + within;
        let mut any = false;
        for dir in self.dirs() {
            loop {
                match std::fs::remove_dir(dir) {
                    Ok(()) => any = true,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    // A killed process is counted until the kernel has buried it.
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    Err(error) => return Err(named(dir, &error)),
                }
                break;
            }
        }
        Ok(any)
    }

    pub(crate) fn dirs(&self) -> impl Iterator<Item = &Path> {
        let (first, more) = match self {
            Self::V1 { memory, pids, cpuacct } => (memory, [Some(pids), cpuacct.as_ref()]),
            Self::V2 { dir } => (dir, [None, None]),
        };
        std::iter::once(first.as_path()).chain(more.into_iter().flatten().map(PathBuf::as_path))
    }

    fn pids_dir(&self) -> &Path {
        match self {
            Self::V1 { pids, .. } => pids,
            Self::V2 { dir } => dir,
        }
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn set(dir: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    let path = dir.join(file);
    std::fs::write(&path, value.to_string()).map_err(|error| named(&path, &error))
}

/// Sets a bound that this kernel may not have, such as one on swap.
fn set_if_there(dir: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    if dir.join(file).exists() { set(dir, file, value) } else { Ok(()) }
}

fn number(dir: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

/// The number after `key` in a file of `key number` lines.
fn keyed(dir: &Path, file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(dir.join(file)).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}
