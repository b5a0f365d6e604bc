//! Requests that are given up at any moment, and more requests than there is room for: nothing leaks, nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![allow(unsafe_code, reason = "an allocator that counts")]

mod tiny;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytesize::ByteSize;
use fleet_inference::{
    CandleEngine, CandleOptions, ChatMessage, Engine, EngineDevice, EngineError, EngineState, Finish, Request,
    TokenEvent,
};
use futures::StreamExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tiny::Gguf;

const REQUESTS: u64 = 10_000;
const SUBMITTERS: u64 = 16;
const DEADLINE: Duration = Duration::from_secs(120);
/// What may be held more after the second half of the requests than after the first.
const FLAT: usize = 64 << 10;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How requests ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ends {
    done: u64,
    cancelled: u64,
    dropped: u64,
    busy: u64,
}

/// An engine that is ready. `None` stands for the queue's and the sequences' own defaults.
async fn open(dir: &tempfile::TempDir, queue: usize, sequences: usize) -> Arc<CandleEngine> {
    let path = dir.path().join("tiny.gguf");
    Gguf::tiny("qwen2").write(&path);
    let options = CandleOptions {
        device: EngineDevice::Cpu,
        context: 512,
        queue,
        sequences,
        step: 64,
        kv_memory: Some(ByteSize::kib(512)),
        ..CandleOptions::default()
    };
    let engine = Arc::new(CandleEngine::open(path, options).unwrap());
    while engine.info().state == EngineState::Loading {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    engine
}

/// One submitter: each request is given up at a moment of its own, or not at all.
async fn submit(engine: Arc<CandleEngine>, submitter: u64, count: u64) -> Ends {
    let mut random = ChaCha8Rng::seed_from_u64(submitter);
    let mut below = move |n: u64| random.next_u64() % n;
    let mut ends = Ends::default();
    for n in 0..count {
        let words = format!("{} {}", "the same beginning ".repeat(below(4) as usize), below(1 << 40));
        let request = Request {
            project: format!("project {}", below(3)),
            ..Request::new(vec![ChatMessage::user(words)], 1 + below(60) as u32)
        };
        let pin = n.is_multiple_of(50).then(|| engine.pin("project 0", &request.messages).unwrap());
        let mut stream = match engine.submit(request) {
            Ok(stream) => stream,
            Err(EngineError::Busy { queued }) => {
                assert!(queued <= 32, "{queued} wait");
                ends.busy += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            Err(other) => panic!("{other}"),
        };
        let moment = below(12);
        for _ in 0..moment.min(8) {
            tokio::task::yield_now().await;
        }
        match moment {
            0..3 => {
                drop(stream);
                ends.dropped += 1;
            }
            3..6 => {
                let _ = futures::future::select(stream.next(), Box::pin(tokio::time::sleep(Duration::from_millis(3))))
                    .await;
                drop(stream);
                ends.dropped += 1;
            }
            _ => {
                if moment < 9 {
                    stream.cancel();
                }
                match tokio::time::timeout(DEADLINE, last(stream)).await.unwrap() {
                    Finish::Cancelled => ends.cancelled += 1,
                    _ => ends.done += 1,
                }
            }
        }
        pin.into_iter().for_each(|pin| engine.unpin(pin));
    }
    ends
}

async fn last(mut stream: fleet_inference::TokenStream) -> Finish {
    while let Some(event) = stream.next().await {
        match event {
            TokenEvent::Text { .. } => {}
            TokenEvent::Done(usage) => return usage.finish,
            TokenEvent::Failed(error) => panic!("{error}"),
        }
    }
    panic!("a stream without an end")
}

async fn idle(engine: &CandleEngine) {
    let idle = async {
        loop {
            let stats = engine.stats();
            if stats.kv_held_bytes == 0 && stats.queued == 0 && stats.active == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, idle).await;
    waited.unwrap_or_else(|_| panic!("it holds on to something: {:?}", engine.stats()));
}

async fn storm(engine: &Arc<CandleEngine>, seed: u64) -> Ends {
    let submitters = (0..SUBMITTERS).map(|n| submit(Arc::clone(engine), seed + n, REQUESTS / 2 / SUBMITTERS));
    let mut sum = Ends::default();
    for ends in futures::future::join_all(submitters).await {
        sum.done += ends.done;
        sum.cancelled += ends.cancelled;
        sum.dropped += ends.dropped;
        sum.busy += ends.busy;
    }
    idle(engine).await;
    sum
}

#[test]
fn ten_thousand_requests_that_are_given_up_leave_nothing_behind_and_an_overload_loses_nothing() {
    // One test: the memory that is counted is the process's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(&dir, 32, 8).await;
        let first = storm(&engine, 1).await;
        let held = HELD.load(Relaxed);
        let second = storm(&engine, 1000).await;
        let more = HELD.load(Relaxed).saturating_sub(held);
        eprintln!("{first:?}, {second:?}, {more} bytes more");
        for ends in [&first, &second] {
            assert!(ends.done > 100 && ends.cancelled > 100 && ends.dropped > 100, "{ends:?}");
        }
        assert!(more < FLAT, "{more} bytes more are held");
        let stats = engine.stats();
        let ended = first.done + first.cancelled + first.dropped + second.done + second.cancelled + second.dropped;
        assert_eq!((stats.completed + stats.cancelled, stats.failed), (ended, 0));
        overload(&dir).await;
    });
}

/// Ten times as many requests at once as there is room for.
async fn overload(dir: &tempfile::TempDir) {
    const ROOM: usize = 16 + 4;
    let engine = open(dir, 16, 4).await;
    let asked = (0..10 * ROOM).map(|n| {
        let engine = Arc::clone(&engine);
        async move {
            let stream = engine.submit(Request::new(vec![ChatMessage::user(format!("request {n}"))], 30));
            assert!(engine.stats().queued <= 16, "{:?}", engine.stats());
            match stream {
                Ok(stream) => Ok(tokio::time::timeout(DEADLINE, last(stream)).await.unwrap()),
                Err(error) => Err(error),
            }
        }
    });
    let answers = futures::future::join_all(asked).await;
    let busy = answers.iter().filter(|a| matches!(a, Err(EngineError::Busy { .. }))).count();
    let done = answers.iter().filter(|a| matches!(a, Ok(Finish::Stop | Finish::Length))).count();
    assert_eq!(busy + done, 10 * ROOM, "{answers:?}");
    assert!(busy > 0 && done >= 16, "{busy} busy, {done} done");
    idle(&engine).await;
}
