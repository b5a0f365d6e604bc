//! The blobs of this node: the disk, its books, and what is in memory.

use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::Stream;

use super::blobs::Clock;
use super::books::{Books, Policy};
use super::memory::Memory;
use super::partial::Partial;
use super::stats::{BlobStats, Counters, count};
use super::store::{BlobStore, blocking};
use super::{BlobError, Digest};

pub(super) struct Shelf {
    pub store: BlobStore,
    pub counters: Counters,
    books: Mutex<Books>,
    memory: Mutex<Memory>,
    clock: Clock,
}

/// A blob that stays on this node's disk for as long as this lives: it is its path.
#[derive(Clone)]
pub struct InUse(Arc<Pin>);

struct Pin {
    shelf: Arc<Shelf>,
    digest: Digest,
    path: PathBuf,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.shelf.books().unpin(&self.digest, (self.shelf.clock)());
    }
}

impl Deref for InUse {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0.path
    }
}

impl AsRef<Path> for InUse {
    fn as_ref(&self) -> &Path {
        &self.0.path
    }
}

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InUse({})", self.0.digest)
    }
}

impl Shelf {
    pub fn new(store: BlobStore, policy: Policy, memory: u64, clock: Clock) -> Arc<Self> {
        let (books, memory) = (Mutex::new(Books::new(policy)), Mutex::new(Memory::new(memory)));
        Arc::new(Self { store, counters: Counters::default(), books, memory, clock })
    }

    /// Books are never locked over work on the disk.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> crate::time::Timestamp {
        (self.clock)()
    }

    /// The blob in memory, if it is there. It counts as used.
    pub fn in_memory(&self, digest: &Digest) -> Option<Bytes> {
        let bytes = self.memory().get(digest)?;
        let now = self.now();
        let mut books = self.books();
        if books.pin(digest, now) {
            books.unpin(digest, now);
        }
        Some(bytes)
    }

    /// The blob on this disk, if it is there.
    pub async fn pin(self: &Arc<Self>, digest: &Digest) -> Result<Option<InUse>, BlobError> {
        let (shelf, digest) = (self.clone(), *digest);
        blocking(move || Ok(shelf.pin_now(&digest))).await
    }

    /// The same, for a thread that may block.
    pub fn pin_now(self: &Arc<Self>, digest: &Digest) -> Option<InUse> {
        let now = self.now();
        let known = self.books().pin(digest, now);
        let lying = self.store.look(digest);
        match (known, lying) {
            (true, Some(_)) => Some(self.pinned(*digest)),
            (true, None) => {
                // Somebody removed the file behind our back.
                let mut books = self.books();
                books.unpin(digest, now);
                books.lost(digest);
                None
            }
            (false, None) => None,
            // Stored by somebody else, or going: then `found` doesn't take it in.
            (false, Some(lying)) => {
                let mut books = self.books();
                books.found(*digest, lying.bytes, lying.changed);
                let pinned = books.pin(digest, now);
                drop(books);
                pinned.then(|| self.pinned(*digest))
            }
        }
    }

    fn pinned(self: &Arc<Self>, digest: Digest) -> InUse {
        InUse(Arc::new(Pin { shelf: self.clone(), digest, path: self.store.file(&digest) }))
    }

    /// Stores what the stream brings.
    pub async fn store<S, E>(self: &Arc<Self>, chunks: S) -> Result<(Digest, u64, InUse), BlobError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: fmt::Display,
    {
        let shelf = self.clone();
        let stored = move |digest, bytes| shelf.books().stored(digest, bytes, shelf.now(), true);
        let (digest, bytes) = self.store.put_stream_and(chunks, stored).await?;
        Ok((digest, bytes, self.pinned(digest)))
    }

    /// Makes a blob of what has come in, if it is what it should be.
    pub async fn finish(self: &Arc<Self>, digest: Digest, partial: Partial) -> Result<Option<InUse>, BlobError> {
        let shelf = self.clone();
        let stored = move |bytes| shelf.books().stored(digest, bytes, shelf.now(), true);
        Ok(partial.finish(stored).await?.then(|| self.pinned(digest)))
    }

    /// Whether it is on the disk and has the right hash.
    pub async fn is_sound(&self, digest: Digest) -> Result<bool, BlobError> {
        let store = self.store.clone();
        blocking(move || store.is_sound(&digest)).await
    }

    /// Marks the blob as stored just now; false where it isn't here.
    pub async fn renew(self: &Arc<Self>, digest: Digest) -> Result<bool, BlobError> {
        let shelf = self.clone();
        blocking(move || {
            let stored = |bytes| shelf.books().stored(digest, bytes, shelf.now(), false);
            shelf.store.renew(&digest, stored)
        })
        .await
    }

    /// Bytes of a blob that is here.
    pub async fn size(&self, here: &InUse) -> Result<u64, BlobError> {
        let path = here.to_path_buf();
        blocking(move || Ok(std::fs::metadata(&path).map_err(BlobError::io(&path))?.len())).await
    }

    /// The whole content, checked; it is kept in memory where it fits.
    pub async fn read(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        count(&self.counters.disk_reads, 1);
        let bytes = Bytes::from(self.store.get(digest).await?);
        self.memory().put(*digest, bytes.clone());
        Ok(bytes)
    }

    /// Removes what may go, and more of it where that is needed for `extra` bytes; says which.
    pub async fn tidy(self: &Arc<Self>, extra: u64) -> Result<Vec<Digest>, BlobError> {
        let shelf = self.clone();
        blocking(move || {
            let chosen = shelf.books().choose(shelf.now(), extra);
            shelf.remove(&chosen)?;
            Ok(chosen)
        })
        .await
    }

    /// For a thread that may block.
    fn remove(&self, chosen: &[Digest]) -> Result<(), BlobError> {
        let mut failed = None;
        for digest in chosen {
            self.memory().remove(digest);
            let removed = self.store.remove_if(digest, || self.books().is_going(digest));
            self.books().lost(digest);
            match removed {
                Ok(removed) => count(&self.counters.removed, u64::from(removed)),
                // The next look at the disk finds it again.
                Err(e) => failed = Some(e),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Brings the books into line with the disk, which others may have changed.
    pub async fn look(self: &Arc<Self>) -> Result<(), BlobError> {
        let shelf = self.clone();
        blocking(move || {
            // In this order: what is stored or removed in between is looked at once more below.
            let booked = shelf.books().unread();
            let there = shelf.store.list()?;
            let files: HashSet<Digest> = there.iter().map(|lying| lying.digest).collect();
            for lying in there {
                let mut books = shelf.books();
                if !books.is_here(&lying.digest) {
                    books.found(lying.digest, lying.bytes, lying.changed);
                }
            }
            for digest in booked.iter().filter(|digest| !files.contains(digest)) {
                if shelf.store.look(digest).is_none() {
                    shelf.books().lost(digest);
                }
            }
            Ok(())
        })
        .await
    }

    pub fn stats(&self) -> BlobStats {
        let stats = self.counters.read();
        let (blobs, disk_bytes) = {
            let books = self.books();
            (books.len() as u64, books.bytes())
        };
        BlobStats { blobs, disk_bytes, memory_bytes: self.memory().bytes(), ..stats }
    }
}
