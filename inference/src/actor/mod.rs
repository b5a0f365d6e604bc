//! The engine as an actor: how the rest of Fleet, on this node or another, reaches an engine.
//!
//! ```text
//! EngineHandle ── Submit { request, sink } ──→ EngineActor → dyn Engine
//!      ↑                                            │ one forwarder a request
//!   Reader (an actor, one a request) ←── TokenItem ─┘
//! ```
//! Tokens travel to a reference of the asker's. The reader's mailbox is small: when it is full the forwarder waits and
//! the stream joins what comes meanwhile, so a slow asker costs nobody but itself. The actor decides nothing: queueing,
//! priority and refusal are the engine's.

mod answer;
mod handle;
mod pins;
mod reader;

use std::collections::HashMap;
use std::sync::Arc;

use fleet_runtime::actor::{Actor, ActorError, Context, Message, Ref, ReplyTo};
use futures::StreamExt;
use tokio::task::{AbortHandle, JoinSet};
use uuid::Uuid;
use wincode::{SchemaRead, SchemaWrite};

pub use self::answer::Answer;
pub use self::handle::EngineHandle;
pub use self::pins::Pinned;
use self::pins::Pins;
pub use self::reader::TokenItem;
use crate::{
    ChatMessage, EmbedRequest, Embeddings, Engine, EngineError, EngineInfo, EngineState, EngineStats, PinId, Request,
    TokenEvent, TokenStream,
};

/// What an engine actor understands.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum EngineMsg {
    /// Decodes a request into the sink. The answer says whether it was taken, and by what.
    Submit {
        request: Box<Request>,
        sink: Ref<TokenItem>,
        reply: ReplyTo<Result<EngineInfo, EngineError>>,
    },
    /// Ends a request. Its sink gets `Gone`.
    Cancel(Uuid),
    /// Vectors for texts.
    Embed {
        request: EmbedRequest,
        reply: ReplyTo<Result<Embeddings, EngineError>>,
    },
    Info(ReplyTo<EngineInfo>),
    Stats(ReplyTo<EngineStats>),
    /// Whether that request is queued or being decoded: a life of the engine after the one that took it doesn't know it.
    IsDecoding {
        request: Uuid,
        reply: ReplyTo<bool>,
    },
    /// Keeps the prefix that these messages make in the cache, for requests of that project, until `Unpin`, or until it
    /// hasn't been renewed for half a minute.
    Pin {
        project: String,
        messages: Vec<ChatMessage>,
        reply: ReplyTo<Result<PinId, EngineError>>,
    },
    /// Whoever has that prefix pinned is still there.
    Renew(PinId),
    Unpin(PinId),
    /// Whether it takes no further requests; those that it has are done to their end.
    Drain {
        drain: bool,
        reply: ReplyTo<EngineInfo>,
    },
}

impl Message for EngineMsg {
    const KIND: &'static str = "fleet.inference.engine";
}

/// The actor in front of one engine. If it ends, the requests that came through it are cancelled and their sinks are told.
pub struct EngineActor {
    engine: Arc<dyn Engine>,
    forwarders: JoinSet<Uuid>,
    running: HashMap<Uuid, AbortHandle>,
    pins: Pins,
    draining: bool,
}

impl Actor for EngineActor {
    type Msg = EngineMsg;
    type Args = Arc<dyn Engine>;

    async fn start(engine: Self::Args, _ctx: &Context<EngineMsg>) -> Result<Self, ActorError> {
        Ok(Self { engine, forwarders: JoinSet::new(), running: HashMap::new(), pins: Pins::default(), draining: false })
    }

    async fn handle(&mut self, msg: EngineMsg, _ctx: &Context<EngineMsg>) -> Result<(), ActorError> {
        self.forget_ended();
        match msg {
            EngineMsg::Submit { request, sink, reply } => reply.send(self.submit(*request, sink)),
            EngineMsg::Cancel(id) => {
                if let Some(forwarder) = self.running.remove(&id) {
                    forwarder.abort();
                }
            }
            EngineMsg::Embed { request, reply } => self.embed(request, reply),
            EngineMsg::Info(reply) => reply.send(self.info()),
            EngineMsg::Stats(reply) => reply.send(self.engine.stats()),
            EngineMsg::IsDecoding { request, reply } => reply.send(self.running.contains_key(&request)),
            EngineMsg::Pin { project, messages, reply } => reply.send(self.pin(&project, &messages)),
            EngineMsg::Renew(pin) => self.pins.renew(pin),
            EngineMsg::Unpin(pin) => self.pins.release(pin),
            EngineMsg::Drain { drain, reply } => {
                self.draining = drain;
                reply.send(self.info());
            }
        }
        Ok(())
    }
}

impl EngineActor {
    fn info(&self) -> EngineInfo {
        let info = self.engine.info();
        let draining = self.draining && info.state == EngineState::Ready;
        if draining { EngineInfo { state: EngineState::Draining, ..info } } else { info }
    }

    fn open(&self) -> Result<(), EngineError> {
        if self.draining { Err(EngineError::Draining) } else { Ok(()) }
    }

    fn pin(&mut self, project: &str, messages: &[ChatMessage]) -> Result<PinId, EngineError> {
        self.open()?;
        let pin = self.engine.pin(project, messages)?;
        self.pins.keep(&self.engine, pin);
        Ok(pin)
    }

    fn submit(&mut self, request: Request, sink: Ref<TokenItem>) -> Result<EngineInfo, EngineError> {
        self.open()?;
        let id = request.id;
        if self.running.contains_key(&id) {
            return Err(EngineError::BadRequest(format!("request {id} is being decoded already")));
        }
        let stream = self.engine.submit(request)?;
        let forwarder = self.forwarders.spawn(async move {
            forward(stream, Sink(Some(sink))).await;
            id
        });
        self.running.insert(id, forwarder);
        Ok(self.engine.info())
    }

    fn embed(&mut self, request: EmbedRequest, reply: ReplyTo<Result<Embeddings, EngineError>>) {
        match self.open().and_then(|()| self.engine.embed(request)) {
            Err(error) => reply.send(Err(error)),
            Ok(vectors) => {
                let id = Uuid::new_v4();
                let forwarder = self.forwarders.spawn(async move {
                    reply.send(vectors.await.unwrap_or(Err(EngineError::Gone)));
                    id
                });
                self.running.insert(id, forwarder);
            }
        }
    }

    fn forget_ended(&mut self) {
        while let Some(ended) = self.forwarders.try_join_next() {
            // An aborted one was taken out when it was cancelled.
            if let Ok(id) = ended {
                self.running.remove(&id);
            }
        }
    }
}

/// Dropping the stream, when the sink is gone or this is aborted, cancels the request.
async fn forward(mut stream: TokenStream, mut sink: Sink) {
    while let Some(event) = stream.next().await {
        let last = !matches!(event, TokenEvent::Text { .. });
        let Some(to) = &sink.0 else { return };
        if to.tell(TokenItem::Event(event)).await.is_err() {
            return;
        }
        if last {
            sink.0 = None;
        }
    }
}

/// Tells the asker when nothing more will come, also when the actor ends in the middle of a request.
struct Sink(Option<Ref<TokenItem>>);

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take() {
            let _ = sink.try_tell(TokenItem::Event(TokenEvent::Failed(EngineError::Gone)));
        }
    }
}

#[cfg(test)]
mod tests;
