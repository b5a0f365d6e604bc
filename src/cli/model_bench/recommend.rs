//! What to configure, by what was measured, and why. Pure. Only keys that `[[inference.engine]]` has; what has no key is said.

use fleet_inference::bench::{Load, Point};
use serde::Serialize;

use super::plan::{Stage, best_threads};
use super::rows::{Row, measured};
use crate::cli::figures::{self, plain};

/// A prompt that fills the context should be read within that many seconds.
const PATIENCE_S: f64 = 60.0;
/// The last one that waits should wait no longer than that many seconds.
const WAIT_S: f64 = 300.0;
/// What a reply has, where a time is told.
const REPLY: u32 = 128;
const MIB: u64 = 1 << 20;

/// What is known beside the measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The model, as the configuration names it.
    pub model: String,
    /// The context that was asked for.
    pub context: u32,
    /// Bytes of keys and values of one token.
    pub kv_bytes: u64,
    /// Memory that can be had for keys and values.
    pub memory: u64,
}

/// What to configure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recommendation {
    pub threads: u32,
    /// Requests at once.
    pub streams: u32,
    pub context: u32,
    pub kv_memory: u64,
    pub queue: u32,
    /// One for each value.
    pub reasons: Vec<Reason>,
    /// Ready for `cluster.toml`.
    pub toml: String,
}

/// Why a value was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The key, or what there is no key for.
    pub key: String,
    pub value: String,
    pub why: String,
}

impl Reason {
    fn new(key: &str, value: impl ToString, why: String) -> Self {
        Self { key: key.to_owned(), value: value.to_string(), why }
    }
}

/// The recommendation; none where nothing was measured.
pub fn recommend(known: &Known, rows: &[Row]) -> Option<Recommendation> {
    let (threads, why_threads) = threads(rows)?;
    let (at, why_streams) = streams(rows)?;
    let streams = at.load.streams;
    let (context, why_context) = context(known, rows, &at);
    let (kv_memory, why_kv) = kv_memory(known, rows, streams, context);
    let (queue, why_queue) = queue(&at, context);
    let mut reasons = vec![
        Reason::new("CANDLE_NUM_THREADS", threads, why_threads),
        Reason::new("device", "cpu", "it is what was measured; another device has other figures".to_owned()),
        Reason::new("context", context, why_context),
        Reason::new("kv_memory", figures::bytes(kv_memory), why_kv),
        Reason::new("queue", queue, why_queue),
        Reason::new("[council] parallel", streams, why_streams),
    ];
    reasons.extend(draft(rows));
    let model = toml::Value::String(known.model.clone());
    let toml = format!(
        "# The environment of fleetd: CANDLE_NUM_THREADS={threads} RAYON_NUM_THREADS={threads}\n\
         [[inference.engine]]\nname = \"local\"\nmodel = {model}\ndevice = \"cpu\"\ncontext = {context}\n\
         kv_memory = \"{}\"\nqueue = {queue}\n",
        figures::bytes(kv_memory),
    );
    Some(Recommendation { threads, streams, context, kv_memory, queue, reasons, toml })
}

fn threads(rows: &[Row]) -> Option<(u32, String)> {
    let best = best_threads(rows)?;
    let with = |n: u32| measured(rows, Stage::Threads).filter(move |p| p.threads == n);
    // The load that shows most: the one with most requests.
    let of_best = with(best).max_by_key(|p| p.load.streams)?;
    let others = measured(rows, Stage::Threads).filter(|p| p.load == of_best.load && p.threads != best);
    let told = |p: &Point| format!("{} tokens/s (prompts: {})", plain(p.tokens_per_s), plain(p.prefill_per_s));
    let load = requests(&of_best.load);
    let why = match others.max_by(|a, b| a.tokens_per_s.total_cmp(&b.tokens_per_s)) {
        Some(other) => format!("{load}: {}; with {} threads {}", told(of_best), other.threads, told(other)),
        None => format!("{load}: {}; no other number was measured under it", told(of_best)),
    };
    Some((best, why))
}

/// How many at once: the point from which more requests give hardly more tokens, with the longest prompts that were
/// measured for most numbers of requests.
fn streams(rows: &[Row]) -> Option<(Point, String)> {
    let all: Vec<&Point> = measured(rows, Stage::Load).collect();
    if all.is_empty() {
        let at = measured(rows, Stage::Threads).max_by(|a, b| a.tokens_per_s.total_cmp(&b.tokens_per_s))?;
        return Some((*at, format!("{} tokens/s; other loads weren't measured", plain(at.tokens_per_s))));
    }
    let of = |filled: u32| all.iter().filter(move |p| p.load.filled == filled);
    let filled = all.iter().map(|p| p.load.filled).max_by_key(|filled| (of(*filled).count(), *filled))?;
    let best = of(filled).map(|p| p.tokens_per_s).fold(0.0, f64::max);
    let at = of(filled).filter(|p| p.tokens_per_s >= best * 0.9).min_by_key(|p| p.load.streams)?;
    let most = of(filled).max_by_key(|p| p.load.streams)?;
    let rate = plain(at.tokens_per_s);
    let why = match at.load.streams == most.load.streams {
        true => format!("{}: {rate} tokens/s, the most that was measured", requests(&at.load)),
        false => format!(
            "{}: {rate} tokens/s; {} at once give {}",
            requests(&at.load),
            most.load.streams,
            plain(most.tokens_per_s)
        ),
    };
    Some((**at, why))
}

