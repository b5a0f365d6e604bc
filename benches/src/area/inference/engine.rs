//! Fleet's side of the measurements: an engine in this process, asked as anybody would ask it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use fleet_inference::{
    CandleEngine, CandleOptions, ChatMessage, Constraint, Engine, EngineDevice, EngineState, Request, TokenEvent,
    Usage, text_nll,
};
use futures::StreamExt;
use serde_json::json;

use super::{TEXT, unknown};

/// Tokens of a prompt before decoding is measured, about.
const BEFORE: usize = 100;
/// Tokens decoded by each stream.
const DECODED: usize = 96;
const SHARED_TOKENS: usize = 1024;
/// Set to anything: a tenth of everything, to see that it works.
pub(super) const QUICK: &str = "FLEET_BENCH_QUICK";
/// What ends a reply, in the models that are measured: so that none ends early.
const ENDS: [u32; 4] = [0, 2, 151_643, 151_645];

/// `speed MODEL`, `shared MODEL`, `start MODEL`, `guess MODEL`, `schema MODEL` or `nll MODEL FILE`.
pub(super) fn run(args: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["speed", model] => runtime.block_on(speed(Path::new(model))),
        ["shared", model] => runtime.block_on(shared(Path::new(model))),
        ["start", model] => runtime.block_on(start(Path::new(model))),
        ["guess", model] => runtime.block_on(guess(Path::new(model))),
        ["schema", model] => runtime.block_on(schema(Path::new(model))),
        ["nll", model, file] => {
            let (nll, tokens) = text_nll(Path::new(model), &std::fs::read_to_string(file)?, 512)?;
            say(&json!({ "nll": nll, "tokens": tokens }))
        }
        _ => unknown(args),
    }
}

#[expect(clippy::print_stdout, reason = "whoever started this reads it")]
fn say(value: &serde_json::Value) -> Result<()> {
    println!("{value}");
    Ok(())
}

async fn open(model: &Path, draft: usize) -> Result<Arc<CandleEngine>> {
    let tiles = std::env::temp_dir().join("fleet-bench-tiles");
    let options = CandleOptions {
        device: EngineDevice::Cpu,
        context: 2048,
        draft,
        draft_below: 4,
        tiles: Some(tiles),
        ..CandleOptions::default()
    };
    let engine = CandleEngine::open(model, options)?;
    loop {
        match engine.info().state {
            EngineState::Ready => return Ok(Arc::new(engine)),
            EngineState::Failed { why } => bail!("{why}"),
            EngineState::Loading | EngineState::Draining => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// So many, or a few if it has to be quick.
fn count(full: usize) -> usize {
    if std::env::var_os(QUICK).is_some() { full / 8 } else { full }
}

/// About so many tokens of the text, beginning somewhere.
fn words(engine: &CandleEngine, tokens: usize, from: usize) -> Result<String> {
    let text = std::fs::read_to_string(TEXT)?;
    let lines: Vec<&str> = text.lines().cycle().skip(from).take(2000).collect();
    let mut n = 0;
    let mut taken = String::new();
    for line in lines {
        let more = engine.count_tokens(line) as usize + 1;
        if n + more > tokens {
            continue;
        }
        n += more;
        taken.push_str(line);
        taken.push('\n');
        if n + 2 >= tokens {
            break;
        }
    }
    Ok(taken)
}

fn request(text: String, max_tokens: u32, project: &str) -> Request {
    let logit_bias = ENDS.map(|id| (id, -100.0)).to_vec();
    Request {
        project: project.to_owned(),
        logit_bias,
        ..Request::new(vec![ChatMessage::system("Go on."), ChatMessage::user(text)], max_tokens)
    }
}

/// When each token came, and what the request cost.
async fn timed(engine: Arc<CandleEngine>, request: Request) -> Result<(Vec<Instant>, Usage)> {
    let mut stream = engine.submit(request)?;
    let mut times = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            TokenEvent::Text { tokens, .. } => times.extend((0..tokens).map(|_| Instant::now())),
            TokenEvent::Done(usage) => return Ok((times, usage)),
            TokenEvent::Failed(error) => return Err(error.into()),
        }
    }
    bail!("the stream ended")
}

async fn all(engine: &Arc<CandleEngine>, requests: Vec<Request>) -> Result<Vec<(Vec<Instant>, Usage)>> {
    let asked = requests.into_iter().map(|request| timed(Arc::clone(engine), request));
    futures::future::join_all(asked).await.into_iter().collect()
}

async fn speed(model: &Path) -> Result<()> {
    let engine = open(model, 0).await?;
    let mut prefill = 0.0_f64;
    for round in 0..count(3).max(1) {
        let text = words(&engine, 490, round)?;
        let (_, usage) = timed(Arc::clone(&engine), request(text, 1, &format!("prefill {round}"))).await?;
        ensure!((450..=560).contains(&usage.prompt_tokens) && usage.cached_tokens == 0, "{usage:?}");
        prefill = prefill.max(f64::from(usage.prompt_tokens) * 1e3 / usage.prefill_ms.max(1) as f64);
    }
    let mut rates = Vec::new();
    for streams in [1, 8, 16] {
        rates.push(decode(&engine, streams).await?);
    }
    say(&json!({ "prefill": prefill, "decode1": rates[0], "decode8": rates[1], "decode16": rates[2] }))
}

/// Tokens a second of all streams together, from when the last one has its first token to when the first one ends.
async fn decode(engine: &Arc<CandleEngine>, streams: usize) -> Result<f64> {
    let mut requests = Vec::new();
    for n in 0..streams {
        requests.push(request(words(engine, BEFORE, 3 * n)?, count(DECODED) as u32, &format!("{streams} {n}")));
    }
    let times: Vec<Vec<Instant>> = all(engine, requests).await?.into_iter().map(|(times, _)| times).collect();
    let from = times.iter().filter_map(|t| t.first()).max().copied();
    let to = times.iter().filter_map(|t| t.last()).min().copied();
    let (Some(from), Some(to)) = (from, to) else { bail!("no tokens") };
    let tokens = times.iter().flatten().filter(|at| **at > from && **at <= to).count();
    ensure!(tokens >= streams * count(30), "only {tokens} tokens in common");
    Ok(tokens as f64 / (to - from).as_secs_f64())
}

async fn shared(model: &Path) -> Result<()> {
    let engine = open(model, 0).await?;
    let common = words(&engine, count(SHARED_TOKENS), 0)?;
    let mut results = Vec::new();
    for share in [false, true] {
        let mut requests = Vec::new();
        for n in 0..16 {
            let project = if share { "together".to_owned() } else { format!("apart {n}") };
            let text = format!("{common}{}", words(&engine, 56, 5 * n + 1)?);
            requests.push(request(text, count(64) as u32, &project));
        }
        let began = Instant::now();
        let (done, held) = futures::future::join(all(&engine, requests), most_held(&engine)).await;
        done?;
        results.push((began.elapsed().as_secs_f64(), held));
    }
    let [(apart_s, apart_kv), (shared_s, shared_kv)] = results[..] else { bail!("two measurements") };
    say(&json!({ "apart_s": apart_s, "shared_s": shared_s, "apart_kv": apart_kv, "shared_kv": shared_kv }))
}

/// The most bytes of keys and values that were held until none were.
async fn most_held(engine: &CandleEngine) -> f64 {
    let mut most = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let stats = engine.stats();
        most = most.max(stats.kv_held_bytes);
        if most > 0 && stats.kv_held_bytes == 0 && stats.queued == 0 {
            return most as f64;
        }
    }
}

