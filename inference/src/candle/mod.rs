//! The engine that runs a model on this machine: a GGUF file, or a folder of safetensors.
//!
//! ```text
//! submit → Inbox (bounded) → engine thread { Worker: template → tokens → Scheduler → Backend (rows of many requests) → choose } → TokenStream
//! ```
//! There is one engine thread, and it batches: candle's kernels and ours share one pool of threads a process, so a second
//! engine thread would only take turns with the first. The number of those threads is set for the whole process by
//! `CANDLE_NUM_THREADS` and `RAYON_NUM_THREADS`; by default all cores are used. A panic while computing fails the requests
//! of that step, not the engine.
//!
//! **The same request with the same seed gives the same tokens, whatever else is being decoded**: on one instruction
//! set (see [`kernels`](crate::kernels)), for models all of whose weights have tiles. Where candle's own kernels are used
//! instead, a row's last bits depend on how many there are.

mod active;
mod constraint;
mod facts;
mod gguf;
mod header;
mod hub;
mod inbox;
mod likelihood;
mod sampler;
mod template;
mod tokenizer;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;

pub use self::facts::{ModelFacts, inspect};
pub(crate) use self::gguf::{GgufFile, brief};
use self::inbox::{Inbox, Task, Waiting};
pub use self::likelihood::text_nll;
use self::tokenizer::ModelTokenizer;
use self::worker::Worker;
use crate::checkpoint::name_of;
use crate::models::ModelStore;
use crate::{
    ChatMessage, Engine, EngineConfig, EngineDevice, EngineError, EngineInfo, EngineKind, EngineState, EngineStats,
    Finish, PinId, Quantise, Request, TokenStream, Usage,
};

/// The context where none is configured.
const CONTEXT: u32 = 4096;

/// How a model is run.
#[derive(Clone, Debug)]
pub struct CandleOptions {
    /// The engine's name. Default: `local`.
    pub name: String,
    /// What the model is called in completions and reports. Default: the name of the file or folder.
    pub model: String,
    /// What it runs on. Default: a GPU if there is one that this program can use, else the CPU.
    pub device: EngineDevice,
    /// Prompt and reply together, in tokens; the model's own limit if that is less. Default: 4096.
    pub context: u32,
    /// How the matrices of a safetensors checkpoint are held. GGUF files are quantised already. Default: `Q8_0` on a CPU, as
    /// they are on a GPU.
    pub quantise: Option<Quantise>,
    /// Requests that may wait. Default: 64.
    pub queue: usize,
    /// Tokens that may wait, as far as they can be estimated. Default: 1 million.
    pub queue_tokens: u64,
    /// Memory for keys and values: of what is being decoded, and of prompts that later ones may share; at least one
    /// sequence of `context` fits in any case. Default: on a CPU 1 GiB, taken as it is used; on a GPU what is free.
    pub kv_memory: Option<ByteSize>,
    /// Engines of this process that share its GPU, itself included; each without `kv_memory` gets its equal part. Default: 1.
    pub gpu_sharers: u32,
    /// Sequences that are decoded at a time. Default: 32.
    pub sequences: usize,
    /// Tokens that are computed together in one step. More makes long prompts faster and the others wait longer for
    /// their next token. Default: 256.
    pub step: usize,
    /// Tokens that are guessed ahead when few sequences decode: what followed the same words before. It never changes a
    /// reply. 0 turns it off. Default: 8.
    pub draft: usize,
    /// Guessing ends above that many sequences. Default: 4.
    pub draft_below: usize,
    /// Where the weights are kept in the form that this machine computes with, for the next start; as large as the model.
    /// `None`: nowhere. Default: none.
    pub tiles: Option<PathBuf>,
}

impl Default for CandleOptions {
    fn default() -> Self {
        let EngineConfig { name, model, device, context, queue, kv_memory, .. } = EngineConfig::default();
        Self {
            name,
            model,
            device,
            context: context.unwrap_or(CONTEXT),
            quantise: None,
            queue,
            queue_tokens: 1_000_000,
            kv_memory,
            gpu_sharers: 1,
            sequences: 32,
            step: 256,
            draft: 8,
            draft_below: 4,
            tiles: None,
        }
    }
}

