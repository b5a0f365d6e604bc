//! Which blobs are here, who needs them, and which may go: the books of a store. Pure; the disk follows what they say.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::{Digest, Holder};
use crate::time::Timestamp;

/// When a blob may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// This node keeps blobs for all: one goes when nobody has held or used it for `grace`.
    Keep { grace: Duration },
    /// Another node keeps them, this one has copies: those that were not used for the longest time go beyond `bytes`, and
    /// what wasn't used for `idle` goes in any case.
    Cache { bytes: u64, idle: Duration },
}

/// Invariant: a blob is in `here`, in `going`, or in neither; `holders` and `held` are one relation seen from both ends.
#[derive(Debug)]
pub(super) struct Books {
    policy: Policy,
    here: HashMap<Digest, Entry>,
    /// Chosen to go, and perhaps gone from the disk by now.
    going: HashSet<Digest>,
    holders: HashMap<Digest, BTreeSet<Holder>>,
    held: HashMap<Holder, BTreeSet<Digest>>,
    bytes: u64,
    /// The holders of earlier lives are known again. Before that nobody can say that a blob isn't needed.
    complete: bool,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    /// When it was last stored, used or released.
    since: Timestamp,
    /// The order of those; the wall clock may be set back.
    order: u64,
    /// How many are reading it.
    pins: u32,
    /// It was deleted while it was being read.
    doomed: bool,
}

