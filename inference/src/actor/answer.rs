//! The answer to one request as it comes, and what is done when its engine falls silent.

use std::time::Duration;

use fleet_runtime::actor::{AskError, Ref};
use futures::{Stream, stream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::EngineMsg;
use super::reader::TokenItem;
use crate::{EngineError, EngineInfo, TokenEvent};

/// After so long without a token the engine is asked whether it is still at work: when its node dies nobody says so.
const SILENCE: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };
/// So many times in a row it must say no: the first time, the last tokens may be on their way.
const DENIALS: u32 = 2;

/// The decoding of one request, wherever its engine is. Dropped before its end, the request is cancelled.
pub struct Answer {
    info: EngineInfo,
    asked: Asked,
    until: Instant,
    deadline: Duration,
    ended: bool,
}

impl Answer {
    pub(super) fn new(info: EngineInfo, asked: Asked, started: Instant, deadline: Duration) -> Self {
        Self { info, asked, until: started + deadline, deadline, ended: false }
    }

    /// The engine that took the request.
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// The next event; none after the last one. Safe to be dropped while it waits.
    pub async fn next(&mut self) -> Option<TokenEvent> {
        if self.ended {
            return None;
        }
        let late = EngineError::Deadline { after_ms: self.deadline.as_millis() as u64 };
        let event = tokio::time::timeout_at(self.until, self.asked.next()).await.unwrap_or(TokenEvent::Failed(late));
        self.ended = !matches!(event, TokenEvent::Text { .. });
        Some(event)
    }

    /// The same as a stream; after the last event it ends.
    pub fn into_stream(self) -> impl Stream<Item = TokenEvent> + Send {
        stream::unfold(self, |mut answer| async move { answer.next().await.map(|event| (event, answer)) })
    }
}

/// A request in flight. Dropped before its end, it is cancelled.
pub(super) struct Asked {
    pub(super) id: Uuid,
    /// Whom to tell of a cancellation; nobody once it was refused or has ended.
    pub(super) engine: Option<Ref<EngineMsg>>,
    pub(super) reader: Ref<TokenItem>,
    pub(super) events: mpsc::Receiver<TokenEvent>,
    denials: u32,
}

impl Asked {
    pub(super) fn new(
        id: Uuid,
        engine: Ref<EngineMsg>,
        reader: Ref<TokenItem>,
        events: mpsc::Receiver<TokenEvent>,
    ) -> Self {
        Self { id, engine: Some(engine), reader, events, denials: 0 }
    }

    async fn next(&mut self) -> TokenEvent {
        loop {
            let event = match tokio::time::timeout(SILENCE, self.events.recv()).await {
                Ok(event) => event.unwrap_or(TokenEvent::Failed(EngineError::Gone)),
                Err(_) => {
                    self.denials = if self.is_lost().await { self.denials + 1 } else { 0 };
                    if self.denials < DENIALS {
                        continue;
                    }
                    TokenEvent::Failed(EngineError::Gone)
                }
            };
            if !matches!(event, TokenEvent::Text { .. }) {
                self.engine = None;
            }
            return event;
        }
    }

    /// Whether the engine says that it has no such request. One that can't be reached may have it.
    async fn is_lost(&self) -> bool {
        let Some(engine) = &self.engine else { return false };
        let question = |reply| EngineMsg::IsDecoding { request: self.id, reply };
        matches!(engine.ask(SILENCE, question).await, Ok(false) | Err(AskError::Gone))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // Both may be gone already. A cancellation that finds a full mailbox is made good by the reader's end:
        // the engine's forwarder finds it gone at the next token.
        if let Some(engine) = self.engine.take() {
            let _ = engine.try_tell(EngineMsg::Cancel(self.id));
        }
        self.events.close();
        let _ = self.reader.try_tell(TokenItem::Close);
    }
}
