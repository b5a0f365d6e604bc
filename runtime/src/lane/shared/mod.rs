//! Large messages between two nodes of one machine: through memory that both have, instead of a connection.
//!
//! The sender makes segments as it needs them, and offers them; once the other node has one open, the sender may fill it
//! with a message and send a short frame in its place. The message is read where it lies. When the actor there has let go
//! of it the segment is returned, and takes the next one: so both nodes touch the same memory again and again. All else is
//! as for other messages: their order, their bounds, what becomes of a refused one. Where nothing can be shared, or none is
//! free, a message takes its connection.

mod memory;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wincode::{SchemaRead, SchemaWrite};

use self::memory::{Segment, View, Whereabouts};
use super::frame::{Header, Kind};
use super::outbox::Outbox;
use super::{LaneError, LaneOptions};
use crate::actor::Parcel;
use crate::codec;

/// Room in the smallest segment. Larger ones come in steps of an eighth of their size.
const SMALLEST: usize = 256 << 10;
/// A message takes no segment that is so many times larger.
const WASTE: usize = 2;
/// Segments that are offered and not opened yet.
const OFFERED: usize = 2;
/// Segments that one node may have open of another.
const OPEN: usize = 1024;

/// Where a message lies: the body of a frame that stands for it.
#[derive(SchemaWrite, SchemaRead)]
struct Lies {
    segment: u32,
    len: u64,
}

/// The sender's segments.
pub(super) struct Lending {
    from: usize,
    limit: usize,
    state: Mutex<Lent>,
}

#[derive(Default)]
struct Lent {
    /// The other node can't have any.
    off: bool,
    last: u32,
    /// Bytes of all segments.
    bytes: usize,
    offered: HashMap<u32, Segment>,
    /// The one that was used last is at the end.
    free: Vec<(u32, Segment, Instant)>,
    /// Hold messages that the other node may be reading.
    in_use: HashMap<u32, Segment>,
    #[cfg(test)]
    sent: usize,
}

impl Lending {
    pub fn new(options: &LaneOptions) -> Self {
        let size = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        let (from, limit) = (size(options.shared_from), size(options.shared_memory));
        Self { from: from.max(1), limit, state: Mutex::default() }
    }

    /// A segment for a message of so many bytes, if one is free.
    pub fn take(&self, len: usize) -> Option<Taken<'_>> {
        if len < self.from || self.limit == 0 {
            return None;
        }
        let mut state = self.lock();
        let fits = |segment: &Segment| segment.capacity() >= len && segment.capacity() <= room(len) * WASTE;
        let at = state.free.iter().rposition(|(_, segment, _)| fits(segment))?;
        let (id, segment, _) = state.free.remove(at);
        Some(Taken { lending: self, id, segment: Some(segment) })
    }

    /// Writes the offer of a segment for messages of so many bytes into `out`, where one more may be made. Free ones of
    /// other sizes make room for it.
    pub fn offer(&self, len: usize, out: &Outbox) {
        let room = room(len);
        if len < self.from || room > self.limit {
            return;
        }
        let mut state = self.lock();
        if state.off || state.offered.len() >= OFFERED {
            return;
        }
        while state.bytes + room > self.limit && !state.free.is_empty() {
            let (id, segment, _) = state.free.remove(0);
            state.give_up(id, segment, out);
        }
        if state.bytes + room > self.limit {
            return;
        }
        let made = Segment::new(room).and_then(|segment| Ok((segment.whereabouts()?, segment)));
        let offer = made.and_then(|made| Ok((codec::encode(&made.0).map_err(std::io::Error::other)?, made.1)));
        match offer {
            Ok((whereabouts, segment)) => {
                state.last += 1;
                let id = state.last;
                state.bytes += segment.capacity();
                state.offered.insert(id, segment);
                out.put(Header { seq: id, ..Header::new(Kind::Lend) }, &[&whereabouts]);
            }
            Err(error) => {
                tracing::debug!(%error, "no memory is shared with other nodes");
                state.off = true;
            }
        }
    }

    /// The other node has opened what was offered, or can't.
    pub fn opened(&self, id: u32, ok: bool) -> Result<(), LaneError> {
        let mut state = self.lock();
        let offered = state.offered.remove(&id);
        let mut segment = offered.ok_or(LaneError::Protocol("memory that wasn't offered was opened"))?;
        match ok {
            true => {
                segment.opened();
                state.free.push((id, segment, Instant::now()));
            }
            false => {
                state.bytes -= segment.capacity();
                state.off = true;
            }
        }
        Ok(())
    }

    /// Nobody reads what is in it any more.
    pub fn returned(&self, id: u32) -> Result<(), LaneError> {
        let mut state = self.lock();
        let segment = state.in_use.remove(&id).ok_or(LaneError::Protocol("memory that wasn't lent was returned"))?;
        state.free.push((id, segment, Instant::now()));
        Ok(())
    }

    /// Gives up what hasn't been used for so long.
    pub fn sweep(&self, unused: Duration, out: &Outbox) {
        let mut state = self.lock();
        let idle = state.free.iter().take_while(|(_, _, since)| since.elapsed() >= unused).count();
        let idle: Vec<_> = state.free.drain(..idle).collect();
        idle.into_iter().for_each(|(id, segment, _)| state.give_up(id, segment, out));
    }

    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.sent, state.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Lent> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    fn give_up(&mut self, id: u32, segment: Segment, out: &Outbox) {
        self.bytes -= segment.capacity();
        out.put(Header { seq: id, ..Header::new(Kind::Recall) }, &[]);
    }
}

