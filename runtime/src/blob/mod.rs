//! Large payloads, stored once under the hash of their content.
//!
//! A blob is a file `ab/cdef…` of mode 0600 below the store's folder. It is written to a temporary
//! file, fsynced, then renamed: a name that exists has all of its content. Reading checks the hash.

mod digest;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};

pub use digest::Digest;
use write::Incoming;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlobOptions {
    /// The largest blob that is taken. Raise it for repositories with large base packs. Default 1 GiB.
    pub max_bytes: ByteSize,
}

impl Default for BlobOptions {
    fn default() -> Self {
        Self { max_bytes: ByteSize::gib(1) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("a blob may have {limit}, this one has more")]
    TooLarge { limit: ByteSize },
    /// Upload it (again), or ask who has it.
    #[error("there is no blob {0}")]
    NotFound(Digest),
    /// Delete it and upload it again.
    #[error("blob {0} is damaged on disk")]
    Damaged(Digest),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// The sender broke off.
    #[error("the upload broke off: {0}")]
    Upload(String),
}

impl BlobError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Blobs on this machine's disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlobStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    options: BlobOptions,
}

impl BlobStore {
    /// Opens the store, which is made if it isn't there. Uploads that a crash left behind are removed.
    pub fn open(dir: &Path, options: BlobOptions) -> Result<Self, BlobError> {
        let store = Self(Arc::new(Inner { dir: dir.to_owned(), options }));
        write::make_private_dir(dir)?;
        let incoming = store.incoming_dir();
        match std::fs::remove_dir_all(&incoming) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(BlobError::io(&incoming)(e)),
            _ => write::make_private_dir(&incoming)?,
        }
        Ok(store)
    }

    /// Stores the bytes; resolves once they are on disk.
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<Digest, BlobError> {
        let bytes = bytes.into();
        let chunks = futures::stream::iter([Ok::<_, BlobError>(bytes)]);
        Ok(self.put_stream(chunks).await?.0)
    }

    /// Stores what the stream brings, without holding it in memory; gives its digest and size.
    pub async fn put_stream<S, E>(&self, chunks: S) -> Result<(Digest, u64), BlobError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: std::fmt::Display,
    {
        let mut incoming = Incoming::create(&self.incoming_dir()).await?;
        let mut size = 0u64;
        let mut chunks = std::pin::pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| BlobError::Upload(e.to_string()))?;
            size += chunk.len() as u64;
            if size > self.0.options.max_bytes.as_u64() {
                return Err(BlobError::TooLarge { limit: self.0.options.max_bytes });
            }
            incoming.write(chunk).await?;
        }
        let store = self.clone();
        let digest = incoming.keep(move |digest| store.file(&digest)).await?;
        Ok((digest, size))
    }

    /// The content, checked against its hash.
    pub async fn get(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let (path, digest) = (self.file(digest), *digest);
        let read = move || {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(BlobError::NotFound(digest)),
                Err(e) => return Err(BlobError::io(&path)(e)),
            };
            (Digest::of(&bytes) == digest).then_some(bytes).ok_or(BlobError::Damaged(digest))
        };
        blocking(read).await
    }

    /// The file that holds the blob, for whoever can read it in place.
    pub fn path(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.file(digest)).filter(|path| path.is_file())
    }

    /// Removes the blob; says whether it was there.
    pub async fn delete(&self, digest: &Digest) -> Result<bool, BlobError> {
        let path = self.file(digest);
        blocking(move || match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(BlobError::io(&path)(e)),
        })
        .await
    }

    pub fn max_bytes(&self) -> ByteSize {
        self.0.options.max_bytes
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        let (folder, name) = hex.split_at(2);
        self.0.dir.join(folder).join(name)
    }

    fn incoming_dir(&self) -> PathBuf {
        self.0.dir.join("incoming")
    }
}

/// Runs what blocks on the disk off the async threads.
async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result,
        Err(e) => Err(BlobError::Upload(format!("the disk task ended: {e}"))),
    }
}

#[cfg(test)]
mod tests;
