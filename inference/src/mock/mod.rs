//! An engine without a model: replies come from a script, so that tests and demonstrations of the protocol need none.
//!
//! **Nothing it says is inference.** [`EngineInfo::mock`](crate::EngineInfo) and `Completion::mock` are true, its model is
//! called `mock:<mode>`, and a node starts it only where the configuration says `allow_mock = true`.
//!
//! # The script
//!
//! YAML or JSON; entries are keyed by what the request's tag says, so the order of arrival doesn't matter:
//!
//! ```yaml
//! replies:
//!   - task: fix-total        # left out or "*": any
//!     role: developer
//!     phase: build
//!     attempt: 0             # a number, or "*"
//!     round: "*"
//!     contains: def total    # optional: a text that some message has
//!     mode: excellent        # optional: only in this mode
//!     text: |                # the whole reply; if it begins with the assistant_prefix, that part isn't said twice
//!       def total(xs):
//!           return sum(xs)
//!     delay_per_token: 20ms  # optional
//!   - role: architect
//!     attempt: 1
//!     action: hang           # hang | flood | crash
//!     after_tokens: 3        # optional: so many tokens of `text` come first
//! ```
//! Of the entries that match, the one with most keys wins; of equals the first. Actions, for tests of faults:
//! `hang` says nothing more and never ends; `flood` repeats `text` without regard to `max_tokens` until the reader goes;
//! `crash` ends the stream as an engine that died would.
//!
//! # The modes
//!
//! `excellent` gives the scripted reply. `poor` doesn't solve: by turns of the attempt it gives back the code of the prompt
//! unchanged or code that can't be parsed. `stubborn` gives one wrong reply, whatever attempt, round and feedback.
//! An entry with `mode: poor` or `mode: stubborn` is used in that mode instead; other entries with an action are used in
//! every mode. Without a scripted reply a JSON Schema gets its smallest valid instance, a choice its first text (its
//! last where the mode is not `excellent`), and anything else a sentence that names the missing key.

mod reply;
mod schema;
mod script;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

pub use self::script::{MockAction, Script, ScriptEntry};

use self::reply::Reply;
use crate::stream::TokenSink;
use crate::text::TextOut;
use crate::{
    ChatMessage, Engine, EngineConfig, EngineError, EngineInfo, EngineKind, EngineState, EngineStats, Finish, PinId,
    Request, TokenStream, Usage,
};

/// Unread text at which a flood waits for its reader: enough to be a flood, not enough to hurt the node.
const FLOOD_UNREAD: usize = 1 << 20;

/// How good the replies are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MockMode {
    #[default]
    Excellent,
    Poor,
    Stubborn,
}

impl MockMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Excellent => "excellent",
            Self::Poor => "poor",
            Self::Stubborn => "stubborn",
        }
    }
}

/// How the mock engine behaves.
#[derive(Clone, Debug)]
pub struct MockOptions {
    /// Default: `mock`.
    pub name: String,
    /// Prompt and reply together, in tokens of four bytes. Default: 32768.
    pub context: u32,
    /// Requests at a time; one more is refused as busy. Default: 64.
    pub queue: usize,
    pub mode: MockMode,
    pub script: Script,
    /// Time that each token takes, unless the script says otherwise. Default: none.
    pub token_delay: Duration,
}

impl Default for MockOptions {
    fn default() -> Self {
        Self {
            name: "mock".into(),
            context: 32768,
            queue: 64,
            mode: MockMode::Excellent,
            script: Script::default(),
            token_delay: Duration::ZERO,
        }
    }
}

/// An engine whose replies are scripted. Its requests run on the caller's tokio runtime and end with the engine.
pub struct MockEngine {
    options: Arc<MockOptions>,
    stats: Arc<Mutex<EngineStats>>,
    running: Mutex<JoinSet<()>>,
    last_pin: AtomicU64,
}

impl MockEngine {
    pub fn new(options: MockOptions) -> Self {
        Self {
            options: Arc::new(options),
            stats: Arc::default(),
            running: Mutex::default(),
            last_pin: AtomicU64::new(0),
        }
    }
}

