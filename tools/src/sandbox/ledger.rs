//! What is running, noted on disk, so that the next node finds what a dead one has left behind.
//!
//! One small file a run: its control group and who started it. It isn't fsynced: what a power cut takes, it takes
//! together with the processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cgroup::Leaf;
use super::helper::spec::Spec;
use super::{Sandbox, SandboxError};

const DIRECTORY: &str = "sandbox-runs";
const BURIAL: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    leaf: Leaf,
    owner: Process,
}

/// A process, told apart from a later one of the same number by when it started.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    pid: u32,
    started: u64,
}

impl Process {
    fn find(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; 20 fields after it comes the start time.
        let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started })
    }

    fn is_alive(&self) -> bool {
        Self::find(self.pid).as_ref() == Some(self)
    }
}

/// The note of a run; gone when this is dropped.
pub(super) struct Noted(Option<PathBuf>);

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Sandbox {
    /// Notes a run before it starts.
    pub(super) fn note(&self, spec: &Spec) -> Result<Noted, SandboxError> {
        let (Some(state), Some(leaf)) = (self.state_dir(), &spec.leaf) else {
            return Ok(Noted(None));
        };
        let dir = state.join(DIRECTORY);
        std::fs::create_dir_all(&dir).map_err(SandboxError::io(&dir))?;
        let Some(owner) = Process::find(std::process::id()) else {
            return Ok(Noted(None));
        };
        let name = leaf.dirs().next().and_then(Path::file_name).unwrap_or_default();
        let file = dir.join(name).with_extension("json");
        let text = serde_json::to_vec(&Entry { leaf: leaf.clone(), owner })
            .map_err(|error| SandboxError::Setup(error.to_string()))?;
        std::fs::write(&file, text).map_err(SandboxError::io(&file))?;
        Ok(Noted(Some(file)))
    }

    /// Kills and removes what runs of a dead node have left behind; says what it removed. Call it before the first run.
    pub fn sweep(state_dir: &Path) -> Result<Vec<String>, SandboxError> {
        let dir = state_dir.join(DIRECTORY);
        let listing = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing.map_err(SandboxError::io(&dir))?,
        };
        let mut removed = Vec::new();
        for file in listing.flatten().map(|entry| entry.path()) {
            let text = std::fs::read(&file).map_err(SandboxError::io(&file))?;
            if let Ok(entry) = serde_json::from_slice::<Entry>(&text) {
                if entry.owner.is_alive() {
                    continue;
                }
                removed.extend(bury(&entry.leaf).map_err(SandboxError::io(&file))?);
            }
            std::fs::remove_file(&file).map_err(SandboxError::io(&file))?;
        }
        Ok(removed)
    }
}

fn bury(leaf: &Leaf) -> std::io::Result<Option<String>> {
    leaf.kill_all(BURIAL)?;
    let name = leaf.dirs().next().map(|dir| dir.display().to_string()).unwrap_or_default();
    Ok(leaf.remove(BURIAL)?.then_some(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let me = Process::find(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { started: me.started + 1, ..me }.is_alive());
    }

    #[test]
    fn a_note_that_is_no_note_is_removed_and_harms_nothing() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join(DIRECTORY);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("x.json"), "{\"leaf\":").unwrap();
        assert_eq!(Sandbox::sweep(state.path()).unwrap(), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    }
}
