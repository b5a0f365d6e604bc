//! How much of the machine one run may use.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// Bounds of one run. Whatever reaches one is stopped, and the result says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Time from start to end by the clock. The whole tree is killed when it has passed. Default 2 minutes.
    #[serde(with = "humantime_serde")]
    pub wall: Duration,
    /// Processor time of the whole tree (per process where no cgroup counts it). Default 10 minutes.
    #[serde(with = "humantime_serde")]
    pub cpu: Duration,
    /// Memory of the whole tree, page cache and `/tmp` included. Default 2 GiB.
    pub memory: ByteSize,
    /// Processes and threads of the whole tree. Default 256.
    pub pids: u32,
    /// Size of any one file that it writes. Default 512 MiB.
    pub file_bytes: ByteSize,
    /// What it may add to the workspace and scratch directory together, looked at while it runs. Default 2 GiB.
    pub disk_bytes: ByteSize,
    /// Size of the in-memory `/tmp`; what lies there counts as memory too. Default 1 GiB.
    pub tmp_bytes: ByteSize,
    /// What it may write to stdout and stderr together before it is killed. Default 64 MiB.
    pub output_bytes: ByteSize,
    /// How much of each of stdout and stderr is kept, half from each end. Default 1 MiB.
    pub keep_bytes: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(120),
            cpu: Duration::from_secs(600),
            memory: ByteSize::gib(2),
            pids: 256,
            file_bytes: ByteSize::mib(512),
            disk_bytes: ByteSize::gib(2),
            tmp_bytes: ByteSize::gib(1),
            output_bytes: ByteSize::mib(64),
            keep_bytes: ByteSize::mib(1),
        }
    }
}
