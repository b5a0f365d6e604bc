//! The sending end of the interactive connection.
//!
//! Frames are gathered in one buffer, in the order in which they are put there. Whoever may write takes all that is
//! gathered: after a moment of silence the sender itself, from its own task, because a message that comes alone gains
//! nothing by waiting and each change of task costs it microseconds; in a crowd the writer's task, many frames at a time.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;
use tokio::sync::Notify;

use super::LaneError;
use super::frame::Header;

/// So long without a frame, and the next one is written at once. Less than the time in which a question is answered, so
/// that one after the other each is written at once; more than the time between the messages of a crowd.
const QUIET: Duration = Duration::from_micros(15);
/// From here on a sender writes too: there is enough for a system call, and it would outrun the writer's task.
const MUCH: usize = 64 << 10;
/// A buffer that has grown larger than this is given back when it has been written.
const KEPT: usize = 1 << 20;

/// What waits to be written has no bound of its own: messages have been counted already by their channel, and answers ask
/// how much waits.
pub(super) struct Outbox {
    gathered: Mutex<Gathered>,
    wire: Mutex<Wire>,
    /// There is something for the writer's task to do.
    due: Notify,
    began: Instant,
    /// When the last frame was put, in nanoseconds since it began.
    last: AtomicU64,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// Somebody has undertaken to write it.
    told: bool,
    closed: bool,
}

struct Wire {
    io: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    writing: Vec<u8>,
    /// How much of it has been written.
    at: usize,
    /// The connection takes no more at present: the writer's task waits for it, and nobody else may.
    stuck: bool,
    /// Why a sender's own write failed, for the writer's task to hear.
    failed: Option<io::Error>,
}

impl Outbox {
    pub fn new(io: impl AsyncWrite + Send + Unpin + 'static) -> Arc<Self> {
        let wire = Wire { io: Some(Box::new(io)), writing: Vec::new(), at: 0, stuck: false, failed: None };
        Arc::new(Self {
            gathered: Mutex::default(),
            wire: Mutex::new(wire),
            due: Notify::new(),
            began: Instant::now(),
            last: AtomicU64::new(0),
        })
    }

    /// Adds a frame with this body. Somebody has to [`Self::flush`] afterwards.
    pub fn put(&self, header: Header, body: &[&[u8]]) {
        self.put_with(|out| {
            header.put(out, body);
            body.iter().for_each(|part| out.extend_from_slice(part));
        });
    }

    /// Adds what `write` appends: whole frames.
    pub fn put_with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut gathered = lock(&self.gathered);
        if !gathered.closed {
            write(&mut gathered.bytes);
        }
    }

    /// Bytes that aren't being written yet.
    pub fn waiting(&self) -> usize {
        lock(&self.gathered).bytes.len()
    }

    /// Sees to it that what was put gets written: by now, or soon.
    pub fn flush(&self) {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let quiet = now.saturating_sub(self.last.swap(now, Ordering::Relaxed)) > QUIET.as_nanos() as u64;
        let (len, told) = {
            let mut gathered = lock(&self.gathered);
            (gathered.bytes.len(), std::mem::replace(&mut gathered.told, true))
        };
        if (quiet && !told) || len >= MUCH {
            self.write_here();
        } else if !told {
            self.due.notify_one();
        }
    }

    /// The writer's task: writes what nobody else has written, until the lane ends.
    pub async fn write(self: Arc<Self>) -> Result<(), LaneError> {
        /// However this task ends, nothing is gathered any more and the connection is given up.
        struct Close(Arc<Outbox>);
        impl Drop for Close {
            fn drop(&mut self) {
                *lock(&self.0.gathered) = Gathered { closed: true, ..Gathered::default() };
                lock(&self.0.wire).io = None;
            }
        }
        let here = Close(self);
        loop {
            here.0.due.notified().await;
            // Whoever else is ready to send goes first: it was woken by the same answers, and goes into the same write.
            tokio::task::yield_now().await;
            std::future::poll_fn(|cx| lock(&here.0.wire).poll_write(cx, &here.0.gathered)).await?;
        }
    }

    /// Writes without waiting; leaves the rest to the writer's task.
    fn write_here(&self) {
        if let Ok(mut wire) = self.wire.try_lock()
            && !wire.stuck
        {
            match wire.poll_write(&mut Context::from_waker(Waker::noop()), &self.gathered) {
                Poll::Ready(Ok(())) => return,
                Poll::Ready(Err(e)) => wire.failed = Some(e),
                Poll::Pending => {}
            }
        }
        // It goes on where this stopped, or hears of the failure.
        self.due.notify_one();
    }
}

impl Wire {
    /// Writes all that is gathered, and flushes.
    fn poll_write(&mut self, cx: &mut Context<'_>, gathered: &Mutex<Gathered>) -> Poll<io::Result<()>> {
        // Until proven otherwise: an early return leaves the rest to the writer's task.
        self.stuck = true;
        if let Some(e) = self.failed.take() {
            return Poll::Ready(Err(e));
        }
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        loop {
            while self.at < self.writing.len() {
                match ready!(Pin::new(&mut *io).poll_write(cx, &self.writing[self.at..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => self.at += written,
                }
            }
            self.at = 0;
            self.writing.clear();
            if self.writing.capacity() > KEPT {
                self.writing = Vec::new();
            }
            let mut gathered = lock(gathered);
            gathered.told = false;
            if gathered.bytes.is_empty() {
                break;
            }
            std::mem::swap(&mut self.writing, &mut gathered.bytes);
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        self.stuck = false;
        Poll::Ready(Ok(()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
