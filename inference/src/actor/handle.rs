//! The way to an engine: asks, reads the stream of tokens, and cleans up whatever happens to the caller.

use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::actor::{ActorError, AskError, Ref, System};
use fleet_runtime::supervise::{ChildOptions, Restart};
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::reader::{Reader, TokenItem};
use super::{EngineActor, EngineMsg};
use crate::{
    Completion, EmbedRequest, Embeddings, Engine, EngineError, EngineInfo, EngineStats, Request, TokenEvent,
    TokenLogprob, Usage,
};

/// Events that may be on their way to an asker; then the engine's side joins them.
const READER_MAILBOX: usize = 16;

/// Reaches one engine, here or on another node. A cheap clone; every call has a deadline.
#[derive(Clone)]
pub struct EngineHandle {
    engine: Ref<EngineMsg>,
    /// Where the readers of this handle's requests live.
    system: System,
}

impl EngineHandle {
    /// Puts an actor in front of an engine and gives the way to it. `name` is unique in the system.
    pub async fn start(system: &System, name: impl Into<String>, engine: Arc<dyn Engine>) -> Result<Self, ActorError> {
        let engine = system.spawn::<EngineActor>(name, engine, ChildOptions::default()).await?;
        Ok(Self::new(system, engine))
    }

    /// The way to an engine actor that runs already.
    pub fn new(system: &System, engine: Ref<EngineMsg>) -> Self {
        Self { engine, system: system.clone() }
    }

    /// Asks for a whole reply. `on_text` sees new text and the number of tokens so far as they come.
    ///
    /// When the deadline passes, or the returned future is dropped, the request is cancelled.
    pub async fn complete(
        &self,
        request: Request,
        deadline: Duration,
        mut on_text: impl FnMut(&str, u32) + Send,
    ) -> Result<Completion, EngineError> {
        let started = Instant::now();
        let late = || EngineError::Deadline { after_ms: deadline.as_millis() as u64 };
        // The engine gives up with the asker, even where a cancellation doesn't get through.
        let request = Request { deadline: request.deadline.min(deadline), ..request };
        let mut text = request.assistant_prefix.clone().unwrap_or_default();
        let (info, mut asked) = self.submit(request, deadline).await?;
        let mut logprobs = Vec::new();
        let reading = asked.read(&mut text, &mut logprobs, &mut on_text);
        let left = deadline.saturating_sub(started.elapsed());
        let usage = tokio::time::timeout(left, reading).await.map_err(|_| late())??;
        Ok(Completion { text, logprobs, usage, model: info.model, engine: info.name, mock: info.mock })
    }

    /// Vectors for texts.
    pub async fn embed(&self, texts: Vec<String>, deadline: Duration) -> Result<Embeddings, EngineError> {
        let request = EmbedRequest { texts, deadline_ms: deadline.as_millis() as u64 };
        let asked = self.engine.ask(deadline, |reply| EngineMsg::Embed { request, reply }).await;
        asked.map_err(|e| not_reached(e, deadline))?
    }

    pub async fn info(&self, deadline: Duration) -> Result<EngineInfo, EngineError> {
        self.engine.ask(deadline, EngineMsg::Info).await.map_err(|e| not_reached(e, deadline))
    }

    pub async fn stats(&self, deadline: Duration) -> Result<EngineStats, EngineError> {
        self.engine.ask(deadline, EngineMsg::Stats).await.map_err(|e| not_reached(e, deadline))
    }

    async fn submit(&self, request: Request, deadline: Duration) -> Result<(EngineInfo, Asked), EngineError> {
        let id = request.id;
        let (to_caller, events) = mpsc::channel(READER_MAILBOX);
        let options = ChildOptions { restart: Restart::Temporary, mailbox: READER_MAILBOX, ..ChildOptions::default() };
        // A random part: two askers may send the same request, of which the engine refuses one.
        let name = format!("tokens-{id}-{}", Uuid::new_v4());
        let reader = self.system.spawn::<Reader>(name, to_caller, options).await;
        let reader = reader.map_err(|e| EngineError::Failed(format!("no reader: {e}")))?;
        let sink = reader.clone();
        let mut asked = Asked { id, engine: Some(self.engine.clone()), reader, events };
        let submit = |reply| EngineMsg::Submit { request: Box::new(request), sink, reply };
        let taken = self.engine.ask(deadline, submit).await.map_err(|e| not_reached(e, deadline))?;
        // One that was refused is not ours to cancel: another asker's may have the same id.
        let info = taken.inspect_err(|_| asked.engine = None)?;
        Ok((info, asked))
    }
}

/// After so long without a token the engine is asked whether it is still at work: when its node dies nobody says so.
const SILENCE: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };
/// So many times in a row it must say no: the first time, the last tokens may be on their way.
const DENIALS: u32 = 2;

/// A request in flight. Dropped before its end, it is cancelled.
struct Asked {
    id: Uuid,
    /// Whom to tell of a cancellation; nobody once it was refused or has ended.
    engine: Option<Ref<EngineMsg>>,
    reader: Ref<TokenItem>,
    events: mpsc::Receiver<TokenEvent>,
}

impl Asked {
    async fn read(
        &mut self,
        text: &mut String,
        logprobs: &mut Vec<TokenLogprob>,
        on_text: &mut (impl FnMut(&str, u32) + Send),
    ) -> Result<Usage, EngineError> {
        let (mut total, mut denials) = (0, 0);
        loop {
            let Ok(event) = tokio::time::timeout(SILENCE, self.events.recv()).await else {
                denials = if self.is_lost().await { denials + 1 } else { 0 };
                if denials == DENIALS {
                    self.engine = None;
                    return Err(EngineError::Gone);
                }
                continue;
            };
            match event.ok_or(EngineError::Gone)? {
                TokenEvent::Text { text: more, tokens, logprobs: mut likely } => {
                    total += tokens;
                    logprobs.append(&mut likely);
                    text.push_str(&more);
                    on_text(&more, total);
                }
                TokenEvent::Done(usage) => {
                    self.engine = None;
                    return Ok(usage);
                }
                TokenEvent::Failed(error) => {
                    self.engine = None;
                    return Err(error);
                }
            }
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

fn not_reached(error: AskError, deadline: Duration) -> EngineError {
    match error {
        AskError::Busy => EngineError::Busy { queued: 0 },
        AskError::Gone => EngineError::Gone,
        AskError::NotSent(why) => EngineError::Failed(format!("the engine was not reached: {why}")),
        AskError::Unknown(_) => EngineError::Deadline { after_ms: deadline.as_millis() as u64 },
    }
}
