//! Files that hold secrets: for their owner only, whole or not there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::NetError;

/// No file here is larger: a longer one isn't ours.
const MAX_BYTES: u64 = 64 * 1024;

/// Makes the folder, or closes it to others.
pub(super) fn make_dir(dir: &Path) -> Result<(), NetError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(NetError::file(dir))?;
    let mode = fs::metadata(dir).map_err(NetError::file(dir))?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(NetError::file(dir))?;
    }
    Ok(())
}

/// Writes a new file; false, and nothing changed, where there is one already.
///
/// The content gets its name last (a hard link, which never replaces): a crash leaves no half file,
/// and of two processes one is the first.
pub(super) fn create(path: &Path, content: &[u8]) -> Result<bool, NetError> {
    let unnamed = Unnamed::write(path, content)?;
    match fs::hard_link(&unnamed.0, path) {
        Ok(()) => sync_dir(path).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(NetError::file(path)(e)),
    }
}

/// Writes the file in place of the one that is there, if any.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), NetError> {
    let unnamed = Unnamed::write(path, content)?;
    fs::rename(&unnamed.0, path).map_err(NetError::file(path))?;
    sync_dir(path)
}

/// The content, if the file is there. Refused when others may read it.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, NetError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(NetError::file(path)(e)),
    };
    let mode = file.metadata().map_err(NetError::file(path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(NetError::Exposed { path: path.to_owned(), mode });
    }
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(NetError::file(path))?;
    if content.len() as u64 > MAX_BYTES {
        return Err(NetError::damaged(path, "it is far too long"));
    }
    Ok(Some(content))
}

/// A file under a name that nobody looks for; removed when dropped.
struct Unnamed(PathBuf);

impl Unnamed {
    fn write(beside: &Path, content: &[u8]) -> Result<Self, NetError> {
        let path = beside.with_extension(format!("new-{}", Uuid::new_v4()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(NetError::file(&path))?;
        let unnamed = Self(path);
        file.write_all(content).and_then(|()| file.sync_all()).map_err(NetError::file(&unnamed.0))?;
        Ok(unnamed)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}

fn sync_dir(of: &Path) -> Result<(), NetError> {
    let Some(dir) = of.parent() else { return Ok(()) };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(NetError::file(dir))
}