struct Shared {
    inbox: Inbox,
    info: Mutex<EngineInfo>,
    stats: Mutex<EngineStats>,
    tokenizer: OnceLock<Arc<ModelTokenizer>>,
    /// Requests and pins are numbered together.
    last: AtomicU64,
}

/// A model on the CPU. Dropping the engine ends its thread after the token at work; what waits ends with `Gone`.
pub struct CandleEngine {
    shared: Arc<Shared>,
}

impl CandleEngine {
    /// Starts the engine's thread and returns; the thread loads the model. See [`EngineInfo::state`].
    pub fn open(path: impl AsRef<Path>, options: CandleOptions) -> Result<Self, EngineError> {
        let path = path.as_ref().to_owned();
        if !path.exists() {
            return Err(EngineError::Model(format!("there is no file {}", path.display())));
        }
        Self::start(options, path.clone(), move || Ok(path))
    }

    /// The tokens that end a reply; none until the model is loaded.
    pub fn end_tokens(&self) -> Vec<u32> {
        self.shared.tokenizer.get().map(|t| t.ends().to_vec()).unwrap_or_default()
    }

    /// `locate` may take its time: it runs on the engine's thread.
    fn start(
        mut options: CandleOptions,
        path: PathBuf,
        locate: impl FnOnce() -> Result<PathBuf, EngineError> + Send + 'static,
    ) -> Result<Self, EngineError> {
        if options.model.is_empty() {
            options.model = name_of(&path);
        }
        let shared = Arc::new(Shared::new(&options));
        let for_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name(format!("engine-{}", options.name))
            .spawn(move || for_thread.serve(locate, &options))
            .map_err(|e| EngineError::Failed(format!("the engine's thread can't be started: {e}")))?;
        Ok(Self { shared })
    }
}

/// The engine of a configuration. A model of the catalogue is verified on the engine's thread.
pub(crate) fn from_config(config: &EngineConfig, store: &ModelStore) -> Result<CandleEngine, EngineError> {
    let EngineConfig { name, model, device, context, queue, kv_memory, .. } = config.clone();
    let tiles = config.keep_tiles.then(|| store.tiles());
    let options = CandleOptions {
        name,
        model: String::new(),
        device,
        context: context.unwrap_or(CONTEXT),
        quantise: config.quantise,
        queue,
        kv_memory,
        gpu_sharers: config.gpu_sharers,
        tiles,
        ..CandleOptions::default()
    };
    if model.contains('/') || model.ends_with(".gguf") {
        return CandleEngine::open(model, options);
    }
    let unknown = |e: crate::models::ModelError| EngineError::Model(e.to_string());
    let default = || store.catalogue().default_model().map(|e| e.name.clone()).unwrap_or_default();
    let model = if model.is_empty() { default() } else { model };
    let path = store.quick_path(&model).map_err(unknown)?;
    let (store, options) = (store.clone(), CandleOptions { model: model.clone(), ..options });
    CandleEngine::start(options, path, move || store.path(&model).map_err(unknown))
}

impl Shared {
    fn new(options: &CandleOptions) -> Self {
        let info = EngineInfo {
            name: options.name.clone(),
            model: options.model.clone(),
            kind: EngineKind::Candle,
            mock: false,
            context: options.context,
            state: EngineState::Loading,
        };
        Self {
            inbox: Inbox::new(options.queue, options.queue_tokens),
            info: Mutex::new(info),
            stats: Mutex::default(),
            tokenizer: OnceLock::new(),
            last: AtomicU64::new(0),
        }
    }

