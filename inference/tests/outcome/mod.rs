//! What becomes of a model's files: loaded and asked for some tokens, with panics counted and bytes on the heap.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "each test uses what it needs")]
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use bytesize::ByteSize;
use fleet_inference::{
    CandleEngine, CandleOptions, ChatMessage, Engine, EngineDevice, EngineError, EngineState, Request, TokenEvent,
    Usage,
};
use futures::StreamExt;

/// The honest files have 200 kB and take 3 MB; of these the tokenizer has most.
const MOST_MEMORY: usize = 24 << 20;
const DEADLINE: Duration = Duration::from_secs(60);

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST_HELD: AtomicUsize = AtomicUsize::new(0);
static PANICS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST_HELD.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        MOST_HELD.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One file at a time: panics and memory are counted for the whole process.
#[allow(clippy::disallowed_methods, reason = "this test's process is its own")]
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // Candle's errors carry backtraces, and looking up the names in them takes more memory than any of these files.
        // SAFETY: each test comes here before it does anything, and nothing else runs in this process.
        unsafe { std::env::set_var("RUST_BACKTRACE", "0") };
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Relaxed);
            before(info);
        }));
    });
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a file.
pub struct Outcome {
    pub end: Result<Usage, EngineError>,
    /// Bytes on the heap at most, and those of the weights.
    pub memory: usize,
}

fn options() -> CandleOptions {
    CandleOptions {
        device: EngineDevice::Cpu,
        context: 256,
        kv_memory: Some(ByteSize::kib(64)),
        ..CandleOptions::default()
    }
}

/// Bytes at most while a model is loaded, with those of its weights; and these.
pub fn loaded(path: &Path) -> (usize, usize) {
    let held = HELD.load(Relaxed);
    MOST_HELD.store(held, Relaxed);
    let engine = CandleEngine::open(path, options()).unwrap();
    let until = std::time::Instant::now() + DEADLINE;
    while engine.info().state == EngineState::Loading {
        assert!(std::time::Instant::now() < until, "{}: not loaded within {DEADLINE:?}", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
    let most = MOST_HELD.load(Relaxed) - held;
    // The weights are counted with the first request.
    let request = Request::new(vec![ChatMessage::user("Hi")], 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut stream = engine.submit(request).unwrap();
    runtime.block_on(async { while stream.next().await.is_some() {} });
    let weights = engine.stats().weight_bytes as usize;
    (most + weights, weights)
}

/// Loads the file and asks for a few tokens.
pub fn run(path: &Path) -> Outcome {
    let (panics, held) = (PANICS.load(Relaxed), HELD.load(Relaxed));
    MOST_HELD.store(held, Relaxed);
    let engine = CandleEngine::open(path, options()).unwrap();
    let request = Request::new(vec![ChatMessage::system("Be brief."), ChatMessage::user("Hello, 2024!")], 4);
    let end = engine.submit(request).and_then(|mut stream| {
        let end = async {
            while let Some(event) = stream.next().await {
                match event {
                    TokenEvent::Text { .. } => {}
                    TokenEvent::Done(usage) => return Ok(usage),
                    TokenEvent::Failed(error) => return Err(error),
                }
            }
            Err(EngineError::Gone)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let end = runtime.block_on(async { tokio::time::timeout(DEADLINE, end).await });
        end.unwrap_or_else(|_| panic!("{}: no end within {DEADLINE:?}", path.display()))
    });
    assert_eq!(PANICS.load(Relaxed), panics, "{}: something panicked", path.display());
    let weights = engine.stats().weight_bytes as usize;
    Outcome { end, memory: MOST_HELD.load(Relaxed).saturating_sub(held) + weights }
}

/// Panics unless the outcome is one of those that a file may have.
pub fn judge(path: &Path, outcome: &Outcome) {
    match &outcome.end {
        Err(EngineError::Model(why)) => assert!(why.contains(path.to_str().unwrap()), "no path: {why}"),
        // Weights may be any numbers, also such that nothing is likeliest.
        Err(EngineError::Failed(why)) => assert!(why.contains("no token can follow"), "{}: {why}", path.display()),
        Err(EngineError::PromptTooLong { .. } | EngineError::BadRequest(_)) | Ok(_) => {}
        Err(other) => panic!("{}: {other:?}", path.display()),
    }
    assert!(outcome.memory < MOST_MEMORY, "{}: {} bytes of memory", path.display(), outcome.memory);
}
