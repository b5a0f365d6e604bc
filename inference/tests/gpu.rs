//! Engines on a real GPU, with the smallest model of the catalogue: `make gpu-test`, which names the GPU in FLEET_GPU. Built only
//! with the feature; what isn't there is a failure, since a skipped test proves nothing.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use fleet_inference::models::ModelStore;
use fleet_inference::{
    CandleEngine, CandleOptions, ChatMessage, Engine, EngineDevice, EngineState, LeaseDir, Request, TokenEvent, Usage,
    gpus_of_machine,
};
use futures::StreamExt;

const DEADLINE: Duration = Duration::from_secs(120);
const PROMPT: &str = "Write a function that reverses a list.";
/// Says to a run of this program that it is to take the GPU and stay.
const STAY: &str = "FLEET_GPU_TEST_STAY";

fn gpu() -> String {
    std::env::var("FLEET_GPU").expect("FLEET_GPU names the GPU; see `make gpu-test`")
}

fn model() -> PathBuf {
    let store = ModelStore::of_user().unwrap();
    store.path("smollm2-135m-instruct").unwrap_or_else(|e| panic!("run `make setup`: {e}"))
}

fn on(device: EngineDevice, kv: ByteSize) -> CandleOptions {
    CandleOptions { device, context: 1024, kv_memory: Some(kv), sequences: 64, draft: 0, ..CandleOptions::default() }
}

fn on_gpu(kv: ByteSize) -> CandleOptions {
    on(EngineDevice::Cuda(gpu()), kv)
}

/// The engine once it is loaded, or why it isn't.
async fn open(options: CandleOptions) -> Result<CandleEngine, String> {
    let engine = CandleEngine::open(model(), options).unwrap();
    let until = Instant::now() + DEADLINE;
    loop {
        match engine.info().state {
            EngineState::Ready => return Ok(engine),
            EngineState::Failed { why } => return Err(why),
            EngineState::Loading | EngineState::Draining => {
                assert!(Instant::now() < until, "the model isn't loaded in time")
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn ask(text: &str, max_tokens: u32) -> Request {
    Request::new(vec![ChatMessage::user(text)], max_tokens)
}

async fn complete(engine: &CandleEngine, request: Request) -> (String, Usage) {
    let (mut stream, mut text) = (engine.submit(request).unwrap(), String::new());
    loop {
        match tokio::time::timeout(DEADLINE, stream.next()).await.unwrap() {
            Some(TokenEvent::Text { text: more, .. }) => text.push_str(&more),
            Some(TokenEvent::Done(usage)) => return (text, usage),
            other => panic!("{other:?}"),
        }
    }
}

/// Runs this program again, as another process that takes the GPU and stays.
fn another_worker() -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_process_that_stays", "--exact", "--nocapture"]).env(STAY, "1");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Not a test by itself: what [`another_worker`] runs. It decodes until it is killed.
#[tokio::test]
async fn a_process_that_stays() {
    if std::env::var_os(STAY).is_none() {
        return;
    }
    let engine = open(on_gpu(ByteSize::mib(256))).await.unwrap();
    loop {
        complete(&engine, ask(PROMPT, 512)).await;
    }
}

#[tokio::test]
async fn a_second_worker_of_a_gpu_is_refused_and_a_killed_one_leaves_it_free() {
    let mut other = another_worker();
    let leases = LeaseDir::of_machine();
    until("the other process to take the GPU", || leases.holder(&gpu()) == Some(other.id())).await;
    let refused = open(on_gpu(ByteSize::mib(256))).await.err().expect("two workers on one GPU");
    assert!(refused.contains(&format!("held by process {}", other.id())), "{refused}");
    // In the middle of its decoding.
    other.kill().unwrap();
    other.wait().unwrap();
    until("the lease to be free", || leases.holder(&gpu()).is_none()).await;
    let engine = open(on_gpu(ByteSize::mib(256))).await.unwrap();
    assert!(complete(&engine, ask(PROMPT, 8)).await.1.completion_tokens > 0);
}

#[tokio::test]
async fn several_engines_of_one_process_share_a_gpu_and_one_that_does_not_fit_is_refused_in_bytes() {
    let first = open(on_gpu(ByteSize::gib(1))).await.unwrap();
    let second = open(on_gpu(ByteSize::gib(1))).await.unwrap();
    let of_gpu = gpus_of_machine().unwrap().into_iter().find(|status| status.gpu.uuid == gpu()).unwrap();
    let refused = open(on_gpu(ByteSize::b(of_gpu.gpu.memory_bytes))).await.err().expect("more than the GPU has");
    assert!(refused.contains("doesn't fit") && refused.contains(&of_gpu.gpu.memory_bytes.to_string()), "{refused}");
    // The refusal has taken nothing from those that are there.
    for engine in [&first, &second] {
        assert!(complete(engine, ask(PROMPT, 8)).await.1.completion_tokens > 0);
    }
}

#[tokio::test]
async fn want_of_memory_fails_requests_and_not_the_engine() {
    let engine = open(on_gpu(ByteSize::mib(64))).await.unwrap();
    let long = "word ".repeat(700);
    let replies = futures::future::join_all((0..32).map(|n| complete(&engine, ask(&format!("{n} {long}"), 32)))).await;
    assert_eq!(replies.len(), 32);
    assert_eq!(engine.info().state, EngineState::Ready);
}

/// Sums are taken in another order and in f16, so that close calls differ; the first words don't.
#[tokio::test]
async fn a_gpu_says_what_the_cpu_says() {
    let (cpu, gpu) = (open(on(EngineDevice::Cpu, ByteSize::mib(64))).await, open(on_gpu(ByteSize::mib(256))).await);
    let (cpu, gpu) = (cpu.unwrap(), gpu.unwrap());
    let prompts = ["What is 2 + 2?", "Name the capital of France.", PROMPT, "Say hello."];
    let mut same = 0;
    for prompt in prompts {
        let (of_cpu, of_gpu) = (complete(&cpu, ask(prompt, 8)).await.0, complete(&gpu, ask(prompt, 8)).await.0);
        println!("{prompt:?}: cpu {of_cpu:?}, gpu {of_gpu:?}");
        same += usize::from(of_cpu == of_gpu);
    }
    assert!(same + 1 >= prompts.len(), "{same} of {} replies are the same", prompts.len());
}

#[tokio::test]
async fn tokens_a_second_grow_with_the_streams() {
    let engine = open(on_gpu(ByteSize::gib(2))).await.unwrap();
    complete(&engine, ask(PROMPT, 32)).await;
    let mut rates = Vec::new();
    for streams in [1, 8, 64] {
        let began = Instant::now();
        let replies = (0..streams).map(|n| complete(&engine, ask(&format!("{n}: {PROMPT}"), 128)));
        let tokens: u32 =
            futures::future::join_all(replies).await.iter().map(|(_, usage)| usage.completion_tokens).sum();
        let rate = f64::from(tokens) / began.elapsed().as_secs_f64();
        println!("{streams} streams: {rate:.0} tokens/s");
        rates.push(rate);
    }
    assert!(rates[1] > rates[0] && rates[2] > rates[1], "{rates:?}");
}
