//! The tasks that read: frames are slices of what was received, large messages are put together where they will lie.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::LaneError;
use super::frame::{ANSWER, Announced, HEADER, Header, Kind};
use super::session::Session;

/// What is made room for at once.
const READ: usize = 128 << 10;
/// What one read is given. TLS fills the whole of it with zeros first, and brings 16 KiB at most.
const AT_ONCE: usize = 16 << 10;
/// After so many bytes that came without a wait, others have their turn.
const AT_A_STRETCH: usize = 256 << 10;
/// Large messages that one node may have in progress here.
const IN_PROGRESS: usize = 4096;

/// Reads frames until the connection ends, which is always an error.
pub(super) async fn read<R: AsyncRead + Unpin>(io: R, session: Arc<Session>) -> Result<(), LaneError> {
    let mut frames = Frames { io, buffer: BytesMut::with_capacity(2 * READ), stretch: 0 };
    let mut large = Assembly { max: session.max_message(), in_progress: HashMap::new() };
    loop {
        let announced = frames.header().await?;
        if announced.len > large.max {
            return Err(LaneError::Protocol("a frame is larger than a message may be"));
        }
        match announced.header.kind {
            Kind::Begin => large.begin(&announced, &frames.body(&announced).await?)?,
            Kind::Chunk => {
                if let Some((header, whole)) = large.chunk(&announced, &mut frames).await? {
                    session.arrived(header, whole)?;
                }
            }
            _ => session.arrived(announced.header, frames.body(&announced).await?)?,
        }
    }
}

struct Frames<R> {
    io: R,
    buffer: BytesMut,
    /// Bytes since the last pause.
    stretch: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    async fn header(&mut self) -> Result<Announced, LaneError> {
        self.fill(HEADER).await?;
        let bytes = self.buffer.split_to(HEADER);
        let bytes = bytes.first_chunk::<HEADER>().ok_or(LaneError::Closed)?;
        Announced::read(bytes)
    }

    async fn body(&mut self, announced: &Announced) -> Result<Bytes, LaneError> {
        self.fill(announced.len).await?;
        let body = self.buffer.split_to(announced.len).freeze();
        announced.check(&body)?;
        Ok(body)
    }

    /// Reads a body to the end of `target`, without a detour where it isn't here yet.
    async fn body_into(&mut self, announced: &Announced, target: &mut BytesMut) -> Result<(), LaneError> {
        let from = target.len();
        let here = announced.len.min(self.buffer.len());
        target.extend_from_slice(&self.buffer.split_to(here));
        let end = from + announced.len;
        while target.len() < end {
            let missing = (end - target.len()).min(AT_ONCE);
            let came = self.io.read_buf(&mut (&mut *target).limit(missing)).await?;
            self.came(came).await?;
        }
        announced.check(&target[from..])
    }

    async fn fill(&mut self, bytes: usize) -> Result<(), LaneError> {
        if self.buffer.len() < bytes {
            self.buffer.reserve((bytes - self.buffer.len()).max(READ));
        }
        while self.buffer.len() < bytes {
            let came = self.io.read_buf(&mut (&mut self.buffer).limit(AT_ONCE)).await?;
            self.came(came).await?;
        }
        Ok(())
    }

    /// So many bytes have been read. What is read ahead below TLS counts as no wait to tokio, so this does.
    async fn came(&mut self, bytes: usize) -> Result<(), LaneError> {
        if bytes == 0 {
            return Err(LaneError::Closed);
        }
        self.stretch += bytes;
        if self.stretch >= AT_A_STRETCH {
            self.stretch = 0;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Large messages whose chunks are coming in.
struct Assembly {
    max: usize,
    in_progress: HashMap<(u32, u32, u64), Partial>,
}

struct Partial {
    header: Header,
    bytes: BytesMut,
    len: usize,
}

impl Assembly {
    fn begin(&mut self, announced: &Announced, body: &[u8]) -> Result<(), LaneError> {
        let header = announced.header;
        let len = body.first_chunk::<8>().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > self.max || len == 0 {
            return Err(LaneError::Protocol("a message is larger than one may be"));
        }
        if self.in_progress.len() >= IN_PROGRESS {
            return Err(LaneError::Protocol("too many large messages at once"));
        }
        let kind = if header.flags & ANSWER != 0 { Kind::Answer } else { Kind::Deliver };
        let partial = Partial { header: Header { kind, ..header }, bytes: BytesMut::with_capacity(len), len };
        self.in_progress.insert(key(&header), partial);
        Ok(())
    }

    async fn chunk<R: AsyncRead + Unpin>(
        &mut self,
        announced: &Announced,
        frames: &mut Frames<R>,
    ) -> Result<Option<(Header, Bytes)>, LaneError> {
        let key = key(&announced.header);
        let stray = LaneError::Protocol("a chunk of nothing that was begun");
        let partial = self.in_progress.get_mut(&key).ok_or(stray)?;
        if partial.bytes.len() + announced.len > partial.len {
            return Err(LaneError::Protocol("a message is longer than announced"));
        }
        frames.body_into(announced, &mut partial.bytes).await?;
        if partial.bytes.len() < partial.len {
            return Ok(None);
        }
        Ok(self.in_progress.remove(&key).map(|whole| (whole.header, whole.bytes.freeze())))
    }
}

fn key(header: &Header) -> (u32, u32, u64) {
    (header.channel, header.seq, header.port)
}
