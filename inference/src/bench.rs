//! How fast a model is on this machine: an engine in this process, asked as anybody would ask it.
//!
//! One [`Part`] is one engine with its settings, and the loads that it is put under, one after the other. The number of
//! threads belongs to the process, so whoever wants to compare several runs each part in a process of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::{
    CandleEngine, CandleOptions, ChatMessage, Engine, EngineDevice, EngineError, EngineState, Request, TokenEvent,
};

/// What prompts are filled with: code, since that is what engines are here for.
const LINES: [&str; 6] = [
    "fn crates_for(bottles: usize, each: usize) -> usize { bottles.div_ceil(each) }\n",
    "for row in rows.iter().filter(|row| row.complete) { sum += row.tokens.len(); }\n",
    "let end = data.checked_add(offset).ok_or_else(|| \"an impossible offset\".to_owned())?;\n",
    "# A crate that is not full counts as one; no bottles need none.\n",
    "assert_eq!(crates_for(11, 5), 3, \"eleven bottles in crates of five\");\n",
    "match self.running.iter().position(|s| s.id == id) { Some(at) => at, None => return }\n",
];
/// How often an engine's figures are looked at while it works.
const GLANCE: Duration = Duration::from_millis(5);

/// What an engine is asked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Requests at a time.
    pub streams: u32,
    /// Tokens of each prompt, about.
    pub filled: u32,
    /// Tokens that each reply has.
    pub decoded: u32,
    /// The replies repeat what the prompt says, as edits of code do.
    pub repeats: bool,
}

/// One engine and what it is put under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub model: PathBuf,
    /// Where the weights' tiles are kept; see [`CandleOptions::tiles`].
    pub tiles: Option<PathBuf>,
    pub context: u32,
    /// Bytes for keys and values.
    pub kv_memory: u64,
    /// Tokens that are guessed ahead; 0: none.
    pub draft: u32,
    pub loads: Vec<Load>,
    /// A load that would take longer, by what was measured before it, is left out. In seconds.
    pub longest_s: f64,
}

/// What came of one load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub load: Load,
    pub threads: u32,
    pub kv_memory: u64,
    pub draft: u32,
    /// Tokens decoded a second by all streams together, while all of them decode.
    pub tokens_per_s: f64,
    /// From asking to the first token, in milliseconds: the median of the streams, and the last.
    pub first_token_ms: f64,
    pub last_first_token_ms: f64,
    /// Tokens of prompts read a second, where that takes long enough to be measured; else 0.
    pub prefill_per_s: f64,
    /// The most bytes of keys and values that were held, and how many tokens they were for.
    pub kv_held: u64,
    pub kv_tokens: u64,
    /// The process's memory at its highest so far, in bytes.
    pub memory: u64,
    /// Requests that gave their memory back to others, to be computed again.
    pub preempted: u64,
    /// If it was left out: about how many seconds it would take.
    pub left_out_s: Option<f64>,
}

/// Runs a part and tells each point when it is there.
pub async fn run(part: &Part, mut told: impl FnMut(Point)) -> Result<(), EngineError> {
    let options = CandleOptions {
        device: EngineDevice::Cpu,
        context: part.context,
        kv_memory: Some(ByteSize(part.kv_memory)),
        queue: 1024,
        queue_tokens: u64::MAX,
        draft: part.draft as usize,
        draft_below: if part.draft > 0 { 64 } else { 0 },
        sequences: 64,
        tiles: part.tiles.clone(),
        ..CandleOptions::default()
    };
    let engine = CandleEngine::open(&part.model, options)?;
    while engine.info().state == EngineState::Loading {
        tokio::time::sleep(GLANCE).await;
    }
    if let EngineState::Failed { why } = engine.info().state {
        return Err(EngineError::Model(why));
    }
    // The first request touches every page of the weights, and tells how fast prompts are read.
    let first = Load { streams: 1, filled: 256.min(part.context / 2), decoded: 4, repeats: false };
    let mut known = measure(&engine, part, first, 0).await?;
    for (n, load) in (1..).zip(&part.loads) {
        let seconds = expected(&known, load);
        if seconds > part.longest_s {
            told(Point { load: *load, left_out_s: Some(seconds), ..known });
            continue;
        }
        let point = measure(&engine, part, *load, n).await?;
        if point.prefill_per_s > 0.0 {
            known.prefill_per_s = point.prefill_per_s;
        }
        known.tokens_per_s = known.tokens_per_s.max(point.tokens_per_s);
        told(point);
    }
    Ok(())
}

