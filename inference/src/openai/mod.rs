//! An engine on a server that speaks the OpenAI protocol: vLLM, llama.cpp, another cluster's node, a service that is paid.
//!
//! ```text
//! Request → body (what the dialect can say) → slot, rate → POST, again after what may pass → events (reply) → TokenStream
//! ```
//! A request is tried again only while nothing of its reply was given out. What the server can't be asked for is refused by
//! name, with one exception: of `top_k`, `min_p` and `repeat_penalty` a server that knows none of them isn't told.

mod body;
mod dialect;
mod options;
mod reply;
mod server;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

pub use self::dialect::Dialect;
pub use self::options::OpenAiOptions;
pub(crate) use self::options::from_config;

use self::reply::Reading;
use self::server::Server;
use crate::stream::TokenSink;
use crate::{
    ChatMessage, EmbedRequest, Embeddings, Engine, EngineError, EngineInfo, EngineKind, EngineState, EngineStats,
    Finish, PinId, Request, TokenStream, Usage,
};

/// How often a server that isn't there is looked for.
const LOOK: Duration = Duration::from_secs(2);
/// What is taken for the context of a server that doesn't say.
const SOME_CONTEXT: u32 = 32768;

/// See the module. Its requests run on the tokio runtime that it was made on, and end with it.
pub struct OpenAiEngine {
    remote: Arc<Remote>,
    running: Mutex<JoinSet<()>>,
}

struct Remote {
    options: OpenAiOptions,
    server: Server,
    /// Requests that the server may have at once.
    slots: Semaphore,
    stats: Mutex<EngineStats>,
    found: watch::Sender<Found>,
}

/// What is known of the server.
#[derive(Clone)]
struct Found {
    model: String,
    dialect: Dialect,
    context: u32,
    state: EngineState,
}

impl OpenAiEngine {
    /// Begins to look for the server. Needs a tokio runtime.
    pub fn new(options: OpenAiOptions) -> Result<Self, EngineError> {
        let runtime = Handle::try_current()
            .map_err(|_| EngineError::Failed("an engine of kind openai needs a tokio runtime".into()))?;
        let server = Server::new(&options)?;
        let found = Found {
            model: options.model.clone(),
            dialect: options.dialect.unwrap_or(Dialect::OpenAi),
            context: options.context.unwrap_or(0),
            state: EngineState::Loading,
        };
        let remote = Arc::new(Remote {
            slots: Semaphore::new(options.requests.max(1)),
            server,
            stats: Mutex::default(),
            found: watch::Sender::new(found),
            options,
        });
        let mut running = JoinSet::new();
        running.spawn_on(remote.clone().look(), &runtime);
        Ok(Self { remote, running: Mutex::new(running) })
    }

    /// Runs a request beside the others, if there is a place.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), EngineError> {
        let runtime = Handle::try_current().map_err(|_| EngineError::Failed("no tokio runtime".into()))?;
        let mut running = lock(&self.running);
        while running.try_join_next().is_some() {}
        if running.len() >= self.remote.options.queue + self.remote.options.requests {
            return Err(EngineError::Busy { queued: lock(&self.remote.stats).queued });
        }
        running.spawn_on(work, &runtime);
        Ok(())
    }
}

impl Engine for OpenAiEngine {
    fn info(&self) -> EngineInfo {
        let found = self.remote.found.borrow().clone();
        EngineInfo {
            name: self.remote.options.name.clone(),
            model: found.model,
            kind: EngineKind::OpenAi,
            mock: false,
            context: found.context,
            state: found.state,
        }
    }

    fn submit(&self, request: Request) -> Result<TokenStream, EngineError> {
        let (sink, stream) = TokenStream::channel();
        lock(&self.remote.stats).queued += 1;
        let queued = Queued(Arc::clone(&self.remote));
        self.spawn(Arc::clone(&self.remote).serve(request, sink, queued))?;
        Ok(stream)
    }

    fn pin(&self, _: &str, _: &[ChatMessage]) -> Result<PinId, EngineError> {
        Err(EngineError::Unsupported("pins: the server keeps prefixes as it likes".into()))
    }

    fn unpin(&self, _: PinId) {}

    fn stats(&self) -> EngineStats {
        lock(&self.remote.stats).clone()
    }

    fn embed(&self, request: EmbedRequest) -> Result<oneshot::Receiver<Result<Embeddings, EngineError>>, EngineError> {
        let (answer, answered) = oneshot::channel();
        let remote = Arc::clone(&self.remote);
        self.spawn(async move {
            let deadline = Duration::from_millis(request.deadline_ms);
            let work = remote.embed(&request.texts);
            let done = tokio::time::timeout(deadline, work).await;
            let _ = answer.send(done.unwrap_or(Err(EngineError::Deadline { after_ms: request.deadline_ms })));
        })?;
        Ok(answered)
    }

