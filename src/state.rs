//! The state directory: where a node keeps all that it must not lose, and where the client finds its token.
//!
//! ```text
//! token           what a caller must show; 0600, made once, kept over restarts
//! redaction.key   the key of secret placeholders; 0600
//! fleetd.lock     held while a node runs; names its pid
//! journal/        the journal
//! blobs/          base packs, patches, results
//! work/           checkouts and sandboxes; swept at start
//! reports/        reports that the client saved
//! ```

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why the state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Neither a flag nor the environment says where it is.
    #[error(
        "FLT-S001: no state directory: neither $XDG_STATE_HOME nor $HOME is set\n  next: name one with --state-dir"
    )]
    NoHome,
    /// The system refused.
    #[error("FLT-S002: {what} {}: {source}\n  next: check that this user may write there, or name another place with --state-dir", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another node runs on it.
    #[error("FLT-S003: another fleetd (pid {pid}) uses {}\n  next: stop it (kill {pid}), or give this node its own --state-dir", path.display())]
    InUse {
        /// The other process, as it wrote it down.
        pid: String,
        /// The directory.
        path: PathBuf,
    },
    /// There is no token yet.
    #[error("FLT-S004: no token at {}\n  next: start fleetd with this state directory, or name the node's token file with --token-file", path.display())]
    NoToken {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Others may read the token.
    #[error("FLT-S005: {} is readable by others (mode {mode:o})\n  next: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds no token.
    #[error("FLT-S006: {} doesn't hold a token\n  next: remove it and restart fleetd, which makes a new one", path.display())]
    NotAToken {
        /// The file.
        path: PathBuf,
    },
}

/// A state directory.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The directory that a flag names, else the user's.
    pub fn resolve(flag: Option<&Path>) -> Result<Self, StateError> {
        if let Some(path) = flag {
            return Ok(Self(path.to_owned()));
        }
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty());
        if let Some(base) = set("XDG_STATE_HOME") {
            return Ok(Self(PathBuf::from(base).join("fleet")));
        }
        let home = set("HOME").ok_or(StateError::NoHome)?;
        Ok(Self(PathBuf::from(home).join(".local/state/fleet")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A part of it.
    pub fn join(&self, part: &str) -> PathBuf {
        self.0.join(part)
    }

    /// The token file.
    pub fn token_file(&self) -> PathBuf {
        self.join("token")
    }

    /// Makes the directory, for its owner's eyes only.
    pub fn create(&self) -> Result<(), StateError> {
        create_private(&self.0)
    }

    /// Takes the directory for this process until the lock is dropped.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.join("fleetd.lock");
        let failed = |what, source| StateError::Io { what, path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed("can't open", e))?;
        let patience = Instant::now() + LEFT_BEHIND;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // A process that died a moment ago may have left a child that hasn't begun yet and holds the lock so long.
                Err(TryLockError::WouldBlock) if !owner_lives(&mut file) && Instant::now() < patience => {
                    std::thread::sleep(AGAIN);
                }
                Err(TryLockError::WouldBlock) => return Err(self.in_use(&mut file)),
                Err(TryLockError::Error(e)) => return Err(failed("can't lock", e)),
            }
        }
        write_pid(&mut file).map_err(|e| failed("can't write", e))?;
        Ok(StateLock { _file: file })
    }

    fn in_use(&self, file: &mut File) -> StateError {
        let pid = owner(file);
        StateError::InUse { pid: if pid.is_empty() { "unknown".to_owned() } else { pid }, path: self.0.clone() }
    }

    /// The node's token: made at the first start, the same ever after.
    pub fn load_or_create_token(&self) -> Result<String, StateError> {
        let path = self.token_file();
        match read_token(&path) {
            Err(StateError::NoToken { .. }) => create_token(&path),
            other => other,
        }
    }
}

/// How long a lock whose owner is dead is waited for, and how often it is tried.
const LEFT_BEHIND: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(20);

/// Who wrote its pid into a lock file. Best effort: a lock whose owner hasn't written it yet is still a lock.
fn owner(file: &mut File) -> String {
    let mut pid = String::new();
    let _ = file.rewind();
    let _ = file.take(32).read_to_string(&mut pid);
    pid.trim().to_owned()
}

/// False only if it is known to be dead.
fn owner_lives(file: &mut File) -> bool {
    let pid = owner(file);
    if pid.is_empty() || pid.parse::<u32>().is_err() {
        return true;
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its state stands behind the name, which is in brackets; Z and X are dead.
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Makes a directory and its parents, readable by the owner only.
pub fn create_private(path: &Path) -> Result<(), StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| StateError::Io {
        what: "can't make",
        path: path.to_owned(),
        source,
    })
}

/// Held while a node runs on a state directory. The kernel lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Reads a token; refuses a file that others could have read.
pub fn read_token(path: &Path) -> Result<String, StateError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => StateError::NoToken { path: path.to_owned() },
        _ => StateError::Io { what: "can't read", path: path.to_owned(), source },
    };
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StateError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    (&mut file).take(4096).read_to_string(&mut text).map_err(failed)?;
    let token = text.trim();
    if token.len() < 32 || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(StateError::NotAToken { path: path.to_owned() });
    }
    Ok(token.to_owned())
}

fn create_token(path: &Path) -> Result<String, StateError> {
    let failed = |source| StateError::Io { what: "can't write", path: path.to_owned(), source };
    // Two random UUIDs hold 244 random bits.
    let half = || uuid::Uuid::new_v4().simple().to_string();
    let token = format!("{}{}", half(), half());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    writeln!(file, "{token}").map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Some(&dir.path().join("s"))).unwrap();
        state.create().unwrap();
        (dir, state)
    }

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let (_dir, state) = state();
        let token = state.load_or_create_token().unwrap();
        let mode = std::fs::metadata(state.token_file()).unwrap().permissions().mode();
        assert_eq!((token.len(), mode & 0o777), (64, 0o600));
        assert_eq!(state.load_or_create_token().unwrap(), token);
    }

    #[test]
    fn a_token_that_others_can_read_is_refused_with_the_remedy() {
        let (_dir, state) = state();
        state.load_or_create_token().unwrap();
        std::fs::set_permissions(state.token_file(), PermissionsExt::from_mode(0o644)).unwrap();
        let said = read_token(&state.token_file()).unwrap_err().to_string();
        assert!(said.contains("mode 644") && said.contains("chmod 600"), "{said}");
    }

    #[test]
    fn a_second_node_on_the_same_directory_is_refused_and_told_the_pid() {
        let (_dir, state) = state();
        let held = state.lock().unwrap();
        let said = state.lock().unwrap_err().to_string();
        assert!(said.contains(&format!("pid {}", std::process::id())), "{said}");
        drop(held);
        state.lock().unwrap();
    }
}
