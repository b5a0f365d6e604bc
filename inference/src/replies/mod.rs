//! Replies that are kept on disk and given again to the same request, for whoever measures the same work over and over.
//!
//! ```text
//! Request → key (all that decides the reply) → shelf ─┬─ there: the kept reply, at once, marked as replayed
//!                                                     └─ not there: the engine; what it said is put on the shelf
//! ```
//! Off unless a node's configuration names a directory. Only engines whose replies follow from the request and its seed take
//! part: models on this machine and servers of the OpenAI protocol. On a GPU or a server, where company may change a reply,
//! the first one stands for all. A reply that was cancelled or failed isn't kept, nor one with logprobs.

mod key;
mod shelf;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use self::shelf::Kept;
pub use self::shelf::ReplyCache;
use crate::stream::TokenSink;
use crate::{
    ChatMessage, EmbedRequest, Embeddings, Engine, EngineConfig, EngineError, EngineInfo, EngineKind, EngineStats,
    Finish, PinId, Request, TokenEvent, TokenStream, Usage,
};

/// An engine behind a [`ReplyCache`].
pub struct KeepsReplies {
    engine: Arc<dyn Engine>,
    cache: Arc<ReplyCache>,
    /// What of the engine's configuration decides a reply.
    about: String,
    replayed: AtomicU64,
    /// One for each request that the engine has; they end with it.
    forwarders: Mutex<JoinSet<()>>,
}

impl KeepsReplies {
    /// Puts the cache before the engine of this configuration; gives the engine as it is, if its replies aren't to be kept.
    pub fn before(engine: Arc<dyn Engine>, config: &EngineConfig, cache: &Arc<ReplyCache>) -> Arc<dyn Engine> {
        match config.kind {
            EngineKind::Candle | EngineKind::OpenAi => Arc::new(Self {
                engine,
                cache: Arc::clone(cache),
                about: key::about(config),
                replayed: AtomicU64::new(0),
                forwarders: Mutex::default(),
            }),
            // A script answers by a request's tag and costs nothing; vectors aren't replies.
            EngineKind::Mock | EngineKind::Embedding => engine,
        }
    }

    /// Hands on what the engine says, and keeps it.
    fn forward(&self, stream: TokenStream, keep: Keep, runtime: &Handle) -> TokenStream {
        let (sink, out) = TokenStream::channel();
        let mut forwarders = self.forwarders.lock().unwrap_or_else(PoisonError::into_inner);
        while forwarders.try_join_next().is_some() {}
        forwarders.spawn_on(forward(stream, sink, keep), runtime);
        out
    }
}

impl Engine for KeepsReplies {
    fn info(&self) -> EngineInfo {
        self.engine.info()
    }

    /// Looks for a file before it returns: that takes microseconds, and a full queue is told at once as ever.
    fn submit(&self, request: Request) -> Result<TokenStream, EngineError> {
        let info = self.engine.info();
        let (Some(key), Ok(runtime)) = (key::key(&self.about, &info, &request), Handle::try_current()) else {
            return self.engine.submit(request);
        };
        if let Some(kept) = self.cache.find(&key) {
            self.replayed.fetch_add(1, Ordering::Relaxed);
            return Ok(replay(kept));
        }
        let stream = self.engine.submit(request)?;
        let keep = Keep { cache: Arc::clone(&self.cache), key, model: info.model };
        Ok(self.forward(stream, keep, &runtime))
    }

    fn pin(&self, project: &str, messages: &[ChatMessage]) -> Result<PinId, EngineError> {
        self.engine.pin(project, messages)
    }

    fn unpin(&self, pin: PinId) {
        self.engine.unpin(pin);
    }

    fn stats(&self) -> EngineStats {
        EngineStats { replayed: self.replayed.load(Ordering::Relaxed), ..self.engine.stats() }
    }

    fn embed(&self, request: EmbedRequest) -> Result<oneshot::Receiver<Result<Embeddings, EngineError>>, EngineError> {
        self.engine.embed(request)
    }

    fn count_tokens(&self, text: &str) -> u32 {
        self.engine.count_tokens(text)
    }
}

fn replay(kept: Kept) -> TokenStream {
    let (sink, stream) = TokenStream::channel();
    sink.text(&kept.text, kept.tokens);
    sink.done(Usage { replayed: true, ..kept.usage });
    stream
}

/// Where a reply goes when it is whole.
struct Keep {
    cache: Arc<ReplyCache>,
    key: String,
    model: String,
}

async fn forward(mut stream: TokenStream, sink: TokenSink, keep: Keep) {
    let (mut said, mut all, mut cancelled) = (String::new(), 0, false);
    loop {
        let event = tokio::select! {
            biased;
            () = sink.cancelled(), if !cancelled => {
                stream.cancel();
                cancelled = true;
                continue;
            }
            event = stream.next() => event,
        };
        match event {
            Some(TokenEvent::Text { text, tokens, logprobs }) => {
                said.push_str(&text);
                all += tokens;
                sink.tokens(&text, tokens, logprobs);
            }
            Some(TokenEvent::Done(usage)) => {
                if usage.finish != Finish::Cancelled {
                    let Keep { cache, key, model } = keep;
                    let kept = Kept { model, text: said, tokens: all, usage };
                    // If the task is lost, so is a reply that can be had again.
                    let _ = tokio::task::spawn_blocking(move || cache.keep(&key, &kept)).await;
                }
                return sink.done(usage);
            }
            Some(TokenEvent::Failed(error)) => return sink.fail(error),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