/// Seconds that a load takes, by what is known so far.
pub fn expected(known: &Point, load: &Load) -> f64 {
    let (streams, per_s) = (f64::from(load.streams), |rate: f64| if rate > 0.0 { 1.0 / rate } else { 0.0 });
    streams
        * (f64::from(load.filled) * per_s(known.prefill_per_s) + f64::from(load.decoded) * per_s(known.tokens_per_s))
}

/// When the tokens of one stream came.
struct Times {
    asked: Instant,
    tokens: Vec<Instant>,
    prompt: u32,
    cached: u32,
}

async fn measure(engine: &CandleEngine, part: &Part, load: Load, n: u32) -> Result<Point, EngineError> {
    let before = engine.stats();
    let asked = (0..load.streams).map(|stream| timed(engine, request(engine, load, n, stream)));
    let mut asked = std::pin::pin!(futures::future::join_all(asked));
    let mut held = 0;
    let all = loop {
        tokio::select! {
            all = &mut asked => break all,
            () = tokio::time::sleep(GLANCE) => held = held.max(engine.stats().kv_held_bytes),
        }
    };
    let times = all.into_iter().collect::<Result<Vec<_>, _>>()?;
    let ms = |t: &Times| t.tokens.first().map_or(0.0, |at| (*at - t.asked).as_secs_f64() * 1e3);
    let mut firsts: Vec<f64> = times.iter().map(ms).collect();
    firsts.sort_by(f64::total_cmp);
    let last = firsts.last().copied().unwrap_or(0.0);
    let read: u32 = times.iter().map(|t| t.prompt - t.cached).sum();
    Ok(Point {
        load,
        threads: candle_core::utils::get_num_threads() as u32,
        kv_memory: part.kv_memory,
        draft: part.draft,
        tokens_per_s: rate(&times),
        first_token_ms: firsts.get(firsts.len() / 2).copied().unwrap_or(0.0),
        last_first_token_ms: last,
        prefill_per_s: if read >= 128 && last > 0.0 { f64::from(read) * 1e3 / last } else { 0.0 },
        kv_held: held,
        kv_tokens: times.iter().map(|t| u64::from(t.prompt) + t.tokens.len() as u64).sum(),
        memory: most_memory(),
        preempted: engine.stats().preempted - before.preempted,
        left_out_s: None,
    })
}

/// Tokens a second from when the last stream has its first token to when the first one ends; of all the time where there
/// is no such moment, as when some wait for others.
fn rate(times: &[Times]) -> f64 {
    let tokens = || times.iter().flat_map(|t| &t.tokens);
    let from = times.iter().filter_map(|t| t.tokens.first()).max();
    let to = times.iter().filter_map(|t| t.tokens.last()).min();
    let within = |from: &Instant, to: &Instant| {
        let count = tokens().filter(|at| *at > from && *at <= to).count();
        (count > 0 && to > from).then(|| count as f64 / (*to - *from).as_secs_f64())
    };
    let enough = |from: &Instant, to: &Instant| tokens().filter(|at| *at > from && *at <= to).count() > 4 * times.len();
    let common = from.zip(to).filter(|(from, to)| enough(from, to));
    let whole = || tokens().min().zip(tokens().max());
    common.or_else(whole).and_then(|(from, to)| within(from, to)).unwrap_or(0.0)
}