/// The engine of a configuration.
pub(crate) fn from_config(config: &EngineConfig) -> Result<MockEngine, EngineError> {
    let script = match &config.script {
        Some(path) => {
            let wrong = |e: &dyn std::fmt::Display| EngineError::Config(format!("script {}: {e}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
            Script::parse(&text).map_err(|e| wrong(&e))?
        }
        None => Script::default(),
    };
    Ok(MockEngine::new(MockOptions {
        name: config.name.clone(),
        context: config.context.unwrap_or(4096),
        queue: config.queue,
        mode: config.mode,
        script,
        token_delay: config.token_delay,
    }))
}

impl Engine for MockEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            name: self.options.name.clone(),
            model: format!("mock:{}", self.options.mode.as_str()),
            kind: EngineKind::Mock,
            mock: true,
            context: self.options.context,
            state: EngineState::Ready,
        }
    }

    fn submit(&self, request: Request) -> Result<TokenStream, EngineError> {
        let runtime = Handle::try_current();
        let runtime = runtime.map_err(|_| EngineError::Failed("the mock engine needs a tokio runtime".into()))?;
        let mut running = lock(&self.running);
        while running.try_join_next().is_some() {}
        if running.len() >= self.options.queue {
            return Err(EngineError::Busy { queued: running.len() as u32 });
        }
        let (sink, stream) = TokenStream::channel();
        let (options, stats) = (Arc::clone(&self.options), Arc::clone(&self.stats));
        running.spawn_on(serve(options, stats, request, sink), &runtime);
        Ok(stream)
    }

    fn pin(&self, _project: &str, _messages: &[ChatMessage]) -> Result<PinId, EngineError> {
        lock(&self.stats).prefix_entries += 1;
        Ok(PinId(self.last_pin.fetch_add(1, Ordering::Relaxed) + 1))
    }

    fn unpin(&self, _pin: PinId) {
        lock(&self.stats).prefix_entries -= 1;
    }

    fn stats(&self) -> EngineStats {
        lock(&self.stats).clone()
    }

    fn count_tokens(&self, text: &str) -> u32 {
        text.len().div_ceil(4) as u32
    }
}

/// One request from its check to its end.
async fn serve(options: Arc<MockOptions>, stats: Arc<Mutex<EngineStats>>, request: Request, sink: TokenSink) {
    lock(&stats).active += 1;
    let result = check(&options, &request);
    let result = match result {
        Err(error) => Some(Err(error)),
        Ok(prompt_tokens) => {
            let saying = say(&options, &request, prompt_tokens, &sink);
            let late = EngineError::Deadline { after_ms: request.deadline.as_millis() as u64 };
            tokio::time::timeout(request.deadline, saying).await.unwrap_or(Some(Err(late)))
        }
    };
    let mut stats = lock(&stats);
    stats.active -= 1;
    let active = stats.active;
    // A crash leaves no last word: the sink is dropped without an end.
    let Some(result) = result else {
        stats.failed += 1;
        return;
    };
    stats.count(&result);
    stats.active = active;
    drop(stats);
    match result {
        Ok(usage) => sink.done(usage),
        Err(error) => sink.fail(error),
    }
}

fn check(options: &MockOptions, request: &Request) -> Result<u32, EngineError> {
    let bytes: usize = request.messages.iter().map(|m| m.content.len()).sum();
    let (prompt_tokens, context, max_tokens) = (bytes.div_ceil(4) as u32, options.context, request.max_tokens);
    let allowed = context.saturating_sub(max_tokens);
    if prompt_tokens > allowed {
        return Err(EngineError::PromptTooLong { prompt_tokens, allowed, context, max_tokens });
    }
    Ok(prompt_tokens)
}

/// Streams the reply. `None`: the engine "crashed".
async fn say(
    options: &MockOptions,
    request: &Request,
    prompt_tokens: u32,
    sink: &TokenSink,
) -> Option<Result<Usage, EngineError>> {
    let started = Instant::now();
    let reply = Reply::find(options, request);
    let mut out = TextOut::new(&request.stop);
    let mut usage = Usage {
        prompt_tokens,
        cached_tokens: 0,
        completion_tokens: 0,
        finish: Finish::Stop,
        prefill_ms: 0,
        decode_ms: 0,
        cost_micros: 0,
        replayed: false,
    };
    let finish = loop {
        let said = usage.completion_tokens;
        if sink.is_cancelled() {
            break Finish::Cancelled;
        }
        if reply.acts_at(said) {
            match reply.action {
                Some(MockAction::Crash) => return None,
                Some(MockAction::Hang) => tokio::time::sleep(Duration::from_millis(5)).await,
                _ => flood(&reply, sink).await,
            }
            continue;
        }
        let Some(token) = reply.tokens.get(said as usize) else {
            sink.text(&out.finish(), 0);
            break Finish::Stop;
        };
        if said >= request.max_tokens {
            sink.text(&out.finish(), 0);
            break Finish::Length;
        }
        // Also without a delay the reader gets its turn after each token.
        match reply.delay {
            Duration::ZERO => tokio::task::yield_now().await,
            delay => tokio::time::sleep(delay).await,
        }
        usage.completion_tokens += 1;
        let (text, stopped) = out.push(token.as_bytes());
        sink.text(&text, 1);
        if stopped {
            break Finish::Stop;
        }
    };
    Some(Ok(Usage { finish, decode_ms: started.elapsed().as_millis() as u64, ..usage }))
}

async fn flood(reply: &Reply, sink: &TokenSink) {
    if sink.unread() < FLOOD_UNREAD {
        for token in &reply.flood {
            sink.text(token, 1);
        }
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
