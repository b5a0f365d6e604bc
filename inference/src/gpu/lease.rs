//! One process a GPU: a file for each UUID in a directory that all processes of the machine share, locked as long as the
//! process lives. The kernel lets go of it however the process ends.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where leases lie: the place for locks, which is gone after a boot, or the one for temporary files.
const PLACES: [&str; 2] = ["/run/lock", "/tmp"];
const NAME: &str = "fleet-gpu";

/// A GPU that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process has it.
    #[error("the GPU {uuid} is held by process {holder}; a GPU has one worker process ({})", path.display())]
    Held {
        /// The GPU.
        uuid: String,
        /// The other process, as it wrote it down.
        holder: String,
        /// The file that it has locked.
        path: PathBuf,
    },
    /// Its UUID can't be the name of a file.
    #[error("{0:?} isn't the UUID of a GPU")]
    NotAUuid(String),
    /// The system refused.
    #[error("the lease of the GPU {uuid} at {}: {source}", path.display())]
    Io {
        /// The GPU.
        uuid: String,
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where leases lie.
#[derive(Clone, Debug)]
pub struct LeaseDir(PathBuf);

/// Held by one process. Dropping it lets go.
#[derive(Debug)]
pub struct GpuLease {
    _file: File,
}

impl LeaseDir {
    /// The one that all processes of this machine share, whoever runs them.
    pub fn of_machine() -> Self {
        let place = PLACES.iter().map(Path::new).find(|place| place.is_dir());
        Self(place.unwrap_or(Path::new("/tmp")).join(NAME))
    }

    /// Another one; for tests.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// Takes the GPU for this process, or says who has it.
    pub fn take(&self, uuid: &str) -> Result<GpuLease, LeaseError> {
        let path = self.file(uuid)?;
        let failed = |source| LeaseError::Io { uuid: uuid.to_owned(), path: path.clone(), source };
        self.make().map_err(failed)?;
        let mut file = open_or_create(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_pid(&mut file).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                return Err(LeaseError::Held { uuid: uuid.to_owned(), holder, path });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // It is for people only, so it may fail where the file is another user's.
        let _ = write_pid(&path);
        Ok(GpuLease { _file: file })
    }

    /// The process that holds the GPU now.
    pub fn holder(&self, uuid: &str) -> Option<u32> {
        let mut file = open(&self.file(uuid).ok()?).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => read_pid(&mut file),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    fn file(&self, uuid: &str) -> Result<PathBuf, LeaseError> {
        let named = !uuid.is_empty() && uuid.len() <= 100;
        match named && uuid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            true => Ok(self.0.join(format!("{uuid}.lock"))),
            false => Err(LeaseError::NotAUuid(uuid.to_owned())),
        }
    }

    /// Everybody may add a file, and remove only their own.
    fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o777).create(&self.0) {
            Ok(()) => std::fs::set_permissions(&self.0, Permissions::from_mode(0o1777)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Reading is enough for a lock, and is what another user's file allows. Never through a link that somebody put there.
fn open(path: &Path) -> io::Result<File> {
    const O_NOFOLLOW: i32 = 0o400_000;
    OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path)
}

fn open_or_create(path: &Path) -> io::Result<File> {
    match OpenOptions::new().write(true).create_new(true).mode(0o644).open(path) {
        Ok(_) => open(path),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => open(path),
        Err(e) => Err(e),
    }
}

fn write_pid(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const GPU: &str = "GPU-5f1c9b1e-0000-0000-0000-000000000001";

    #[test]
    fn a_second_worker_of_a_gpu_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let leases = LeaseDir::at(dir.path().join("leases"));
        let held = leases.take(GPU).unwrap();
        let refused = leases.take(GPU).unwrap_err().to_string();
        let me = std::process::id();
        assert!(refused.contains(GPU) && refused.contains(&format!("held by process {me}")), "{refused}");
        assert_eq!(leases.holder(GPU), Some(me));
        drop(held);
        assert_eq!(leases.holder(GPU), None);
        leases.take(GPU).unwrap();
    }

    #[test]
    fn gpus_are_leased_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let leases = LeaseDir::at(dir.path());
        let _first = leases.take(GPU).unwrap();
        let _second = leases.take("GPU-5f1c9b1e-0000-0000-0000-000000000002").unwrap();
    }

    #[test]
    fn what_is_no_uuid_names_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let leases = LeaseDir::at(dir.path());
        for uuid in ["", "../../etc/passwd", "GPU 1"] {
            assert!(matches!(leases.take(uuid), Err(LeaseError::NotAUuid(_))), "{uuid}");
            assert_eq!(leases.holder(uuid), None);
        }
    }

    #[test]
    fn a_lease_never_follows_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("precious");
        std::fs::write(&target, "data").unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join(format!("{GPU}.lock"))).unwrap();
        assert!(matches!(LeaseDir::at(dir.path()).take(GPU), Err(LeaseError::Io { .. })));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "data");
    }
}
