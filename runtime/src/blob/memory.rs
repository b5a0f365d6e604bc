//! Blobs that are asked for often, in memory.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::Digest;

/// The most recently used ones, up to a number of bytes. What is dropped here is on the disk anyway, and who has the bytes
/// keeps them.
#[derive(Debug)]
pub(super) struct Memory {
    limit: u64,
    bytes: u64,
    uses: u64,
    blobs: HashMap<Digest, (Bytes, u64)>,
    order: BTreeMap<u64, Digest>,
}

impl Memory {
    pub fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, uses: 0, blobs: HashMap::new(), order: BTreeMap::new() }
    }

    pub fn get(&mut self, digest: &Digest) -> Option<Bytes> {
        let (bytes, used) = self.blobs.get_mut(digest)?;
        self.uses += 1;
        self.order.remove(used);
        self.order.insert(self.uses, *digest);
        *used = self.uses;
        Some(bytes.clone())
    }

    /// A blob of more than a quarter of the limit would push out too many others: it is left to the disk.
    pub fn put(&mut self, digest: Digest, bytes: Bytes) {
        let len = bytes.len() as u64;
        if len > self.limit / 4 || self.get(&digest).is_some() {
            return;
        }
        self.uses += 1;
        self.bytes += len;
        self.order.insert(self.uses, digest);
        self.blobs.insert(digest, (bytes, self.uses));
        while self.bytes > self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.forget(&oldest);
        }
    }

    pub fn remove(&mut self, digest: &Digest) {
        if let Some((_, used)) = self.blobs.get(digest) {
            self.order.remove(used);
            self.forget(digest);
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn forget(&mut self, digest: &Digest) {
        if let Some((bytes, _)) = self.blobs.remove(digest) {
            self.bytes -= bytes.len() as u64;
        }
    }
}
