//! Files below one directory, reached without ever leaving it.
//!
//! The directory is written by programs that nobody trusts. Every open goes through `openat2` with `RESOLVE_BENEATH`
//! and `RESOLVE_NO_SYMLINKS`, so a link planted anywhere in a path ends in an error, not elsewhere on the node.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat};

use super::RepoError;
use super::bundle::limit;

const DIR: Mode = Mode::from_bits_truncate(0o755);

/// A directory, and the owner that everything made below it gets.
#[derive(Debug)]
pub(crate) struct Beneath {
    fd: OwnedFd,
    root: PathBuf,
    owner: Option<(u32, u32)>,
}

/// What a directory holds under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    File {
        executable: bool,
        bytes: u64,
    },
    Dir,
    Link,
    /// A socket, a pipe or a device.
    Odd,
}

impl Beneath {
    pub(crate) fn open(root: &Path, owner: Option<(u32, u32)>) -> Result<Self, RepoError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = nix::fcntl::open(root, flags, Mode::empty()).map_err(io(root))?;
        Ok(Self { fd, root: root.to_owned(), owner })
    }

    fn at(&self, path: &str, flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
        let resolve =
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
        openat2(self.fd.as_fd(), path, how)
    }

    /// The content of a plain file; none if there is nothing of that name.
    pub(crate) fn read(&self, path: &str, max: u64) -> Result<Option<(Vec<u8>, bool)>, RepoError> {
        // Non-blocking, so that a pipe planted under the name can't hold the node up.
        let fd = match self.at(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(Errno::ELOOP) => {
                return Err(RepoError::UnsafePath { path: path.to_owned(), why: "a symbolic link is on the way" });
            }
            Err(error) => return Err(io(self.root.join(path))(error)),
        };
        let file = File::from(fd);
        let meta = file.metadata().map_err(RepoError::io(self.root.join(path)))?;
        if !meta.is_file() {
            return Err(RepoError::UnsafePath { path: path.to_owned(), why: "it isn't a plain file" });
        }
        limit("bytes of a file", meta.len(), max)?;
        let mut content = Vec::new();
        file.take(max + 1).read_to_end(&mut content).map_err(RepoError::io(self.root.join(path)))?;
        limit("bytes of a file", content.len() as u64, max)?;
        Ok(Some((content, executable(&meta))))
    }

    pub(crate) fn is_executable(&self, path: &str) -> bool {
        let fd = self.at(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty());
        fd.ok().and_then(|fd| File::from(fd).metadata().ok()).is_some_and(|meta| meta.is_file() && executable(&meta))
    }

    /// Where a symbolic link leads, by its letters.
    pub(crate) fn read_link(&self, path: &str) -> Result<String, RepoError> {
        let (dir, name) = self.parent(path)?;
        let target = readlinkat(dir.as_fd(), name).map_err(io(self.root.join(path)))?;
        target.into_string().map_err(|_| RepoError::UnsafePath {
            path: path.to_owned(),
            why: "it is a link to a path that isn't UTF-8",
        })
    }

    /// Puts a file in place in one step, whatever was there before (but not a directory).
    pub(crate) fn write(&self, path: &str, content: &[u8], executable: bool) -> Result<(), RepoError> {
        self.make_parents(path)?;
        let (dir, name) = self.parent(path)?;
        let partial = format!(".fleet-{}", uuid::Uuid::new_v4().simple());
        let mode = Mode::from_bits_truncate(if executable { 0o755 } else { 0o644 });
        let fail = || io(self.root.join(path));
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(dir.as_fd(), partial.as_str(), flags, mode).map_err(fail())?;
        // The process's umask may have taken bits away.
        fchmod(fd.as_fd(), mode).map_err(fail())?;
        self.give(&fd).map_err(fail())?;
        let placed = File::from(fd).write_all(content).map_err(RepoError::io(self.root.join(path)));
        let placed = placed.and_then(|()| renameat(dir.as_fd(), partial.as_str(), dir.as_fd(), name).map_err(fail()));
        if placed.is_err() {
            let _ = unlinkat(dir.as_fd(), partial.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        placed
    }

    pub(crate) fn make_link(&self, path: &str, target: &str) -> Result<(), RepoError> {
        self.make_parents(path)?;
        let (dir, name) = self.parent(path)?;
        symlinkat(target, dir.as_fd(), name).map_err(io(self.root.join(path)))?;
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            fchownat(dir.as_fd(), name, uid, gid, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(io(self.root.join(path)))?;
        }
        Ok(())
    }

    pub(crate) fn remove(&self, path: &str) -> Result<(), RepoError> {
        let (dir, name) = self.parent(path)?;
        match unlinkat(dir.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(io(self.root.join(path))(error)),
        }
    }

    /// What a directory holds, by name and in order; `""` is the root. Names that aren't UTF-8 are left out.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<(String, Found)>, RepoError> {
        let fd = self.directory(path)?;
        let through_fd = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(through_fd).map_err(RepoError::io(self.root.join(path)))? {
            let entry = entry.map_err(RepoError::io(self.root.join(path)))?;
            // Gone since: whoever removed it may do so.
            let (Ok(meta), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else {
                continue;
            };
            names.push((name, found(&meta)));
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(names)
    }

    fn directory(&self, path: &str) -> Result<OwnedFd, RepoError> {
        let name = if path.is_empty() { "." } else { path };
        self.at(name, OFlag::O_DIRECTORY | OFlag::O_RDONLY, Mode::empty()).map_err(io(self.root.join(path)))
    }

    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str), RepoError> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.directory(dir)?, name))
    }

    fn make_parents(&self, path: &str) -> Result<(), RepoError> {
        let Some((dir, _)) = path.rsplit_once('/') else {
            return Ok(());
        };
        if self.directory(dir).is_ok() {
            return Ok(());
        }
        let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
        for end in ends {
            let (parent, name) = self.parent(&dir[..end])?;
            match mkdirat(parent.as_fd(), name, DIR) {
                Ok(()) => {
                    let made = self.directory(&dir[..end])?;
                    fchmod(made.as_fd(), DIR).and_then(|()| self.give(&made)).map_err(io(self.root.join(dir)))?;
                }
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(io(self.root.join(dir))(error)),
            }
        }
        Ok(())
    }

    fn give(&self, fd: &OwnedFd) -> Result<(), Errno> {
        match self.owner {
            Some((uid, gid)) => fchown(fd.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))),
            None => Ok(()),
        }
    }
}

