//! Control groups, version 1: one tree a controller.

use std::io;
use std::path::Path;

use super::{Usage, keyed, number, set, set_if_there};
use crate::sandbox::Limits;

pub(super) fn bound(memory: &Path, pids: &Path, limits: &Limits) -> io::Result<()> {
    set(memory, "memory.limit_in_bytes", limits.memory.as_u64())?;
    // Memory and swap together; not there where swap isn't counted.
    set_if_there(memory, "memory.memsw.limit_in_bytes", limits.memory.as_u64())?;
    set(pids, "pids.max", limits.pids)
}

pub(super) fn usage(memory: &Path, cpuacct: Option<&Path>) -> Usage {
    Usage {
        cpu_ms: cpuacct.and_then(|dir| number(dir, "cpuacct.usage")).map(|nanos| nanos / 1_000_000),
        memory_peak: number(memory, "memory.max_usage_in_bytes").unwrap_or(0),
        oom_kills: keyed(memory, "memory.oom_control", "oom_kill").unwrap_or(0),
    }
}
