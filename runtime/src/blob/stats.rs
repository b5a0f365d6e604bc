//! What has been done with blobs, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted since the start of this node; sizes are those of this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobStats {
    /// Pieces given to other nodes.
    pub served_pieces: u64,
    /// Bytes given to other nodes.
    pub served_bytes: u64,
    /// Bytes that came in from other nodes.
    pub fetched_bytes: u64,
    /// Blobs that came in whole from other nodes.
    pub fetched: u64,
    /// Times that what came in was not what its name says.
    pub damaged: u64,
    /// Blobs read from this node's disk as a whole.
    pub disk_reads: u64,
    /// Blobs removed from this node's disk by age, for room, or with their holder.
    pub removed: u64,
    /// Blobs on this node's disk.
    pub blobs: u64,
    /// Bytes of them.
    pub disk_bytes: u64,
    /// Bytes of blobs in memory.
    pub memory_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub served_pieces: AtomicU64,
    pub served_bytes: AtomicU64,
    pub fetched_bytes: AtomicU64,
    pub fetched: AtomicU64,
    pub damaged: AtomicU64,
    pub disk_reads: AtomicU64,
    pub removed: AtomicU64,
}

impl Counters {
    pub fn read(&self) -> BlobStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BlobStats {
            served_pieces: read(&self.served_pieces),
            served_bytes: read(&self.served_bytes),
            fetched_bytes: read(&self.fetched_bytes),
            fetched: read(&self.fetched),
            damaged: read(&self.damaged),
            disk_reads: read(&self.disk_reads),
            removed: read(&self.removed),
            ..BlobStats::default()
        }
    }
}

pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
