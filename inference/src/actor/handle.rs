//! The way to an engine: asks, reads the stream of tokens, and cleans up whatever happens to the caller.

use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::actor::{ActorError, AskError, Ref, System};
use fleet_runtime::supervise::{ChildOptions, Restart};
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::answer::{Answer, Asked};
use super::reader::Reader;
use super::{EngineActor, EngineMsg, Pinned};
use crate::{
    ChatMessage, Completion, EmbedRequest, Embeddings, Engine, EngineError, EngineInfo, EngineStats, Request,
    TokenEvent,
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

    /// The same as a service of the node, which others reach by the node and this name.
    pub async fn serve(system: &System, service: &str, engine: Arc<dyn Engine>) -> Result<Self, ActorError> {
        let engine = system.spawn_service::<EngineActor>(service, engine, ChildOptions::default()).await?;
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
        let mut text = request.assistant_prefix.clone().unwrap_or_default();
        let mut answer = self.stream(request, deadline).await?;
        let (mut logprobs, mut total) = (Vec::new(), 0);
        let usage = loop {
            match answer.next().await.ok_or(EngineError::Gone)? {
                TokenEvent::Text { text: more, tokens, logprobs: mut likely } => {
                    total += tokens;
                    logprobs.append(&mut likely);
                    text.push_str(&more);
                    on_text(&more, total);
                }
                TokenEvent::Done(usage) => break usage,
                TokenEvent::Failed(error) => return Err(error),
            }
        };
        let EngineInfo { name, model, mock, .. } = answer.info().clone();
        Ok(Completion { text, logprobs, usage, model, engine: name, mock })
    }

    /// Asks for a reply and gives it as it comes. The request's `assistant_prefix` isn't repeated.
    ///
    /// When the deadline passes, or the answer is dropped, the request is cancelled.
    pub async fn stream(&self, request: Request, deadline: Duration) -> Result<Answer, EngineError> {
        let started = Instant::now();
        // The engine gives up with the asker, even where a cancellation doesn't get through.
        let request = Request { deadline: request.deadline.min(deadline), ..request };
        let (info, asked) = self.submit(request, deadline).await?;
        Ok(Answer::new(info, asked, started, deadline))
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

    /// Has the engine keep the prefix that these messages make, for requests of that project, while the result lives: its
    /// keys and values are computed once, and don't make room for others. An engine without a prefix cache of its own
    /// answers `Unsupported`.
    pub async fn pin(
        &self,
        project: &str,
        messages: Vec<ChatMessage>,
        deadline: Duration,
    ) -> Result<Pinned, EngineError> {
        let project = project.to_owned();
        let asked = self.engine.ask(deadline, |reply| EngineMsg::Pin { project, messages, reply }).await;
        let pin = asked.map_err(|e| not_reached(e, deadline))??;
        Ok(Pinned::new(pin, self.engine.clone()))
    }

    /// Has the engine take no further requests, or take them again. What it has is done to its end.
    pub async fn drain(&self, drain: bool, deadline: Duration) -> Result<EngineInfo, EngineError> {
        let asked = self.engine.ask(deadline, |reply| EngineMsg::Drain { drain, reply }).await;
        asked.map_err(|e| not_reached(e, deadline))
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
        let mut asked = Asked::new(id, self.engine.clone(), reader, events);
        let submit = |reply| EngineMsg::Submit { request: Box::new(request), sink, reply };
        let taken = self.engine.ask(deadline, submit).await.map_err(|e| not_reached(e, deadline))?;
        // One that was refused is not ours to cancel: another asker's may have the same id.
        let info = taken.inspect_err(|_| asked.engine = None)?;
        Ok((info, asked))
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
