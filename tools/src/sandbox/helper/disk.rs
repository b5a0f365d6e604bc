//! Watches how much a run has put on disk, in small steps, so that the supervisor never looks away for long.
//!
//! A limit on one file is the kernel's; no limit on all of them is to be had without quotas. This one is looked at every
//! half second, so a run can overshoot it by what the disk takes in that time.

use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

const PAUSE: Duration = Duration::from_millis(500);
/// Entries looked at in one step: about ten milliseconds.
const STEP: usize = 4000;
/// More files than any checkout with its build output has; each costs an inode.
const MAX_ENTRIES: u64 = 1_000_000;

pub(super) struct DiskGuard {
    roots: Vec<PathBuf>,
    limit: u64,
    todo: Vec<PathBuf>,
    bytes: u64,
    entries: u64,
    next: Instant,
}

impl DiskGuard {
    pub(super) fn new(roots: Vec<PathBuf>, limit: u64, now: Instant) -> Self {
        Self { roots, limit, todo: Vec::new(), bytes: 0, entries: 0, next: now + PAUSE }
    }

    /// When there is something to do again.
    pub(super) fn due(&self) -> Instant {
        self.next
    }

    /// Looks at some more; true if the limit is passed.
    pub(super) fn step(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        if self.todo.is_empty() {
            (self.bytes, self.entries, self.todo) = (0, 0, self.roots.clone());
        }
        let mut seen = 0;
        while seen < STEP {
            let Some(dir) = self.todo.pop() else { break };
            seen += self.count(&dir);
            if self.bytes > self.limit || self.entries > MAX_ENTRIES {
                return true;
            }
        }
        if self.todo.is_empty() {
            self.next = now + PAUSE;
        }
        false
    }

    /// A whole look at once, for the end of a run that was long enough to matter.
    pub(super) fn finish(&mut self, now: Instant) -> bool {
        self.todo = Vec::new();
        loop {
            self.next = now;
            if self.step(now) {
                return true;
            }
            if self.todo.is_empty() {
                return false;
            }
        }
    }

    fn count(&mut self, dir: &Path) -> usize {
        let mut seen = 1;
        // A directory that was replaced by a link after it was listed must not lead us elsewhere.
        let how = OpenHow::new().flags(OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let Ok(fd) = openat2(AT_FDCWD, dir, how) else {
            return seen;
        };
        let Ok(listing) = std::fs::read_dir(format!("/proc/self/fd/{}", fd.as_raw_fd())) else {
            return seen;
        };
        for entry in listing.flatten() {
            let Ok(facts) = entry.metadata() else {
                continue;
            };
            seen += 1;
            self.entries += 1;
            self.bytes += facts.blocks() * 512;
            if facts.is_dir() {
                self.todo.push(dir.join(entry.file_name()));
            }
            if self.bytes > self.limit || self.entries > MAX_ENTRIES {
                break;
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn many_small_files_count_and_what_a_link_points_to_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        for n in 0..10 {
            std::fs::write(root.join(format!("a/{n}")), vec![1; 8192]).unwrap();
        }
        std::os::unix::fs::symlink("/usr", root.join("out")).unwrap();
        let now = Instant::now();
        assert!(DiskGuard::new(vec![root.clone()], 60_000, now).finish(now));
        assert!(!DiskGuard::new(vec![root], 1 << 20, now).finish(now));
    }
}
