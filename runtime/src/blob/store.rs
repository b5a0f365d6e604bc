//! Blobs on this machine's disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use bytesize::ByteSize;
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};

use super::partial::Partial;
use super::write::{self, Incoming};
use super::{BlobError, Digest};
use crate::time::Timestamp;

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

/// Blobs on this machine's disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlobStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    options: BlobOptions,
    /// Held while a blob gets its name or loses it, so that one that was just stored isn't taken for the old one that was
    /// to be removed. Only by threads that may block.
    naming: Mutex<()>,
}

/// A blob as it lies on the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lying {
    pub digest: Digest,
    pub bytes: u64,
    pub changed: Timestamp,
}

impl BlobStore {
    /// Opens the store, which is made if it isn't there. Uploads that a crash left behind are removed; a blob that was
    /// being fetched from another node stays as far as it had come.
    pub fn open(dir: &Path, options: BlobOptions) -> Result<Self, BlobError> {
        let store = Self(Arc::new(Inner { dir: dir.to_owned(), options, naming: Mutex::default() }));
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
        self.put_stream_and(chunks, |_, _| {}).await
    }

    /// The same; `stored` is called before anybody can remove it again.
    pub(super) async fn put_stream_and<S, E>(
        &self,
        chunks: S,
        stored: impl FnOnce(Digest, u64) + Send + 'static,
    ) -> Result<(Digest, u64), BlobError>
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
        let digest = incoming.keep(move |digest, file| store.name(file, digest, || stored(digest, size))).await?;
        Ok((digest, size))
    }

    /// The content, checked against its hash.
    pub async fn get(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let (store, digest) = (self.clone(), *digest);
        blocking(move || store.read(&digest)).await
    }

    /// The same, for a thread that may block.
    fn read(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let bytes = std::fs::read(self.file(digest)).map_err(|e| self.unread(digest, e))?;
        (Digest::of(&bytes) == *digest).then_some(bytes).ok_or(BlobError::Damaged(*digest))
    }

    /// Whether the blob is there and has the right hash. For a thread that may block.
    pub(super) fn is_sound(&self, digest: &Digest) -> Result<bool, BlobError> {
        let hash = |file: std::fs::File| Ok(Digest::from(blake3::Hasher::new().update_reader(file)?.finalize()));
        match std::fs::File::open(self.file(digest)).and_then(hash) {
            Ok(found) => Ok(found == *digest),
            Err(e) => match self.unread(digest, e) {
                BlobError::NotFound(_) => Ok(false),
                e => Err(e),
            },
        }
    }

    /// A piece of the blob, unchecked, and the size of the whole. Shorter than `len` at its end.
    pub(super) async fn piece(&self, digest: &Digest, offset: u64, len: usize) -> Result<(Bytes, u64), BlobError> {
        use std::io::{Read, Seek, SeekFrom};
        let (store, digest) = (self.clone(), *digest);
        blocking(move || {
            let read = || {
                let mut file = std::fs::File::open(store.file(&digest))?;
                let total = file.metadata()?.len();
                let len = (len as u64).min(total.saturating_sub(offset));
                file.seek(SeekFrom::Start(offset))?;
                let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
                file.take(len).read_to_end(&mut bytes)?;
                Ok((bytes.into(), total))
            };
            read().map_err(|e| store.unread(&digest, e))
        })
        .await
    }

    fn unread(&self, digest: &Digest, e: io::Error) -> BlobError {
        match e.kind() {
            io::ErrorKind::NotFound => BlobError::NotFound(*digest),
            _ => BlobError::io(&self.file(digest))(e),
        }
    }

    /// The file that holds the blob, for whoever can read it in place.
    pub fn path(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.file(digest)).filter(|path| path.is_file())
    }

    /// Removes the blob; says whether it was there.
    pub async fn delete(&self, digest: &Digest) -> Result<bool, BlobError> {
        let (store, digest) = (self.clone(), *digest);
        blocking(move || store.remove_if(&digest, || true)).await
    }

    pub fn max_bytes(&self) -> ByteSize {
        self.0.options.max_bytes
    }

    /// Removes the blob if that is still right at this moment. For a thread that may block.
    pub(super) fn remove_if(&self, digest: &Digest, still: impl FnOnce() -> bool) -> Result<bool, BlobError> {
        let _naming = self.naming();
        if !still() {
            return Ok(false);
        }
        let path = self.file(digest);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(BlobError::io(&path)(e)),
        }
    }

    /// Gives a file that is on disk as a whole the name of its content. For a thread that may block.
    pub(super) fn name(&self, from: &Path, digest: Digest, named: impl FnOnce()) -> Result<(), BlobError> {
        let target = self.file(&digest);
        let folder = target.parent().unwrap_or(Path::new("."));
        write::make_private_dir(folder)?;
        {
            let _naming = self.naming();
            // Replaces a file of the same name: the same content, or damage that is mended by it.
            std::fs::rename(from, &target).map_err(BlobError::io(&target))?;
            named();
        }
        write::sync_dir(folder)
    }

    /// Marks the blob as stored just now; false where it isn't there. For a thread that may block.
    pub(super) fn renew(&self, digest: &Digest, renewed: impl FnOnce(u64)) -> Result<bool, BlobError> {
        let _naming = self.naming();
        let path = self.file(digest);
        let touch = || {
            let file = std::fs::File::open(&path)?;
            file.set_modified(std::time::SystemTime::now())?;
            Ok(file.metadata()?.len())
        };
        match touch() {
            Ok(bytes) => {
                renewed(bytes);
                Ok(true)
            }
            Err(e) => match self.unread(digest, e) {
                BlobError::NotFound(_) => Ok(false),
                e => Err(e),
            },
        }
    }

    /// All blobs on the disk, those that were changed longest ago first. For a thread that may block.
    pub(super) fn list(&self) -> Result<Vec<Lying>, BlobError> {
        let mut all = Vec::new();
        for folder in read_dir(&self.0.dir)? {
            let prefix = folder.file_name().to_string_lossy().into_owned();
            if prefix.len() == 2 && folder.path().is_dir() {
                all.extend(read_dir(&folder.path())?.iter().filter_map(|file| lying(&prefix, file)));
            }
        }
        all.sort_by_key(|blob| (blob.changed, blob.digest));
        Ok(all)
    }

    /// The blob, if it is on the disk. For a thread that may block.
    pub(super) fn look(&self, digest: &Digest) -> Option<Lying> {
        let metadata = std::fs::metadata(self.file(digest)).ok().filter(std::fs::Metadata::is_file)?;
        Some(Lying { digest: *digest, bytes: metadata.len(), changed: changed(&metadata) })
    }

    /// What has come in so far of a blob that another node has.
    pub(super) async fn partial(&self, digest: &Digest) -> Result<Partial, BlobError> {
        Partial::open(self, &self.partial_dir(), *digest).await
    }

    /// Removes what was fetched in part and not gone on with since `before`. For a thread that may block.
    pub(super) fn sweep_partial(&self, before: Timestamp) -> Result<(), BlobError> {
        let dir = self.partial_dir();
        if !dir.is_dir() {
            return Ok(());
        }
        for file in read_dir(&dir)? {
            if file.metadata().is_ok_and(|metadata| changed(&metadata) < before) {
                std::fs::remove_file(file.path()).map_err(BlobError::io(&file.path()))?;
            }
        }
        Ok(())
    }

    pub(super) fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        let (folder, name) = hex.split_at(2);
        self.0.dir.join(folder).join(name)
    }

    fn incoming_dir(&self) -> PathBuf {
        self.0.dir.join("incoming")
    }

    fn partial_dir(&self) -> PathBuf {
        self.0.dir.join("partial")
    }

    fn naming(&self) -> MutexGuard<'_, ()> {
        self.0.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_dir(dir: &Path) -> Result<Vec<std::fs::DirEntry>, BlobError> {
    std::fs::read_dir(dir).and_then(Iterator::collect).map_err(BlobError::io(dir))
}

fn lying(prefix: &str, file: &std::fs::DirEntry) -> Option<Lying> {
    let digest = format!("{prefix}{}", file.file_name().to_str()?).parse().ok()?;
    let metadata = file.metadata().ok()?;
    Some(Lying { digest, bytes: metadata.len(), changed: changed(&metadata) })
}

/// A file system without times gives the present: nothing goes too early by it.
fn changed(metadata: &std::fs::Metadata) -> Timestamp {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or_else(Timestamp::now, |since| Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

/// Runs what blocks on the disk off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result,
        Err(e) => Err(BlobError::Upload(format!("the disk task ended: {e}"))),
    }
}
