//! Sentence embeddings on the CPU: a BERT encoder from safetensors, through candle.
//!
//! ```text
//! texts → tokens → batches of about equal length, over all who wait → BERT → mean over the tokens → length 1
//! ```
//! One thread an engine. Texts of several requests are computed together; each vector is the same whoever is in the batch,
//! up to the rounding of sums.

mod encoder;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::encoder::{Encoder, LONGEST, Words};
use crate::models::ModelStore;
use crate::{
    ChatMessage, EmbedRequest, Embeddings, Engine, EngineConfig, EngineError, EngineInfo, EngineKind, EngineState,
    EngineStats, PinId, Request, TokenStream,
};

/// The model where none is configured.
const MODEL: &str = "all-minilm-l6-v2";
/// Texts that are taken together: more makes whoever comes next wait, and is no faster.
const TOGETHER: usize = 64;

/// See the module. Dropping the engine ends its thread after the batch at work; what waits ends with `Gone`.
pub(crate) struct EmbeddingEngine {
    shared: Arc<Shared>,
    inbox: SyncSender<Work>,
}

struct Shared {
    info: Mutex<EngineInfo>,
    stats: Mutex<EngineStats>,
    words: OnceLock<Words>,
}

struct Work {
    texts: Vec<String>,
    until: Instant,
    deadline_ms: u64,
    answer: oneshot::Sender<Result<Embeddings, EngineError>>,
}

/// The engine of a configuration.
pub(crate) fn from_config(config: &EngineConfig, store: &ModelStore) -> Result<EmbeddingEngine, EngineError> {
    let model = if config.model.is_empty() { MODEL } else { &config.model };
    let missing = |e: crate::models::ModelError| EngineError::Model(e.to_string());
    store.quick_path(model).map_err(missing)?;
    let (store, name) = (store.clone(), model.to_owned());
    EmbeddingEngine::start(config, model, move || store.path(&name).map_err(missing))
}

impl EmbeddingEngine {
    /// `locate` gives the weights' file; it may take its time: it runs on the engine's thread.
    fn start(
        config: &EngineConfig,
        model: &str,
        locate: impl FnOnce() -> Result<PathBuf, EngineError> + Send + 'static,
    ) -> Result<Self, EngineError> {
        let info = EngineInfo {
            name: config.name.clone(),
            model: model.to_owned(),
            kind: EngineKind::Embedding,
            mock: false,
            context: LONGEST as u32,
            state: EngineState::Loading,
        };
        let shared = Arc::new(Shared { info: Mutex::new(info), stats: Mutex::default(), words: OnceLock::new() });
        let (inbox, waiting) = sync_channel(config.queue.max(1));
        let for_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name(format!("engine-{}", config.name))
            .spawn(move || for_thread.serve(locate, &waiting))
            .map_err(|e| EngineError::Failed(format!("the engine's thread can't be started: {e}")))?;
        Ok(Self { shared, inbox })
    }
}

impl Engine for EmbeddingEngine {
    fn info(&self) -> EngineInfo {
        lock(&self.shared.info).clone()
    }

    fn submit(&self, _: Request) -> Result<TokenStream, EngineError> {
        Err(EngineError::Unsupported("text: its model makes embeddings".into()))
    }

    fn pin(&self, _: &str, _: &[ChatMessage]) -> Result<PinId, EngineError> {
        Err(EngineError::Unsupported("pins: its model makes embeddings".into()))
    }

    fn unpin(&self, _: PinId) {}

    fn stats(&self) -> EngineStats {
        lock(&self.shared.stats).clone()
    }

    fn embed(&self, request: EmbedRequest) -> Result<oneshot::Receiver<Result<Embeddings, EngineError>>, EngineError> {
        let (answer, answered) = oneshot::channel();
        let until = Instant::now() + Duration::from_millis(request.deadline_ms);
        let work = Work { texts: request.texts, until, deadline_ms: request.deadline_ms, answer };
        lock(&self.shared.stats).queued += 1;
        self.inbox.try_send(work).map_err(|refused| {
            let mut stats = lock(&self.shared.stats);
            stats.queued -= 1;
            match refused {
                TrySendError::Full(_) => EngineError::Busy { queued: stats.queued },
                TrySendError::Disconnected(_) => EngineError::Gone,
            }
        })?;
        Ok(answered)
    }

    fn count_tokens(&self, text: &str) -> u32 {
        let estimate = || text.len().div_ceil(4) as u32;
        self.shared.words.get().and_then(|words| words.count(text)).unwrap_or_else(estimate)
    }
}

impl Shared {
    /// The engine's thread: loads, then answers until the engine is dropped.
    fn serve(&self, locate: impl FnOnce() -> Result<PathBuf, EngineError>, waiting: &Receiver<Work>) {
        let loaded = locate().and_then(|path| Encoder::load(&path));
        let encoder = match loaded {
            Ok(encoder) => encoder,
            Err(error) => {
                lock(&self.info).state = EngineState::Failed { why: error.to_string() };
                tracing::error!(%error, "the embedding model can't be loaded");
                while let Ok(work) = waiting.recv() {
                    self.answer(work, Err(EngineError::Model(error.to_string())));
                }
                return;
            }
        };
        let _ = self.words.set(encoder.words().clone());
        lock(&self.stats).weight_bytes = encoder.bytes();
        lock(&self.info).state = EngineState::Ready;
        while let Ok(first) = waiting.recv() {
            let mut texts = first.texts.len();
            let mut together = vec![first];
            while texts < TOGETHER
                && let Ok(more) = waiting.try_recv()
            {
                texts += more.texts.len();
                together.push(more);
            }
            self.compute(&encoder, together);
        }
    }

    fn compute(&self, encoder: &Encoder, together: Vec<Work>) {
        let now = Instant::now();
        let (alive, late): (Vec<Work>, Vec<Work>) =
            together.into_iter().partition(|work| work.until > now && !work.answer.is_closed());
        for work in late {
            let after_ms = work.deadline_ms;
            self.answer(work, Err(EngineError::Deadline { after_ms }));
        }
        // Before the last answer is given, so that whoever has it finds nothing at work.
        let mut left = alive.len() as u32;
        lock(&self.stats).active = left;
        let texts: Vec<&str> = alive.iter().flat_map(|work| work.texts.iter().map(String::as_str)).collect();
        let made = encoder.encode(&texts);
        let took = now.elapsed().as_millis() as u64;
        let model = lock(&self.info).model.clone();
        lock(&self.stats).prefill_ms += took;
        let mut made = made.map(Vec::into_iter);
        for work in alive {
            let answer = match &mut made {
                Err(error) => Err(error.clone()),
                Ok(made) => {
                    let mine: Vec<_> = made.take(work.texts.len()).collect();
                    let tokens = mine.iter().map(|(_, tokens)| tokens).sum();
                    let vectors = mine.into_iter().map(|(vector, _)| vector).collect();
                    Ok(Embeddings { vectors, tokens, model: model.clone() })
                }
            };
            left -= 1;
            lock(&self.stats).active = left;
            self.answer(work, answer);
        }
    }

    fn answer(&self, work: Work, answer: Result<Embeddings, EngineError>) {
        let mut stats = lock(&self.stats);
        stats.queued = stats.queued.saturating_sub(1);
        match &answer {
            Ok(made) => {
                stats.completed += 1;
                stats.prompt_tokens += u64::from(made.tokens);
            }
            Err(_) => stats.failed += 1,
        }
        drop(stats);
        if work.answer.send(answer).is_err() {
            lock(&self.stats).cancelled += 1;
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