/// The room of the segment that is made for a message of so many bytes.
fn room(len: usize) -> usize {
    let step = (len.next_power_of_two() / 8).max(SMALLEST);
    len.div_ceil(step) * step
}

/// A free segment that is being filled. Dropped before it is sent it is free again.
pub(super) struct Taken<'a> {
    lending: &'a Lending,
    id: u32,
    segment: Option<Segment>,
}

impl Taken<'_> {
    /// Copies the message into it; gives what is to be sent in its place.
    pub fn fill(mut self, parcel: &Parcel) -> Option<Vec<u8>> {
        let len = parcel.len() as u64;
        let parts = std::iter::once(&parcel.head).chain(&parcel.attached).map(|part| &part[..]);
        if !self.segment.as_mut()?.fill(parts) {
            return None;
        }
        let body = codec::encode(&Lies { segment: self.id, len }).ok()?;
        let segment = self.segment.take()?;
        let mut state = self.lending.lock();
        state.in_use.insert(self.id, segment);
        #[cfg(test)]
        {
            state.sent += 1;
        }
        Some(body)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.lending.lock().free.push((self.id, segment, Instant::now()));
        }
    }
}

/// The receiver's views of them.
pub(super) struct Borrowing {
    limit: u64,
    views: Mutex<HashMap<u32, Arc<View>>>,
}

impl Borrowing {
    pub fn new(options: &LaneOptions) -> Self {
        Self { limit: options.shared_memory.as_u64(), views: Mutex::default() }
    }

    /// Opens what is offered; whether that went well.
    pub fn open(&self, id: u32, body: &[u8]) -> Result<bool, LaneError> {
        let whereabouts: Whereabouts = codec::decode(body)?;
        let mut views = self.lock();
        let all: u64 = views.values().map(|view| view.bytes().len() as u64).sum();
        if views.len() >= OPEN || all.saturating_add(whereabouts.len) > self.limit {
            return Ok(false);
        }
        match View::open(&whereabouts) {
            Ok(view) => Ok(views.insert(id, Arc::new(view)).is_none()),
            Err(error) => {
                tracing::debug!(%error, "memory that another node offers isn't used");
                Ok(false)
            }
        }
    }

    pub fn recall(&self, id: u32) {
        self.lock().remove(&id);
    }

    /// The message that a frame stands for. When the last of it is dropped, its memory is returned over `out`.
    pub fn message(&self, body: &[u8], out: &Arc<Outbox>) -> Result<Bytes, LaneError> {
        let Lies { segment, len } = codec::decode(body)?;
        let view = self.lock().get(&segment).cloned();
        let view = view.ok_or(LaneError::Protocol("a message in memory that isn't open"))?;
        match usize::try_from(len) {
            Ok(len) if len <= view.bytes().len() => {
                Ok(Bytes::from_owner(Borrowed { view, len, segment, out: out.clone() }))
            }
            _ => Err(LaneError::Protocol("a message that is larger than the memory it lies in")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<View>>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Borrowed {
    view: Arc<View>,
    len: usize,
    segment: u32,
    out: Arc<Outbox>,
}

impl AsRef<[u8]> for Borrowed {
    fn as_ref(&self) -> &[u8] {
        &self.view.bytes()[..self.len]
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // Of a lane that has ended nothing is written; the memory goes with the last who has it.
        self.out.put(Header { seq: self.segment, ..Header::new(Kind::Return) }, &[]);
        self.out.flush();
    }
}
