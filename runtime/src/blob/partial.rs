//! A blob that is coming in from another node: a file named by its digest, which goes on at its length.
//!
//! What is in it proves nothing until the whole has the right hash. So it is written without fsyncs, and whatever a crash
//! made of it is found out at the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::store::{BlobStore, blocking};
use super::write::make_private_dir;
use super::{BlobError, Digest};

pub(super) struct Partial {
    store: BlobStore,
    digest: Digest,
    path: PathBuf,
    len: u64,
    /// Absent only while the disk is at work, and after it failed.
    open: Option<(File, blake3::Hasher)>,
}

impl Partial {
    /// Opens what is there already, and reads it for its hash.
    pub async fn open(store: &BlobStore, dir: &Path, digest: Digest) -> Result<Self, BlobError> {
        let (store, dir) = (store.clone(), dir.to_owned());
        blocking(move || {
            make_private_dir(&dir)?;
            let path = dir.join(digest.to_string());
            let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
            let file = file.map_err(BlobError::io(&path))?;
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(&file).map_err(BlobError::io(&path))?;
            let len = hasher.count();
            Ok(Self { store, digest, path, len, open: Some((file, hasher)) })
        })
        .await
    }

    /// Bytes that have come in.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        let len = piece.len() as u64;
        let write = move |file: &mut File, hasher: &mut blake3::Hasher| {
            file.write_all(&piece)?;
            hasher.update(&piece);
            Ok(())
        };
        self.with(write).await?;
        self.len += len;
        Ok(())
    }

    /// Throws away what has come in.
    pub async fn clear(&mut self) -> Result<(), BlobError> {
        let clear = |file: &mut File, hasher: &mut blake3::Hasher| {
            hasher.reset();
            file.set_len(0)
        };
        self.with(clear).await?;
        self.len = 0;
        Ok(())
    }

    /// Makes it a blob of the store if it has the right hash; else it is thrown away, and the answer is false. `stored` is
    /// called before anybody can remove it again.
    pub async fn finish(mut self, stored: impl FnOnce(u64) + Send + 'static) -> Result<bool, BlobError> {
        let (file, hasher) = self.open.take().ok_or_else(|| self.broken())?;
        blocking(move || {
            if Digest::from(hasher.finalize()) != self.digest {
                std::fs::remove_file(&self.path).map_err(BlobError::io(&self.path))?;
                return Ok(false);
            }
            file.sync_all().map_err(BlobError::io(&self.path))?;
            self.store.name(&self.path, self.digest, || stored(self.len))?;
            Ok(true)
        })
        .await
    }

    async fn with(
        &mut self,
        f: impl FnOnce(&mut File, &mut blake3::Hasher) -> io::Result<()> + Send + 'static,
    ) -> Result<(), BlobError> {
        let (mut file, mut hasher) = self.open.take().ok_or_else(|| self.broken())?;
        let path = self.path.clone();
        let work = move || {
            f(&mut file, &mut hasher).map_err(BlobError::io(&path))?;
            Ok((file, hasher))
        };
        self.open = Some(blocking(work).await?);
        Ok(())
    }

    fn broken(&self) -> BlobError {
        BlobError::Io { path: self.path.clone(), source: io::Error::other("an earlier write failed") }
    }
}
