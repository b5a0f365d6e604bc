//! The tasks that write.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;

use super::LaneError;
use super::frame::{ANSWER, Header, Kind};
use super::inbound::Inbound;

/// Frames that are taken out of the queue at once.
const BATCH: usize = 256;
/// A body up to this size is copied beside others; a larger one is written from where it lies.
const COPIED: usize = 16 << 10;
/// What is gathered before it is written.
const GATHERED: usize = 64 << 10;

/// Something to write. The queues have no bound of their own: what is in them has been counted already, messages by their
/// channel and answers by the questions that were let in.
pub(super) enum Out {
    Frame(Header, Body),
    /// Tell the other side what has been taken here.
    Credits,
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

    fn parts(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.head).chain(&self.attached)
    }
}

/// Writes whole frames, many at a time, until the queue is closed.
pub(super) async fn write_interactive<W: AsyncWrite + Unpin>(
    mut io: W,
    mut queue: UnboundedReceiver<Out>,
    inbound: Arc<Inbound>,
) -> Result<(), LaneError> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut gathered = BytesMut::with_capacity(2 * GATHERED);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        for out in batch.drain(..) {
            match out {
                Out::Credits => inbound.put_credits(&mut gathered),
                Out::Frame(header, body) => put(&mut io, &mut gathered, header, &body).await?,
            }
            if gathered.len() >= GATHERED {
                io.write_all_buf(&mut gathered).await?;
            }
        }
        io.write_all_buf(&mut gathered).await?;
        io.flush().await?;
    }
    Ok(io.shutdown().await?)
}

async fn put<W: AsyncWrite + Unpin>(
    io: &mut W,
    gathered: &mut BytesMut,
    header: Header,
    body: &Body,
) -> Result<(), LaneError> {
    let parts: Vec<&[u8]> = body.parts().map(|part| &part[..]).collect();
    header.put(gathered, &parts);
    if body.len() <= COPIED {
        parts.iter().for_each(|part| gathered.extend_from_slice(part));
        return Ok(());
    }
    io.write_all_buf(gathered).await?;
    for part in parts {
        io.write_all(part).await?;
    }
    Ok(())
}

/// A large message on its way.
struct Large {
    header: Header,
    parts: VecDeque<Bytes>,
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

/// Writes large messages in chunks, one of each in turn.
pub(super) async fn write_bulk<W: AsyncWrite + Unpin>(
    mut io: W,
    mut queue: UnboundedReceiver<Out>,
    chunk: usize,
) -> Result<(), LaneError> {
    let mut turns: VecDeque<Large> = VecDeque::new();
    let mut start = BytesMut::with_capacity(256);
    loop {
        let next = match turns.is_empty() {
            true => match queue.recv().await {
                Some(out) => Some(out),
                None => return Ok(io.shutdown().await?),
            },
            false => queue.try_recv().ok(),
        };
        if let Some(Out::Frame(header, body)) = next {
            turns.extend(begin(&mut start, header, body));
            io.write_all_buf(&mut start).await?;
        }
        if let Some(mut large) = turns.pop_front()
            && let Some(piece) = large.next(chunk)
        {
            Header { kind: Kind::Chunk, head: 0, ..large.header }.put(&mut start, &[&piece]);
            io.write_all_buf(&mut start).await?;
            io.write_all(&piece).await?;
            turns.push_back(large);
        }
        if turns.is_empty() {
            io.flush().await?;
        }
    }
}

/// Announces a large message, or writes a small frame (the opening of a channel) whole.
fn begin(start: &mut BytesMut, header: Header, body: Body) -> Option<Large> {
    let flags = match header.kind {
        Kind::Deliver => 0,
        Kind::Answer => ANSWER,
        _ => {
            header.put(start, &[&body.head]);
            start.extend_from_slice(&body.head);
            return None;
        }
    };
    let header = Header { flags, ..header };
    let len = (body.len() as u64).to_le_bytes();
    Header { kind: Kind::Begin, ..header }.put(start, &[&len]);
    start.extend_from_slice(&len);
    let parts = body.parts().filter(|part| !part.is_empty()).cloned().collect();
    Some(Large { header, parts })
}
