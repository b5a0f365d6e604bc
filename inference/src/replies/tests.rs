#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::fs;
use std::time::Duration;

use super::*;
use crate::testing::complete;
use crate::{EngineState, MockEngine, MockOptions, RequestTag, Script};

/// An engine that says how often it was asked, and calls itself a model on this machine.
struct Counts {
    inner: MockEngine,
    asked: AtomicU64,
}

impl Engine for Counts {
    fn info(&self) -> EngineInfo {
        let model = "a-model".to_owned();
        EngineInfo { kind: EngineKind::Candle, mock: false, model, ..self.inner.info() }
    }

    fn submit(&self, request: Request) -> Result<TokenStream, EngineError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.inner.submit(request)
    }

    fn pin(&self, project: &str, messages: &[ChatMessage]) -> Result<PinId, EngineError> {
        self.inner.pin(project, messages)
    }

    fn unpin(&self, pin: PinId) {
        self.inner.unpin(pin);
    }

    fn stats(&self) -> EngineStats {
        self.inner.stats()
    }

    fn count_tokens(&self, text: &str) -> u32 {
        self.inner.count_tokens(text)
    }
}

struct Bed {
    dir: tempfile::TempDir,
    counts: Arc<Counts>,
}

impl Bed {
    fn new() -> Self {
        let script = "replies:\n  - text: fn one() {}\n";
        let script = Script::parse(script).unwrap();
        let inner = MockEngine::new(MockOptions { script, ..MockOptions::default() });
        Self { dir: tempfile::tempdir().unwrap(), counts: Arc::new(Counts { inner, asked: AtomicU64::new(0) }) }
    }

    fn engine(&self, limit: u64) -> Arc<dyn Engine> {
        let cache = Arc::new(ReplyCache::open(self.dir.path().join("replies"), limit).unwrap());
        KeepsReplies::before(self.counts.clone(), &EngineConfig::default(), &cache)
    }

    fn asked(&self) -> u64 {
        self.counts.asked.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum()
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let folders = fs::read_dir(self.dir.path().join("replies")).unwrap();
        folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap()).map(|f| f.unwrap().path()).collect()
    }
}

fn request(text: &str, seed: u64) -> Request {
    let mut request = Request::new(vec![ChatMessage::user(text)], 50);
    (request.sampling.temperature, request.sampling.seed) = (0.8, seed);
    request
}

#[tokio::test]
async fn the_same_request_is_answered_from_disk_with_its_cost_and_says_so() {
    let bed = Bed::new();
    let first = complete(&*bed.engine(1 << 20), request("one", 7)).await.unwrap();
    assert!(!first.usage.replayed);

    let engine = bed.engine(1 << 20);
    let mut again = request("one", 7);
    again.tag = RequestTag { job: "another".into(), attempt: 3, ..RequestTag::default() };
    again.deadline = Duration::from_secs(1);
    let second = complete(&*engine, again).await.unwrap();

    assert_eq!((second.text, bed.asked()), (first.text, 1));
    assert_eq!(second.usage, Usage { replayed: true, ..first.usage });
    assert_eq!(engine.stats().replayed, 1);
}

#[tokio::test]
async fn whatever_decides_a_reply_makes_another_request_of_it() {
    let bed = Bed::new();
    let engine = bed.engine(1 << 20);
    let mut others = vec![request("one", 7), request("one", 8), request("two", 7)];
    for change in [
        |r: &mut Request| r.max_tokens += 1,
        |r: &mut Request| r.project = "other".into(),
        |r: &mut Request| r.assistant_prefix = Some("fn".into()),
        |r: &mut Request| r.stop = vec!["}".into()],
        |r: &mut Request| r.sampling.temperature = 0.7,
        |r: &mut Request| r.sampling.temperature = 0.0,
    ] {
        let mut other = request("one", 7);
        change(&mut other);
        others.push(other);
    }
    for other in &others {
        assert!(!complete(&*engine, other.clone()).await.unwrap().usage.replayed);
    }
    assert_eq!(bed.asked(), others.len() as u64);
}

#[tokio::test]
async fn the_likeliest_reply_does_not_hang_on_the_seed() {
    let bed = Bed::new();
    let engine = bed.engine(1 << 20);
    for seed in [1, 2] {
        let mut greedy = request("one", seed);
        greedy.sampling.temperature = 0.0;
        complete(&*engine, greedy).await.unwrap();
    }
    assert_eq!(bed.asked(), 1);
}

#[tokio::test]
async fn what_is_not_whole_is_not_kept() {
    let bed = Bed::new();
    let engine = bed.engine(1 << 20);
    let stream = engine.submit(request("one", 7)).unwrap();
    stream.cancel();
    let events: Vec<_> = stream.collect().await;
    assert!(matches!(events.last(), Some(TokenEvent::Done(usage)) if usage.finish == Finish::Cancelled), "{events:?}");
    assert!(bed.files().is_empty());

    complete(&*engine, request("one", 7)).await.unwrap();
    fs::write(&bed.files()[0], "{\"text\": \"half a").unwrap();
    assert!(!complete(&*engine, request("one", 7)).await.unwrap().usage.replayed);
    assert!(complete(&*engine, request("one", 7)).await.unwrap().usage.replayed);
}

#[tokio::test]
async fn what_was_not_used_for_longest_goes_when_there_is_too_much() {
    let bed = Bed::new();
    complete(&*bed.engine(1 << 20), request("one", 0)).await.unwrap();
    let limit = bed.bytes() * 10 + 5;
    let engine = bed.engine(limit);
    for seed in 1..30 {
        complete(&*engine, request("one", seed)).await.unwrap();
        assert!(bed.bytes() <= limit);
        // Asked for again each time, the first one stays.
        assert!(complete(&*engine, request("one", 0)).await.unwrap().usage.replayed, "seed {seed}");
    }
    assert!(bed.files().len() >= 8, "{}", bed.files().len());
}

#[test]
fn a_script_is_asked_every_time() {
    let bed = Bed::new();
    let cache = Arc::new(ReplyCache::open(bed.dir.path().join("replies"), 1 << 20).unwrap());
    let config = EngineConfig { kind: EngineKind::Mock, ..EngineConfig::default() };
    let engine: Arc<dyn Engine> = Arc::new(MockEngine::new(MockOptions::default()));
    assert!(Arc::ptr_eq(&KeepsReplies::before(Arc::clone(&engine), &config, &cache), &engine));
}

#[test]
fn a_reply_of_an_engine_that_is_not_ready_has_no_key() {
    let bed = Bed::new();
    let info = EngineInfo { state: EngineState::Loading, ..bed.counts.info() };
    assert_eq!(key::key("", &info, &request("one", 7)), None);
}