fn request(engine: &CandleEngine, load: Load, n: u32, stream: u32) -> Request {
    let first = (n * 7 + stream) as usize;
    let mut text = if load.repeats { "Repeat this text exactly, nothing else:\n" } else { "Go on.\n" }.to_owned();
    let mut tokens = 0;
    for at in first.. {
        let line = format!("{at}: {}", LINES[at % LINES.len()]);
        tokens += engine.count_tokens(&line);
        if tokens > load.filled {
            break;
        }
        text.push_str(&line);
    }
    Request {
        // Nothing is shared: what is measured is computed.
        project: format!("{n} {stream}"),
        // No stream ends before the others.
        logit_bias: engine.end_tokens().into_iter().map(|id| (id, -100.0)).collect(),
        ..Request::new(vec![ChatMessage::user(text)], load.decoded.max(1))
    }
}

async fn timed(engine: &CandleEngine, request: Request) -> Result<Times, EngineError> {
    let (asked, mut tokens) = (Instant::now(), Vec::new());
    let mut stream = engine.submit(request)?;
    while let Some(event) = stream.next().await {
        match event {
            TokenEvent::Text { tokens: more, .. } => tokens.extend((0..more).map(|_| Instant::now())),
            TokenEvent::Done(usage) => {
                return Ok(Times { asked, tokens, prompt: usage.prompt_tokens, cached: usage.cached_tokens });
            }
            TokenEvent::Failed(error) => return Err(error),
        }
    }
    Err(EngineError::Gone)
}

/// What the kernels compute with here: `plain`, `avx2` or `avx512-vnni`.
pub fn instruction_set() -> &'static str {
    crate::kernels::Level::best().name()
}

/// The process's memory at its highest, in bytes; 0 where the system doesn't say.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::tiny::Gguf;

    #[tokio::test]
    async fn every_load_has_its_point_and_what_takes_too_long_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("tiny.gguf");
        Gguf::tiny("llama").write(&model);
        let load = |streams, filled| Load { streams, filled, decoded: 20, repeats: false };
        let loads = vec![load(1, 30), load(4, 200), load(64, 900)];
        let part = Part {
            model,
            tiles: None,
            context: 1024,
            kv_memory: 4 << 20,
            draft: 0,
            loads: loads.clone(),
            longest_s: 1e-9,
        };
        let mut points = Vec::new();
        run(&part, |point| points.push(point)).await.unwrap();
        assert!(points.len() == 3 && points.iter().all(|p| p.left_out_s.unwrap() > 0.0), "{points:?}");
        points.clear();
        run(&Part { longest_s: 1e9, loads: loads[..2].to_vec(), ..part }, |point| points.push(point)).await.unwrap();
        assert_eq!(points.iter().map(|p| p.load).collect::<Vec<_>>(), loads[..2]);
        for point in &points {
            assert!(point.tokens_per_s > 1.0 && point.first_token_ms > 0.0 && point.left_out_s.is_none(), "{point:?}");
            assert!(point.kv_tokens >= u64::from(point.load.streams * 20) && point.memory > 1 << 20, "{point:?}");
        }
    }

    #[test]
    fn the_rate_counts_while_all_streams_decode() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let stream = |from: u64, step: u64| Times {
            asked: start,
            tokens: (0..100).map(|n| at(from + n * step)).collect(),
            prompt: 1,
            cached: 0,
        };
        // From 200 ms on both decode, 100 a second each, until the first ends.
        let together = rate(&[stream(0, 10), stream(200, 10)]);
        assert!((together - 200.0).abs() < 5.0, "{together}");
        // One waits for the other: there is no such time.
        let apart = rate(&[stream(0, 10), stream(2000, 10)]);
        assert!((apart - 200.0 / 2.99).abs() < 2.0, "{apart}");
        assert_eq!(rate(&[]), 0.0);
    }
}
