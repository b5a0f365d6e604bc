//! Control groups, version 2: one tree, controllers switched on from the top, processes only in leaves.

use std::io;
use std::path::{Path, PathBuf};

use super::{Usage, keyed, named, number, set, set_if_there};
use crate::sandbox::Limits;

const NEEDED: [&str; 2] = ["memory", "pids"];
/// Where the node's own process goes, so that its group can have bounded children.
const NODE: &str = "fleet-node";

pub(super) fn bound(dir: &Path, limits: &Limits) -> io::Result<()> {
    set(dir, "memory.max", limits.memory.as_u64())?;
    set_if_there(dir, "memory.swap.max", 0)?;
    // A build of which one process was shot goes on in a state that nobody has tested: all or none.
    set_if_there(dir, "memory.oom.group", 1)?;
    set(dir, "pids.max", limits.pids)
}

pub(super) fn usage(dir: &Path) -> Usage {
    Usage {
        cpu_ms: keyed(dir, "cpu.stat", "usage_usec").map(|micros| micros / 1000),
        memory_peak: number(dir, "memory.peak").unwrap_or(0),
        oom_kills: keyed(dir, "memory.events", "oom_kill").unwrap_or(0),
    }
}

/// Makes `dir` a group whose children are bounded, which must hold no process itself: ours moves to a child.
pub(super) fn prepare(dir: &Path) -> io::Result<PathBuf> {
    let dir = match dir.parent() {
        Some(above) if dir.ends_with(NODE) => above,
        _ => dir,
    };
    if has_all(dir, "cgroup.subtree_control") {
        return Ok(dir.to_path_buf());
    }
    let enable = NEEDED.map(|name| format!("+{name}")).join(" ");
    if set(dir, "cgroup.subtree_control", &enable).is_err() {
        let node = dir.join(NODE);
        match std::fs::create_dir(&node) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(named(&node, &error));
            }
            _ => {}
        }
        set(&node, "cgroup.procs", std::process::id())?;
        set(dir, "cgroup.subtree_control", &enable)?;
    }
    let _ = set(dir, "cgroup.subtree_control", "+cpu");
    Ok(dir.to_path_buf())
}

fn has_all(dir: &Path, file: &str) -> bool {
    let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
    NEEDED.iter().all(|need| text.split_whitespace().any(|word| word == *need))
}

/// Whether the controllers that a leaf needs can be had in `dir`.
pub(super) fn offers(dir: &Path) -> bool {
    has_all(dir, "cgroup.controllers")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn read(dir: &tempfile::TempDir, file: &str) -> String {
        std::fs::read_to_string(dir.path().join(file)).unwrap()
    }

    #[test]
    fn bounds_are_written_and_a_kernel_without_swap_files_is_fine() {
        let dir = group(&[("memory.oom.group", "0")]);
        bound(dir.path(), &Limits { pids: 7, memory: bytesize::ByteSize::mib(1), ..Limits::default() }).unwrap();
        assert_eq!((read(&dir, "memory.max"), read(&dir, "pids.max")), ("1048576".into(), "7".into()));
        assert_eq!(read(&dir, "memory.oom.group"), "1");
        assert!(!dir.path().join("memory.swap.max").exists());
    }

    #[test]
    fn usage_is_read_from_the_kernels_files() {
        let dir = group(&[
            ("cpu.stat", "usage_usec 2500\nuser_usec 2000\n"),
            ("memory.peak", "4096\n"),
            ("memory.events", "low 0\noom 1\noom_kill 3\noom_group_kill 1\n"),
        ]);
        assert_eq!(usage(dir.path()), Usage { cpu_ms: Some(2), memory_peak: 4096, oom_kills: 3 });
    }

    #[test]
    fn a_node_that_has_moved_into_its_child_finds_the_group_above_again() {
        let dir = group(&[("cgroup.subtree_control", "cpu memory pids")]);
        assert_eq!(prepare(&dir.path().join(NODE)).unwrap(), dir.path());
    }
}