impl Books {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            here: HashMap::new(),
            going: HashSet::new(),
            holders: HashMap::new(),
            held: HashMap::new(),
            bytes: 0,
            complete: false,
            uses: 0,
        }
    }

    /// The blob has just been stored; it is being read once more than before if `pinned`.
    pub fn stored(&mut self, digest: Digest, bytes: u64, now: Timestamp, pinned: bool) {
        self.going.remove(&digest);
        let order = self.next();
        let fresh = Entry { bytes: 0, since: now, order, pins: 0, doomed: false };
        let entry = self.here.entry(digest).or_insert(fresh);
        self.bytes = self.bytes - entry.bytes + bytes;
        entry.bytes = bytes;
        entry.since = now;
        entry.order = order;
        entry.doomed = false;
        entry.pins += u32::from(pinned);
    }

    /// The blob was found on the disk, last changed at `since`. What is known of it already is better.
    pub fn found(&mut self, digest: Digest, bytes: u64, since: Timestamp) {
        if self.here.contains_key(&digest) || self.going.contains(&digest) {
            return;
        }
        let order = self.next();
        self.bytes += bytes;
        self.here.insert(digest, Entry { bytes, since, order, pins: 0, doomed: false });
    }

    /// It isn't on the disk any more, whoever removed it. One that is being read stays in the books until that ends.
    pub fn lost(&mut self, digest: &Digest) {
        self.going.remove(digest);
        if self.here.get(digest).is_some_and(|entry| entry.pins == 0) {
            self.drop_entry(digest);
        }
    }

    /// Somebody begins to read it. False: it isn't here.
    pub fn pin(&mut self, digest: &Digest, now: Timestamp) -> bool {
        let order = self.next();
        let Some(entry) = self.here.get_mut(digest) else { return false };
        entry.pins += 1;
        entry.since = now;
        entry.order = order;
        true
    }

    /// Ends one reading.
    pub fn unpin(&mut self, digest: &Digest, now: Timestamp) {
        let order = self.next();
        if let Some(entry) = self.here.get_mut(digest) {
            entry.pins = entry.pins.saturating_sub(1);
            entry.since = now;
            entry.order = order;
        }
    }

    pub fn hold(&mut self, digest: Digest, holder: Holder) {
        if let Some(entry) = self.here.get_mut(&digest) {
            entry.doomed = false;
        }
        self.held.entry(holder.clone()).or_default().insert(digest);
        self.holders.entry(digest).or_default().insert(holder);
    }

    /// Its age begins to count when the last holder has released it.
    pub fn release(&mut self, digest: &Digest, holder: &Holder, now: Timestamp) {
        if let Some(held) = self.held.get_mut(holder) {
            held.remove(digest);
            if held.is_empty() {
                self.held.remove(holder);
            }
        }
        let Some(holders) = self.holders.get_mut(digest) else { return };
        if holders.remove(holder) && holders.is_empty() {
            self.holders.remove(digest);
            let order = self.next();
            if let Some(entry) = self.here.get_mut(digest) {
                entry.since = now;
                entry.order = order;
            }
        }
    }

    /// Releases all that it holds, and gives what nobody else holds: that has no reason to wait for its age. Nothing of it
    /// is given while the holders of earlier lives aren't known.
    pub fn release_all(&mut self, holder: &Holder, now: Timestamp) -> Vec<Digest> {
        let held: Vec<Digest> = self.held.get(holder).into_iter().flatten().copied().collect();
        held.iter().for_each(|digest| self.release(digest, holder, now));
        if !self.complete {
            return Vec::new();
        }
        let unheld: Vec<Digest> = held.into_iter().filter(|digest| !self.holders.contains_key(digest)).collect();
        unheld.iter().for_each(|digest| self.doom(digest));
        unheld
    }

    /// It is to go as soon as nobody reads it.
    pub fn doom(&mut self, digest: &Digest) {
        if let Some(entry) = self.here.get_mut(digest) {
            entry.doomed = true;
        }
    }

    /// All holders of earlier lives are known by now.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Chooses what is to go, with room for `extra` bytes more; from here on it isn't here any more.
    pub fn choose(&mut self, now: Timestamp, extra: u64) -> Vec<Digest> {
        let chosen = match self.policy {
            Policy::Keep { .. } if !self.complete => Vec::new(),
            Policy::Keep { grace } => self.aged(now, grace),
            Policy::Cache { bytes, idle } => self.least_used(now, idle, bytes, extra),
        };
        for digest in &chosen {
            self.drop_entry(digest);
            self.going.insert(*digest);
        }
        chosen
    }

    fn aged(&self, now: Timestamp, grace: Duration) -> Vec<Digest> {
        let free = self.here.iter().filter(|(digest, entry)| entry.pins == 0 && !self.holders.contains_key(digest));
        let aged = free.filter(|(_, entry)| entry.doomed || now.since(entry.since) >= grace);
        aged.map(|(digest, _)| *digest).collect()
    }

    fn least_used(&self, now: Timestamp, idle: Duration, cap: u64, extra: u64) -> Vec<Digest> {
        let mut free: Vec<_> = self.here.iter().filter(|(_, entry)| entry.pins == 0).collect();
        free.sort_by_key(|(_, entry)| entry.order);
        let mut left = self.bytes.saturating_add(extra);
        let goes = |entry: &Entry, left: u64| left > cap || entry.doomed || now.since(entry.since) >= idle;
        let mut chosen = Vec::new();
        for (digest, entry) in free {
            if goes(entry, left) {
                left -= entry.bytes;
                chosen.push(*digest);
            }
        }
        chosen
    }

    /// Whether it is still to go: it wasn't stored again since it was chosen.
    pub fn is_going(&self, digest: &Digest) -> bool {
        self.going.contains(digest)
    }

    /// What is in the books and isn't being read: what a look at the disk can prove wrong.
    pub fn unread(&self) -> Vec<Digest> {
        self.here.iter().filter(|(_, entry)| entry.pins == 0).map(|(digest, _)| *digest).collect()
    }

    /// Whether more is here than may be, so that a choice is worth the work.
    pub fn is_over(&self, extra: u64) -> bool {
        matches!(self.policy, Policy::Cache { bytes, .. } if self.bytes.saturating_add(extra) > bytes)
    }

    pub fn is_here(&self, digest: &Digest) -> bool {
        self.here.contains_key(digest)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.here.len()
    }

    fn drop_entry(&mut self, digest: &Digest) {
        if let Some(entry) = self.here.remove(digest) {
            self.bytes -= entry.bytes;
        }
    }

    fn next(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}
