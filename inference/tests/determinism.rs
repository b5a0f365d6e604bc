//! The same request gives the same tokens, with the same likelihoods to the last bit, alone and among others: whether its
//! beginning is computed or shared, whether it is preempted on its way, and whether tokens are guessed ahead.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod tiny;

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use fleet_inference::{
    CandleEngine, CandleOptions, ChatMessage, Engine, EngineDevice, EngineStats, Priority, Request, Sampling,
    TokenEvent, Usage,
};
use futures::StreamExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tiny::Gguf;

const REQUESTS: u64 = 16;
const OTHERS: u64 = 24;

/// What a request came to: each token's bytes and how likely it was, bit for bit.
type Reply = Vec<(Vec<u8>, u32)>;

fn model(dir: &tempfile::TempDir, architecture: &str) -> PathBuf {
    let path = dir.path().join(format!("{architecture}.gguf"));
    Gguf::tiny(architecture).write(&path);
    path
}

fn options() -> CandleOptions {
    CandleOptions {
        device: EngineDevice::Cpu,
        context: 768,
        step: 64,
        queue: 1000,
        kv_memory: Some(ByteSize::mib(8)),
        draft: 0,
        ..CandleOptions::default()
    }
}

/// The request of a number. Half of them begin alike, and half say things again that they said.
fn request(n: u64, project: String) -> Request {
    let mut random = ChaCha8Rng::seed_from_u64(n);
    let mut word = || ["the", "anthem", "x = 1\n", "is not", "earth "][(random.next_u32() % 5) as usize];
    let own: String = (0..10 + n % 7 * 12).map(|_| word()).collect();
    let begin = if n.is_multiple_of(2) {
        "all of them begin with this, which is more than one block".repeat(3)
    } else {
        String::new()
    };
    let sampling = match n % 3 {
        0 => Sampling::default(),
        1 => Sampling { temperature: 0.9, top_p: 0.95, seed: n, ..Sampling::default() },
        _ => Sampling { temperature: 0.3, top_k: 20, repeat_penalty: 1.1, seed: n, ..Sampling::default() },
    };
    Request {
        project,
        sampling,
        logprobs: Some(2),
        // None ends before the others.
        logit_bias: (0..3).map(|id| (tiny::VOCABULARY - 1 - id, -100.0)).collect(),
        ..Request::new(vec![ChatMessage::system(begin), ChatMessage::user(own)], 40)
    }
}

async fn ask(engine: &CandleEngine, request: Request) -> (Reply, Usage) {
    let (mut stream, mut reply) = (engine.submit(request).unwrap(), Vec::new());
    while let Some(event) = stream.next().await {
        match event {
            TokenEvent::Text { logprobs, .. } => {
                reply.extend(logprobs.into_iter().map(|token| (token.bytes, token.logprob.to_bits())));
            }
            TokenEvent::Done(usage) => return (reply, usage),
            TokenEvent::Failed(error) => panic!("{error}"),
        }
    }
    panic!("the stream ended")
}

async fn alone(path: &Path) -> Vec<Reply> {
    let options = CandleOptions { sequences: 1, ..options() };
    let engine = CandleEngine::open(path, options).unwrap();
    let mut replies = Vec::new();
    for n in 0..REQUESTS {
        let (reply, usage) = ask(&engine, request(n, format!("alone {n}"))).await;
        assert_eq!((usage.cached_tokens, reply.len()), (0, 40));
        replies.push(reply);
    }
    replies
}

/// Together with random others, in random order; what each came to, and the tokens that were shared.
async fn together(path: &Path, options: CandleOptions, shared: bool) -> (Vec<Reply>, u64, EngineStats) {
    let engine = CandleEngine::open(path, options).unwrap();
    let mut order: Vec<u64> = (0..REQUESTS + OTHERS).collect();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    for at in (1..order.len()).rev() {
        order.swap(at, (random.next_u64() % (at as u64 + 1)) as usize);
    }
    let asked = order.iter().map(|n| {
        let project = if shared { "one".to_owned() } else { format!("together {n}") };
        let priority = [Priority::Low, Priority::Normal, Priority::High][(random.next_u32() % 3) as usize];
        ask(&engine, Request { priority, ..request(*n, project) })
    });
    let replies = futures::future::join_all(asked).await;
    let mut of_ours: Vec<_> = order.into_iter().zip(replies).filter(|(n, _)| *n < REQUESTS).collect();
    of_ours.sort_by_key(|(n, _)| *n);
    let cached = of_ours.iter().map(|(_, (_, usage))| u64::from(usage.cached_tokens)).sum();
    (of_ours.into_iter().map(|(_, (reply, _))| reply).collect(), cached, engine.stats())
}

fn same(one: &[Reply], other: &[Reply], how: &str) {
    for (n, (one, other)) in one.iter().zip(other).enumerate() {
        let first = one.iter().zip(other).position(|(a, b)| a != b);
        assert!(one == other, "{how}: request {n} is another one from token {first:?} on");
    }
}

#[tokio::test]
async fn a_request_gives_the_same_alone_and_in_every_company() {
    let dir = tempfile::tempdir().unwrap();
    for architecture in ["llama", "qwen2", "qwen3"] {
        let path = model(&dir, architecture);
        let expected = alone(&path).await;
        let guessing = || CandleOptions { draft: 8, draft_below: 64, ..options() };
        // Room for a few of the forty.
        let narrow = |options| CandleOptions { kv_memory: Some(ByteSize::kib(512)), ..options };

        let (replies, cached, _) = together(&path, options(), false).await;
        same(&expected, &replies, "nothing shared");
        assert_eq!(cached, 0);

        let (replies, cached, _) = together(&path, options(), true).await;
        same(&expected, &replies, "beginnings shared");
        assert!(cached > 500, "{cached} tokens were shared");

        let (replies, _, stats) = together(&path, narrow(options()), true).await;
        same(&expected, &replies, "preempted");
        assert!(stats.preempted > 0, "nothing was preempted");

        let (replies, _, stats) = together(&path, guessing(), false).await;
        same(&expected, &replies, "guessed ahead");
        assert!(stats.guessed > 100, "{} tokens were guessed", stats.guessed);

        let (replies, _, stats) = together(&path, narrow(guessing()), true).await;
        same(&expected, &replies, "all at once");
        assert!(stats.preempted > 0 && stats.guessed > 0, "{stats:?}");
    }
}

#[tokio::test]
async fn chunks_of_any_length_give_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = model(&dir, "qwen2");
    let expected = alone(&path).await;
    for (step, sequences) in [(7, 3), (33, 40), (512, 40)] {
        let options = CandleOptions { step, sequences, ..options() };
        let (replies, _, _) = together(&path, options, true).await;
        same(&expected, &replies, &format!("steps of {step}"));
    }
}