fn found(meta: &std::fs::Metadata) -> Found {
    let kind = meta.file_type();
    if kind.is_file() {
        Found::File { executable: executable(meta), bytes: meta.len() }
    } else if kind.is_dir() {
        Found::Dir
    } else if kind.is_symlink() {
        Found::Link
    } else {
        Found::Odd
    }
}

fn executable(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o100 != 0
}

fn io(path: impl Into<PathBuf>) -> impl FnOnce(Errno) -> RepoError {
    let path = path.into();
    move |errno| RepoError::Io { path, source: errno.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn place() -> (tempfile::TempDir, Beneath) {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(dir.path(), None).unwrap();
        (dir, beneath)
    }

    #[test]
    fn a_file_is_written_and_read_back_below_new_directories() {
        let (_dir, beneath) = place();
        beneath.write("a/b/c.txt", b"one", false).unwrap();
        beneath.write("a/b/c.txt", b"two", true).unwrap();
        assert_eq!(beneath.read("a/b/c.txt", 10).unwrap(), Some((b"two".to_vec(), true)));
        assert_eq!(beneath.read("a/b/d.txt", 10).unwrap(), None);
        assert_eq!(beneath.list("a/b").unwrap().len(), 1);
    }

    #[test]
    fn a_planted_link_is_neither_followed_nor_written_through() {
        let (dir, beneath) = place();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("d")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("f")).unwrap();
        assert!(beneath.read("d/secret", 10).is_err());
        assert!(beneath.read("f", 10).is_err());
        assert!(beneath.write("d/new", b"x", false).is_err());
        assert!(beneath.list("d").is_err());
        beneath.write("f", b"mine", false).unwrap();
        assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"x");
        assert_eq!(beneath.read("f", 10).unwrap().unwrap().0, b"mine");
    }

    #[test]
    fn a_pipe_under_the_name_of_a_file_is_refused_at_once() {
        let (dir, beneath) = place();
        nix::unistd::mkfifo(&dir.path().join("p"), Mode::from_bits_truncate(0o600)).unwrap();
        assert!(beneath.read("p", 10).is_err());
    }
}
