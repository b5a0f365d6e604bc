//! The task that writes to the bulk connection: what fits a chunk goes whole, larger messages take turns.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;

use super::LaneError;
use super::frame::{ANSWER, Header, Kind};

/// Bytes that are gathered before they are written.
const GATHERED: usize = 256 << 10;
/// Pieces that one write is given.
const SLICES: usize = 64;

/// Something to write. The queue has no bound of its own: what is in it has been counted already, messages by their
/// channel, answers by what they hold.
pub(super) struct Out {
    pub header: Header,
    pub body: Body,
    pub held: Option<Held>,
}

/// Bytes that are counted until they are written.
pub(super) struct Held {
    count: Arc<AtomicU64>,
    bytes: u64,
}

impl Held {
    /// Counts so many more, unless they would be more than `limit` with those that are there.
    pub fn add(count: &Arc<AtomicU64>, bytes: u64, limit: u64) -> Option<Self> {
        let more = |held: u64| held.checked_add(bytes).filter(|all| *all <= limit);
        count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Self { count: count.clone(), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A body in the parts in which it lies in memory.
#[derive(Default)]
pub(super) struct Body {
    pub head: Bytes,
    pub attached: Vec<Bytes>,
}

impl Body {
    pub fn of(head: impl Into<Bytes>) -> Self {
        Self { head: head.into(), attached: Vec::new() }
    }

    fn len(&self) -> usize {
        self.head.len() + self.attached.iter().map(Bytes::len).sum::<usize>()
    }

    pub fn parts(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.head).chain(&self.attached)
    }
}

/// A large message on its way.
struct Large {
    header: Header,
    parts: VecDeque<Bytes>,
    _held: Option<Held>,
}

impl Large {
    /// Takes the next piece, of `chunk` bytes at most.
    fn next(&mut self, chunk: usize) -> Option<Bytes> {
        let front = self.parts.front_mut()?;
        let piece = front.split_to(chunk.min(front.len()));
        if front.is_empty() {
            self.parts.pop_front();
        }
        Some(piece)
    }
}

/// Writes until the queue is closed.
pub(super) async fn write_bulk<W: AsyncWrite + Unpin>(
    mut io: W,
    mut queue: UnboundedReceiver<Out>,
    chunk: usize,
) -> Result<(), LaneError> {
    let mut turns: VecDeque<Large> = VecDeque::new();
    let mut pieces = Pieces::default();
    loop {
        if turns.is_empty() {
            let Some(out) = queue.recv().await else { return Ok(io.shutdown().await?) };
            turns.extend(pieces.add(out, chunk));
        }
        while pieces.bytes < GATHERED
            && let Ok(out) = queue.try_recv()
        {
            turns.extend(pieces.add(out, chunk));
        }
        if let Some(mut large) = turns.pop_front()
            && let Some(piece) = large.next(chunk)
        {
            pieces.frame(Header { kind: Kind::Chunk, head: 0, ..large.header }, [piece]);
            turns.push_back(large);
        }
        pieces.write(&mut io).await?;
        if turns.is_empty() && queue.is_empty() {
            io.flush().await?;
        }
    }
}

/// What is to be written next, in pieces that stay where they lie.
#[derive(Default)]
struct Pieces {
    queue: VecDeque<Bytes>,
    bytes: usize,
    headers: BytesMut,
}

impl Pieces {
    /// Adds a message that fits a chunk, and small frames such as the opening of a channel, whole; only announces a larger
    /// one, and gives it back.
    fn add(&mut self, Out { header, body, held }: Out, chunk: usize) -> Option<Large> {
        let flags = match header.kind {
            Kind::Answer => header.flags | ANSWER,
            _ => header.flags,
        };
        if body.len() <= chunk {
            self.frame(header, std::iter::once(body.head).chain(body.attached));
            return None;
        }
        let header = Header { flags, ..header };
        let len = (body.len() as u64).to_le_bytes();
        self.frame(Header { kind: Kind::Begin, ..header }, [Bytes::copy_from_slice(&len)]);
        let parts = body.parts().filter(|part| !part.is_empty()).cloned().collect();
        Some(Large { header, parts, _held: held })
    }

    fn frame(&mut self, header: Header, body: impl IntoIterator<Item = Bytes>) {
        let at = self.queue.len();
        self.queue.extend(body.into_iter().filter(|part| !part.is_empty()));
        let parts: Vec<&[u8]> = self.queue.range(at..).map(|part| &part[..]).collect();
        header.put(&mut self.headers, &parts);
        let header = self.headers.split().freeze();
        self.bytes += header.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        self.queue.insert(at, header);
    }

    async fn write<W: AsyncWrite + Unpin>(&mut self, io: &mut W) -> io::Result<()> {
        while !self.queue.is_empty() {
            let written = {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let mut given = 0;
                for (slice, piece) in slices.iter_mut().zip(&self.queue) {
                    *slice = IoSlice::new(piece);
                    given += 1;
                }
                std::future::poll_fn(|cx| Pin::new(&mut *io).poll_write_vectored(cx, &slices[..given])).await?
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        self.bytes = 0;
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                return front.advance(written);
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }
}