async fn start(model: &Path) -> Result<()> {
    let engine = open(model, 0).await?;
    let asked = request("Write a function that adds two numbers.".into(), 1, "");
    timed(engine, asked).await?;
    say(&json!("first"))
}

async fn guess(model: &Path) -> Result<()> {
    let mut rates = Vec::new();
    for draft in [0, 8] {
        let engine = open(model, draft).await?;
        let code = words(&engine, 300, 0)?;
        let asked = request(format!("Repeat this text exactly, nothing else:\n{code}"), count(200) as u32, "");
        let (times, _) = timed(engine, asked).await?;
        let (Some(first), Some(last)) = (times.first(), times.last()) else { bail!("no tokens") };
        rates.push((times.len() - 1) as f64 / (*last - *first).as_secs_f64());
    }
    say(&json!({ "without": rates[0], "with": rates[1] }))
}

/// What a reply is held to: long enough that none ends before its tokens do.
const SCHEMA: &str = r#"{"type": "array", "minItems": 100, "items": {"type": "object", "additionalProperties": false,
    "required": ["name", "what", "lines", "kind"], "properties": {"name": {"type": "string", "maxLength": 40},
    "what": {"type": "string", "maxLength": 120}, "lines": {"type": "integer"}, "kind": {"enum": ["bug", "feature", "test"]}}}}"#;

/// Seconds that a token takes from the asking on, free and held to a schema, of one stream and of eight.
async fn schema(model: &Path) -> Result<()> {
    let engine = open(model, 0).await?;
    let asked = |n: usize, project: String, constraint: Constraint| -> Result<Request> {
        let text = format!("{}\nList what is to be done, as JSON.", words(&engine, BEFORE, 3 * n)?);
        Ok(Request { constraint, ..request(text, count(DECODED) as u32, &project) })
    };
    // What is made once for all constraints.
    timed(Arc::clone(&engine), asked(0, "first".into(), Constraint::JsonSchema(SCHEMA.into()))?).await?;
    let mut seconds = Vec::new();
    for streams in [1, 8] {
        for held in [false, true] {
            let constraint = if held { Constraint::JsonSchema(SCHEMA.into()) } else { Constraint::None };
            let requests = (0..streams).map(|n| asked(n, format!("{streams} {held} {n}"), constraint.clone()));
            let requests = requests.collect::<Result<Vec<_>>>()?;
            let began = Instant::now();
            let done = all(&engine, requests).await?;
            let tokens: usize = done.iter().map(|(times, _)| times.len()).sum();
            ensure!(tokens >= streams * count(DECODED) * 9 / 10, "only {tokens} tokens");
            seconds.push(began.elapsed().as_secs_f64() / tokens as f64);
        }
    }
    say(&json!({ "free1": seconds[0], "held1": seconds[1], "free8": seconds[2], "held8": seconds[3] }))
}
