//! How a blob gets to disk: whole and durable, or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use uuid::Uuid;

use super::store::blocking;
use super::{BlobError, Digest};

/// A blob on its way in. Dropped before it is kept, it leaves nothing.
pub(super) struct Incoming {
    path: Unkept,
    /// Absent only while a write is under way, and after one that failed.
    open: Option<(File, blake3::Hasher)>,
}

/// Removes the file unless it was renamed away.
struct Unkept(PathBuf);

impl Drop for Unkept {
    fn drop(&mut self) {
        // Either it was kept under its name, or it is swept when the store is next opened.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Incoming {
    pub async fn create(dir: &Path) -> Result<Self, BlobError> {
        let path = dir.join(Uuid::new_v4().to_string());
        blocking(move || {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let file = file.map_err(BlobError::io(&path))?;
            Ok(Self { path: Unkept(path), open: Some((file, blake3::Hasher::new())) })
        })
        .await
    }

    pub async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        let (mut file, mut hasher) = self.open.take().ok_or_else(|| self.broken())?;
        let path = self.path.0.clone();
        self.open = Some(
            blocking(move || {
                file.write_all(&chunk).map_err(BlobError::io(&path))?;
                hasher.update(&chunk);
                Ok((file, hasher))
            })
            .await?,
        );
        Ok(())
    }

    /// Makes it durable; `name` gives the file the name of its content.
    pub async fn keep(
        mut self,
        name: impl FnOnce(Digest, &Path) -> Result<(), BlobError> + Send + 'static,
    ) -> Result<Digest, BlobError> {
        let (file, hasher) = self.open.take().ok_or_else(|| self.broken())?;
        blocking(move || {
            let digest = Digest::from(hasher.finalize());
            file.sync_all().map_err(BlobError::io(&self.path.0))?;
            name(digest, &self.path.0)?;
            Ok(digest)
        })
        .await
    }

    fn broken(&self) -> BlobError {
        BlobError::Io { path: self.path.0.clone(), source: io::Error::other("an earlier write failed") }
    }
}

/// Makes the folder for its owner only, and its entry durable.
pub(super) fn make_private_dir(dir: &Path) -> Result<(), BlobError> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(BlobError::io(dir))?;
    dir.parent().map_or(Ok(()), sync_dir)
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), BlobError> {
    // A relative path's parent is the empty path.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|d| d.sync_all()).map_err(BlobError::io(dir))
}
