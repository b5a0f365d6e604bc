//! What an operator may set about the sandbox, and what `doctor` says about it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of a node's sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxOptions {
    /// The program that is executed as `<helper> __sandbox`. Default: the running program itself.
    pub helper: Option<PathBuf>,
    /// The bubblewrap program. Default `/usr/bin/bwrap`.
    pub bwrap: PathBuf,
    /// User and group that commands run as when the node runs as root; otherwise they run as the node's user.
    /// Take one that owns nothing and has no login. Default 64123.
    pub uid: u32,
    /// Control group below which each run gets its own, relative to the controllers' mount points, as in
    /// `/system.slice/fleet.service`. It must be writable by the node. Default: the node's own group.
    pub cgroup: Option<PathBuf>,
    /// Runs commands although nothing bounds the memory of a process tree. Eight processes can then use eight
    /// times `limits.memory`. Every result says so. Default false; set it only on a machine that you could lose.
    pub allow_without_cgroup: bool,
    /// Where the sandbox notes what is running, so that leftovers of a dead node are found. Default: nowhere.
    pub state_dir: Option<PathBuf>,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            helper: None,
            bwrap: PathBuf::from("/usr/bin/bwrap"),
            uid: 64123,
            cgroup: None,
            allow_without_cgroup: false,
            state_dir: None,
        }
    }
}

/// One line of what `doctor` finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at, e.g. `bubblewrap`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it, where it isn't.
    pub remedy: Option<String>,
}