    fn count_tokens(&self, text: &str) -> u32 {
        body::about(text.len())
    }
}

/// Counts as waiting until it is dropped.
struct Queued(Arc<Remote>);

impl Drop for Queued {
    fn drop(&mut self) {
        lock(&self.0.stats).queued -= 1;
    }
}

/// Counts as being served until it is dropped.
struct Active<'a>(&'a Remote);

impl<'a> Active<'a> {
    fn new(remote: &'a Remote) -> Self {
        lock(&remote.stats).active += 1;
        Self(remote)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        lock(&self.0.stats).active -= 1;
    }
}

impl Remote {
    /// Looks for the server and its model until they are there, or can't be.
    async fn look(self: Arc<Self>) {
        let mut said = None;
        loop {
            match self.server.models(&self.options).await {
                Ok(model) => {
                    self.found.send_replace(Found {
                        context: self.options.context.or(model.context).unwrap_or(SOME_CONTEXT),
                        dialect: self.options.dialect.unwrap_or(model.dialect),
                        model: model.id,
                        state: EngineState::Ready,
                    });
                    return;
                }
                Err(refused) if refused.passes.is_some() => {
                    let why = refused.error.to_string();
                    if said.as_ref() != Some(&why) {
                        tracing::warn!(engine = self.options.name, why, "the server isn't there yet; looking again");
                        said = Some(why);
                    }
                    tokio::time::sleep(LOOK).await;
                }
                Err(refused) => {
                    let why = refused.error.to_string();
                    self.found.send_modify(|found| found.state = EngineState::Failed { why });
                    return;
                }
            }
        }
    }

    /// The server, once it is there.
    async fn found(&self) -> Result<Found, EngineError> {
        let mut found = self.found.subscribe();
        let found = found.wait_for(|found| found.state != EngineState::Loading).await.map_err(|_| EngineError::Gone)?;
        match &found.state {
            EngineState::Failed { why } => Err(EngineError::Model(why.clone())),
            _ => Ok(found.clone()),
        }
    }

    /// One request from its queue to its end.
    async fn serve(self: Arc<Self>, request: Request, sink: TokenSink, queued: Queued) {
        let mut cost = Cost::default();
        let result = tokio::select! {
            result = tokio::time::timeout(request.deadline, self.ask(&request, &sink, queued, &mut cost)) => {
                result.unwrap_or(Err(EngineError::Deadline { after_ms: request.deadline.as_millis() as u64 }))
            }
            () = sink.cancelled() => Ok(Finish::Cancelled),
        };
        let result = result.map(|finish| cost.usage(finish, &self.options));
        lock(&self.stats).count(&result);
        match result {
            Ok(usage) => sink.done(usage),
            Err(error) => sink.fail(error),
        }
    }

    async fn ask(
        &self,
        request: &Request,
        sink: &TokenSink,
        queued: Queued,
        cost: &mut Cost,
    ) -> Result<Finish, EngineError> {
        let _slot = self.slots.acquire().await.map_err(|_| EngineError::Gone)?;
        drop(queued);
        let _active = Active::new(self);
        let Found { model, dialect, .. } = self.found().await?;
        let body = body::chat(request, &model, dialect)?;
        cost.prompt_tokens = body::prompt(request);
        self.server.rate(cost.prompt_tokens + request.max_tokens).await;
        let began = Instant::now();
        let answer = self.server.chat(&body, &self.options).await?;
        Reading::new(request, dialect, sink).read(answer, began, cost).await
    }

    async fn embed(&self, texts: &[String]) -> Result<Embeddings, EngineError> {
        let _slot = self.slots.acquire().await.map_err(|_| EngineError::Gone)?;
        let _active = Active::new(self);
        let model = self.found().await?.model;
        self.server.rate(texts.iter().map(|text| body::about(text.len())).sum()).await;
        self.server.embed(texts, model, &self.options).await
    }
}

/// What a reply has cost so far: estimated, until the server says it.
#[derive(Debug, Default)]
struct Cost {
    prompt_tokens: u32,
    cached_tokens: u32,
    completion_tokens: u32,
    first: Option<Duration>,
    all: Duration,
}

impl Cost {
    fn usage(&self, finish: Finish, options: &OpenAiOptions) -> Usage {
        let first = self.first.unwrap_or(self.all);
        // A price for a million tokens is so many millionths for one.
        let cost =
            f64::from(self.prompt_tokens) * options.price_in + f64::from(self.completion_tokens) * options.price_out;
        Usage {
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            completion_tokens: self.completion_tokens,
            finish,
            prefill_ms: first.as_millis() as u64,
            decode_ms: self.all.saturating_sub(first).as_millis() as u64,
            cost_micros: cost.round() as u64,
            replayed: false,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
