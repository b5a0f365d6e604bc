//! The appender's half of an append: making ready what the writer inserts, and the way to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::options::JournalOptions;
use super::writer::Request;
use crate::id::Position;
use crate::journal::event::NewEvent;
use crate::journal::hash::{Hash, HashedContent};
use crate::journal::store::JournalError;

/// An event as its columns, hashed as far as it can be before its place is known.
pub(super) struct Prepared {
    pub by: String,
    pub kind: String,
    pub version: u16,
    pub caused_by: Option<Position>,
    pub facts: String,
    pub payload: String,
    pub content: Hash,
}

impl Prepared {
    pub fn new(event: &NewEvent, max_bytes: usize) -> Result<Self, JournalError> {
        let facts = serde_json::to_string(&event.facts)?;
        let payload = serde_json::to_string(&event.payload)?;
        let bytes = facts.len() + payload.len();
        if bytes > max_bytes {
            return Err(JournalError::TooLarge { bytes, limit: max_bytes });
        }
        let by = event.by.to_string();
        let content = HashedContent {
            by: &by,
            kind: &event.kind,
            version: event.version,
            caused_by: event.caused_by,
            facts: &facts,
            payload: &payload,
        }
        .hash();
        Ok(Self {
            by,
            kind: event.kind.clone(),
            version: event.version,
            caused_by: event.caused_by,
            facts,
            payload,
            content,
        })
    }

    pub fn bytes(&self) -> usize {
        // The columns beside the text, roughly.
        self.facts.len() + self.payload.len() + 256
    }
}

/// A request on its way to the writer; gives its room back when dropped.
pub(super) struct Queued {
    pub request: Request,
    _room: Option<OwnedSemaphorePermit>,
}

/// The way to the writer, bounded in requests and in bytes.
pub(super) struct Queue {
    requests: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    room_units: u32,
    wait: Duration,
}

/// Room is counted in units of this many bytes.
const UNIT: usize = 1024;

impl Queue {
    pub fn new(options: &JournalOptions) -> (Self, mpsc::Receiver<Queued>) {
        let (requests, receiver) = mpsc::channel(options.queue_requests.max(1));
        let units = options.queue_bytes.as_u64() / UNIT as u64;
        let room_units = u32::try_from(units).unwrap_or(u32::MAX >> 3).clamp(1, u32::MAX >> 3);
        let room = Arc::new(Semaphore::new(room_units as usize));
        (Self { requests, room, room_units, wait: options.wait_for_room }, receiver)
    }

    /// Units of room that appends hold, those in the writer's hands included.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.room_units as usize - self.room.available_permits()
    }

    /// Waits for room, but not for ever.
    pub async fn send(&self, bytes: usize, request: Request) -> Result<(), JournalError> {
        // One append larger than all of the room takes all of it.
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.room_units);
        let enqueue = async {
            let room = self.room.clone().acquire_many_owned(units).await.ok();
            self.requests.send(Queued { request, _room: room }).await
        };
        match timeout(self.wait, enqueue).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(JournalError::Closed(None)),
            Err(_) => Err(JournalError::Busy),
        }
    }
}