    fn serve(&self, locate: impl FnOnce() -> Result<PathBuf, EngineError>, options: &CandleOptions) {
        let started = Instant::now();
        let load = || locate().and_then(|path| Worker::load(&path, options));
        let loaded = catch_unwind(AssertUnwindSafe(load));
        let loaded = loaded.unwrap_or_else(|_| Err(EngineError::Model("the file is damaged".into())));
        let mut worker = match loaded {
            Ok(worker) => worker,
            Err(error) => {
                tracing::error!(%error, engine = options.name, "the model could not be loaded");
                lock(&self.info).state = EngineState::Failed { why: error.to_string() };
                return self.refuse_all(&error);
            }
        };
        let _ = self.tokenizer.set(Arc::clone(worker.tokenizer()));
        let mut info = lock(&self.info);
        info.context = worker.context();
        info.state = EngineState::Ready;
        drop(info);
        tracing::info!(
            engine = options.name,
            model = options.model,
            ms = started.elapsed().as_millis(),
            on = worker.describe(),
            "model loaded"
        );
        worker.serve(self);
        if !self.inbox.is_closed() {
            tracing::error!(engine = options.name, "what the engine computed on is lost");
            lock(&self.info).state = EngineState::Failed { why: "what it computed on is lost".into() };
            drop(worker);
            self.refuse_all(&EngineError::Gone);
        }
    }

    fn refuse_all(&self, error: &EngineError) {
        while let Some(tasks) = self.inbox.take(Duration::from_secs(3600)) {
            for task in tasks {
                if let Task::Decode(waiting) = task {
                    self.inbox.begun(waiting.cost());
                    waiting.sink.fail(error.clone());
                }
            }
        }
    }
}

impl EngineStats {
    /// Takes in the end of a request.
    pub(crate) fn count(&mut self, result: &Result<Usage, EngineError>) {
        let Ok(usage) = result else {
            self.failed += 1;
            return;
        };
        if usage.finish == Finish::Cancelled {
            self.cancelled += 1;
        } else {
            self.completed += 1;
        }
        self.prompt_tokens += u64::from(usage.prompt_tokens);
        self.cached_tokens += u64::from(usage.cached_tokens);
        self.completion_tokens += u64::from(usage.completion_tokens);
        self.prefill_ms += usage.prefill_ms;
        self.decode_ms += usage.decode_ms;
    }
}

impl Engine for CandleEngine {
    fn info(&self) -> EngineInfo {
        lock(&self.shared.info).clone()
    }

    fn submit(&self, request: Request) -> Result<TokenStream, EngineError> {
        if let EngineState::Failed { why } = &lock(&self.shared.info).state {
            return Err(EngineError::Model(why.clone()));
        }
        let (sink, stream) = TokenStream::channel();
        let id = self.shared.last.fetch_add(1, Ordering::Relaxed) + 1;
        let waiting = Waiting { id, request, sink, since: Instant::now() };
        self.shared.inbox.push(Task::Decode(Box::new(waiting)))?;
        Ok(stream)
    }

    fn pin(&self, project: &str, messages: &[ChatMessage]) -> Result<PinId, EngineError> {
        let pin = PinId(self.shared.last.fetch_add(1, Ordering::Relaxed) + 1);
        self.shared.inbox.push(Task::Pin { pin, project: project.to_owned(), messages: messages.to_vec() })?;
        Ok(pin)
    }

    fn unpin(&self, pin: PinId) {
        // A closed inbox has no pins to free.
        let _ = self.shared.inbox.push(Task::Unpin(pin));
    }

    fn stats(&self) -> EngineStats {
        EngineStats { queued: self.shared.inbox.len(), ..lock(&self.shared.stats).clone() }
    }

    fn count_tokens(&self, text: &str) -> u32 {
        let known = self.shared.tokenizer.get().and_then(|t| t.encode(text).ok());
        // Until the tokenizer is there: code has about three bytes a token; rounded up, so that budgets hold.
        known.map_or_else(|| text.len().div_ceil(3) as u32, |ids| ids.len() as u32)
    }
}

impl Drop for CandleEngine {
    fn drop(&mut self) {
        self.shared.inbox.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;

#[cfg(test)]
mod injection_tests;

#[cfg(test)]
mod parity_tests;