fn context(known: &Known, rows: &[Row], at: &Point) -> (u32, String) {
    let longest = measured(rows, Stage::Load).filter(|p| p.prefill_per_s > 0.0).max_by_key(|p| p.load.filled);
    let rate = longest.map_or(at.prefill_per_s, |p| p.prefill_per_s);
    if rate <= 0.0 {
        return (known.context, "it is what was asked for; no prompt was long enough to be measured".to_owned());
    }
    let read = |tokens: u32| f64::from(tokens) / rate;
    let mut context = known.context;
    while read(context) > PATIENCE_S && context > 2048 {
        context = (context / 2).next_power_of_two().max(2048);
    }
    let time = figures::time(read(context) * 1e3);
    let why = match context == known.context {
        true => format!("a prompt that fills it is read in {time}"),
        false => {
            let asked = figures::time(read(known.context) * 1e3);
            format!("a prompt that fills it is read in {time}; one of {} tokens takes {asked}", known.context)
        }
    };
    (context, why)
}

fn kv_memory(known: &Known, rows: &[Row], streams: u32, context: u32) -> (u64, String) {
    let need = u64::from(streams) * u64::from(context) * known.kv_bytes;
    let rounded = need.div_ceil(64 * MIB).max(1) * 64 * MIB;
    let most = (known.memory / (64 * MIB)).max(1) * 64 * MIB;
    let (chosen, each) = (rounded.min(most), figures::bytes(known.kv_bytes));
    let mut why = match chosen == rounded {
        true => format!("{streams} requests of {context} tokens fit, at {each} a token"),
        false => format!(
            "it is what this machine can spare; {streams} requests of {context} tokens take {}, at {each} a token",
            figures::bytes(rounded)
        ),
    };
    let tried = || measured(rows, Stage::Kv);
    let (least, largest) = (tried().min_by_key(|p| p.kv_memory), tried().max_by_key(|p| p.kv_memory));
    if let (Some(least), Some(largest)) = (least, largest)
        && (least.preempted > largest.preempted || least.tokens_per_s < largest.tokens_per_s * 0.9)
    {
        why.push_str(&format!(
            ". With {} instead of {} for {}, {}: {} tokens/s instead of {}",
            figures::bytes(least.kv_memory),
            figures::bytes(largest.kv_memory),
            requests(&least.load),
            match least.preempted {
                0 => "some had to wait".to_owned(),
                1 => "1 was computed again".to_owned(),
                n => format!("{n} were computed again"),
            },
            plain(least.tokens_per_s),
            plain(largest.tokens_per_s)
        ));
    }
    (chosen, why)
}

fn queue(at: &Point, context: u32) -> (u32, String) {
    let prompt = 1024.min(context / 2);
    let per = |tokens: u32, rate: f64| if rate > 0.0 { f64::from(tokens) / rate } else { 0.0 };
    let each = per(prompt, at.prefill_per_s) + per(REPLY, at.tokens_per_s);
    let wanted = if each > 0.0 { WAIT_S / each } else { 64.0 };
    let queue =
        std::iter::successors(Some(8_u32), |n| Some(n * 2)).take_while(|n| *n <= 256 && f64::from(*n) <= wanted);
    let queue = queue.last().unwrap_or(8);
    let wait = figures::time(f64::from(queue) * each * 1e3);
    (
        queue,
        format!("the last one that waits begins after {wait}, with prompts of {prompt} and replies of {REPLY} tokens"),
    )
}

/// Whether guessing ahead is worth it, for a single request.
fn draft(rows: &[Row]) -> Option<Reason> {
    let of = |repeats: bool, guessed: bool| {
        let fits = move |p: &&Point| p.load.repeats == repeats && p.load.streams == 1 && (p.draft > 0) == guessed;
        measured(rows, Stage::Draft).filter(fits).max_by(|a, b| a.tokens_per_s.total_cmp(&b.tokens_per_s))
    };
    let (with, without) = (of(true, true)?, of(true, false)?);
    let gain = with.tokens_per_s / without.tokens_per_s.max(1e-9);
    let mut why = format!("replies that repeat their prompt come {} times as fast", plain(gain));
    if let (Some(with), Some(without)) = (of(false, true), of(false, false)) {
        let other = with.tokens_per_s / without.tokens_per_s.max(1e-9);
        why.push_str(&format!(", others {} times", plain(other)));
    }
    why.push_str("; there is no key for it, an engine guesses 8 ahead where at most 4 requests decode");
    Some(Reason::new("guessing ahead", with.draft, why))
}

fn requests(load: &Load) -> String {
    let Load { streams, filled, .. } = load;
    match streams {
        1 => format!("1 request with a prompt of {filled} tokens"),
        n => format!("{n} requests with prompts of {filled} tokens"),
    }
}

#[cfg(test)]
#[path = "recommend_tests.rs"]
mod tests;
