//! What ractor_cluster reads and writes: a buffered stream that counts, gives up on silence and can be closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf, ReadHalf, WriteHalf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::link::Link;
use crate::net::PlaneStream;

/// ractor_cluster reads a length at a time: unbuffered, that is two system calls a message.
const READ_BUFFER: usize = 64 << 10;

/// A link's stream on its way into ractor_cluster.
pub(super) struct Transport {
    pub stream: PlaneStream,
    pub link: Arc<Link>,
    pub read_deadline: Duration,
}

impl ClusterBidiStream for Transport {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let Self { stream, link, read_deadline } = *self;
        let (read, write) = tokio::io::split(stream);
        let incoming = Incoming {
            io: read,
            silence: Box::pin(sleep(read_deadline)),
            limit: read_deadline,
            closed: Box::pin(link.closed.clone().cancelled_owned()),
            link: link.clone(),
        };
        (Box::new(BufReader::with_capacity(READ_BUFFER, incoming)), Box::new(Outgoing { io: write, link }))
    }

    /// By this the session is found again.
    fn peer_label(&self) -> Option<String> {
        Some(self.link.id.to_string())
    }
}

struct Incoming {
    io: ReadHalf<PlaneStream>,
    silence: Pin<Box<Sleep>>,
    limit: Duration,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    link: Arc<Link>,
}

impl AsyncRead for Incoming {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.link.closed.is_cancelled() || this.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let Poll::Ready(result) = Pin::new(&mut this.io).poll_read(cx, buf) else {
            ready!(this.silence.as_mut().poll(cx));
            this.link.close("the peer was silent for too long");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        let came = buf.filled().len() - before;
        if result.is_err() || came == 0 {
            this.link.close("the peer closed the connection");
        } else {
            this.link.read.fetch_add(came as u64, Ordering::Relaxed);
            this.silence.as_mut().reset(Instant::now() + this.limit);
        }
        Poll::Ready(result)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.link.close("its session ended");
    }
}

struct Outgoing {
    io: WriteHalf<PlaneStream>,
    link: Arc<Link>,
}

impl AsyncWrite for Outgoing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        match &result {
            Ok(went) => self.link.written.fetch_add(*went as u64, Ordering::Relaxed),
            Err(_) => {
                self.link.close("the connection failed");
                0
            }
        };
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
