//! What is measured, and with what. Not every setting with every other: one stage after the other, each with the best that the
//! earlier ones found. Pure: decides, and starts nothing.
//!
//! ```text
//! threads (a standard load) → load (streams × lengths of prompts) → kv (memory for keys and values) → draft (guessing ahead)
//! ```

use std::path::PathBuf;

use fleet_inference::bench::{self, Load, Part, Point};
use serde::{Deserialize, Serialize};

use super::rows::{Row, points};

/// What an engine has for keys and values unless told otherwise.
pub const KV_DEFAULT: u64 = 1 << 30;
/// What the chat template adds to a prompt, and the words before what it is filled with.
const AROUND: u32 = 64;
/// Tokens that are computed together in one step; some of them are those of requests that decode.
const STEP: u32 = 200;
/// An engine reads that much before its first load, to know how fast it is.
const WARM_UP: f64 = 260.0;
/// Seconds that a load may have as long as nothing is known.
const FIRST: f64 = 8.0;
/// Seconds until an engine is there.
const START: f64 = 1.5;

/// The stages, in the order in which they are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Numbers of threads, under a standard load.
    Threads,
    /// Requests at once, and how long their prompts are.
    Load,
    /// Memory for keys and values; too little means that requests are computed again.
    Kv,
    /// Guessing ahead, with replies that repeat their prompts and with others.
    Draft,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Threads, Self::Load, Self::Kv, Self::Draft];

    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Load => "load",
            Self::Kv => "kv",
            Self::Draft => "draft",
        }
    }

    /// The share of the time that is left when it begins.
    fn share(self) -> f64 {
        match self {
            Self::Threads => 0.3,
            Self::Load => 0.55,
            Self::Kv => 0.5,
            Self::Draft => 1.0,
        }
    }
}

/// What was asked for, and what is known before anything is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The model's file.
    pub model: PathBuf,
    /// Where tiles of weights are kept.
    pub tiles: PathBuf,
    /// Prompt and reply together; what the model was made for, if that is less.
    pub context: u32,
    /// Bytes of keys and values of one token.
    pub kv_bytes: u64,
    /// Memory that can be had for keys and values.
    pub memory: u64,
    /// Cores that this process may use.
    pub cores: u32,
    /// Requests at once; none: chosen here. So with the lists below.
    pub streams: Vec<u32>,
    pub threads: Vec<u32>,
    pub kv: Vec<u64>,
    pub draft: Vec<u32>,
    /// A rough picture.
    pub quick: bool,
}

/// A part, and with how many threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub stage: Stage,
    pub threads: u32,
    pub part: Part,
}

/// The tasks of a stage, by what earlier stages found; `left_s` is the time for all that is still to come.
pub fn plan(asked: &Asked, stage: Stage, rows: &[Row], left_s: f64) -> Vec<Task> {
    let rates = Rates::of(rows);
    let share = left_s.max(0.0) * stage.share();
    let tasks = match stage {
        Stage::Threads => threads(asked),
        Stage::Load => load(asked, &rates),
        Stage::Kv => kv(asked, &rates, share),
        Stage::Draft => draft(asked, &rates),
    };
    bounded(tasks, &rates, share)
}

/// Seconds that tasks take, about: only the loads that aren't left out.
pub fn seconds(tasks: &[Task], rows: &[Row]) -> f64 {
    let rates = Rates::of(rows);
    tasks.iter().map(|task| rates.start() + rates.within(&task.part.loads, task.part.longest_s)).sum()
}

/// How fast the engine was with the best number of threads.
struct Rates {
    threads: u32,
    /// Only its rates are looked at.
    known: Option<Point>,
}

impl Rates {
    fn of(rows: &[Row]) -> Self {
        let threads = best_threads(rows);
        let of_best = |p: &&Point| threads.is_none_or(|n| p.threads == n) && p.prefill_per_s > 0.0;
        let (taken, left): (Vec<&Point>, Vec<&Point>) =
            points(rows, None).filter(of_best).partition(|p| p.left_out_s.is_none());
        let most =
            |points: &[&Point]| points.iter().max_by(|a, b| a.tokens_per_s.total_cmp(&b.tokens_per_s)).map(|p| **p);
        Self { threads: threads.unwrap_or(0), known: most(&taken).or_else(|| most(&left)) }
    }

    fn expected(&self, load: &Load) -> f64 {
        self.known.map_or(0.0, |known| bench::expected(&known, load))
    }

    fn start(&self) -> f64 {
        START + self.known.map_or(0.0, |known| WARM_UP / known.prefill_per_s.max(1.0))
    }

    fn within(&self, loads: &[Load], longest_s: f64) -> f64 {
        loads.iter().map(|load| self.expected(load)).filter(|s| *s <= longest_s).sum()
    }
}

/// Of the numbers of threads that were measured the fewest that come within 3 % of the best.
pub fn best_threads(rows: &[Row]) -> Option<u32> {
    let mut counts: Vec<u32> = points(rows, Some(Stage::Threads)).map(|p| p.threads).collect();
    counts.sort_unstable();
    counts.dedup();
    let scored: Vec<(u32, f64)> = counts.into_iter().map(|n| (n, score(rows, n))).collect();
    let best = scored.iter().map(|(_, score)| *score).fold(0.0, f64::max);
    let close = scored.iter().find(|(_, score)| best > 0.0 && *score >= best * 0.97);
    close.or(scored.last()).map(|(n, _)| *n)
}

/// The geometric mean of all rates that were measured with that many threads; 0 if there are none.
fn score(rows: &[Row], threads: u32) -> f64 {
    let of = |p: &&Point| p.threads == threads && p.left_out_s.is_none();
    let rates = points(rows, Some(Stage::Threads)).filter(of).flat_map(|p| [p.tokens_per_s, p.prefill_per_s]);
    let logs: Vec<f64> = rates.filter(|rate| *rate > 0.0).map(f64::ln).collect();
    if logs.is_empty() { 0.0 } else { (logs.iter().sum::<f64>() / logs.len() as f64).exp() }
}

fn threads(asked: &Asked) -> Vec<Task> {
    let loads = match asked.quick {
        true => vec![asked.load(1, 256, 24), asked.load(4, 128, 16)],
        false => vec![asked.load(1, 512, 48), asked.load(4, 256, 32)],
    };
    let mut counts = asked.threads.clone();
    if counts.is_empty() {
        counts = powers(asked.cores);
        counts.drain(..counts.len().saturating_sub(if asked.quick { 2 } else { 4 }));
    }
    sorted(counts).into_iter().map(|n| asked.task(Stage::Threads, n, &loads)).collect()
}

/// 1, 2, 4 … and `n` itself.
fn powers(n: u32) -> Vec<u32> {
    let n = n.max(1);
    let powers = std::iter::successors(Some(1_u32), |p| p.checked_mul(2));
    powers.take_while(|p| *p < n).chain([n]).collect()
}

fn load(asked: &Asked, rates: &Rates) -> Vec<Task> {
    let context = asked.context;
    let filled =
        if asked.quick { vec![context / 32, context / 4] } else { vec![context / 32, context / 4, context / 4 * 3] };
    let streams = match (asked.streams.is_empty(), asked.quick) {
        (false, _) => asked.streams.clone(),
        (true, true) => vec![1, 4, 8],
        (true, false) => vec![1, 2, 4, 8, 16],
    };
    let (streams, decoded) = (sorted(streams), if asked.quick { 16 } else { 32 });
    let each = |filled: u32| streams.iter().map(move |streams| (*streams, filled));
    let mut loads: Vec<Load> =
        sorted(filled).into_iter().flat_map(each).map(|(n, filled)| asked.load(n, filled.max(32), decoded)).collect();
    // One that runs out of memory is the last one of its process.
    loads.sort_by_key(|load| u64::from(load.streams) * u64::from(load.filled + load.decoded));
    vec![asked.task(Stage::Load, rates.threads, &loads)]
}

fn kv(asked: &Asked, rates: &Rates, share: f64) -> Vec<Task> {
    let shapes = match asked.kv.is_empty() {
        true => [(8, 1024), (8, 512), (8, 256), (8, 128), (4, 128)],
        false => [(16, 1024), (16, 512), (8, 512), (8, 256), (4, 256)],
    };
    let tries = if asked.kv.is_empty() { 3.0 } else { asked.kv.len() as f64 };
    let decoded = if asked.quick { 24 } else { 48 };
    let loads = shapes.map(|(streams, filled)| asked.load(streams, filled, decoded));
    // What is computed again costs time, too.
    let fits = |load: &&Load| (rates.expected(load) * 1.5 + rates.start()) * tries <= share;
    let load = *loads.iter().find(fits).unwrap_or(&loads[loads.len() - 1]);
    let need = asked.need(&load);
    let sizes = match (asked.kv.is_empty(), asked.quick) {
        (false, _) => asked.kv.clone(),
        (true, true) => vec![need / 3, need + need / 4],
        (true, false) => vec![need / 4, need / 2, need + need / 4],
    };
    // One sequence of `context` fits in any case, so a long one would hide what little memory does.
    let context = (load.filled + load.decoded + 2 * AROUND).min(asked.context);
    let task = |kv_memory: u64| {
        let mut task = asked.task(Stage::Kv, rates.threads, &[load]);
        (task.part.context, task.part.kv_memory) = (context, kv_memory);
        task
    };
    sorted(sizes).into_iter().map(task).collect()
}

fn draft(asked: &Asked, rates: &Rates) -> Vec<Task> {
    let drafts = if asked.draft.is_empty() { vec![0, 8] } else { asked.draft.clone() };
    let streams: &[u32] = if asked.quick { &[1] } else { &[1, 4] };
    let decoded = if asked.quick { 48 } else { 96 };
    let loads =
        streams.iter().flat_map(|n| [true, false].map(|repeats| Load { repeats, ..asked.load(*n, 256, decoded) }));
    let loads: Vec<Load> = loads.collect();
    let task = |draft: u32| {
        let mut task = asked.task(Stage::Draft, rates.threads, &loads);
        task.part.draft = draft;
        task
    };
    sorted(drafts).into_iter().map(task).collect()
}

/// The tasks with a bound on their loads, such that all together take no longer than `share`.
fn bounded(mut tasks: Vec<Task>, rates: &Rates, share: f64) -> Vec<Task> {
    let count = tasks.len().max(1) as f64;
    for task in &mut tasks {
        let own = (share / count - rates.start()).max(0.0);
        let loads = &task.part.loads;
        let mut seconds: Vec<f64> = loads.iter().map(|load| rates.expected(load)).collect();
        seconds.sort_by(f64::total_cmp);
        let mut sum = 0.0;
        let fit = seconds.iter().take_while(|s| {
            sum += **s;
            sum <= own
        });
        // The smallest is measured in any case.
        let fit = fit.count().max(1);
        task.part.longest_s = match (rates.known, seconds.get(fit - 1), seconds.get(fit)) {
            // Nothing is known: each may have its part, and enough to be measured at all.
            (None, ..) | (_, None, _) => (own / loads.len().max(1) as f64).max(FIRST),
            // What the engine itself expects is a little different, on a busy machine more than a little.
            (Some(_), Some(last), None) => last * 2.0,
            (Some(_), Some(last), Some(next)) => (last * next).sqrt(),
        };
        let least = seconds.first().map_or(0.0, |least| least * 2.0 + 4.0 / loads.len() as f64);
        task.part.longest_s = task.part.longest_s.max(least);
    }
    tasks
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}

impl Asked {
    /// A load that fits the context. Those that are read first decode until the last one is read, and then a little.
    fn load(&self, streams: u32, filled: u32, decoded: u32) -> Load {
        let room = self.context.saturating_sub(AROUND).max(2);
        let filled = filled.min(room / 8 * 7);
        let decoded =
            decoded + u32::try_from(u64::from(streams) * u64::from(filled) / u64::from(STEP)).unwrap_or(u32::MAX);
        Load { streams, filled, decoded: decoded.min(room - filled).max(1), repeats: false }
    }

    /// Bytes of keys and values of a load.
    fn need(&self, load: &Load) -> u64 {
        u64::from(load.streams) * u64::from(load.filled + load.decoded + AROUND) * self.kv_bytes
    }

    fn task(&self, stage: Stage, threads: u32, loads: &[Load]) -> Task {
        let need = loads.iter().map(|load| self.need(load)).max().unwrap_or(0);
        let part = Part {
            model: self.model.clone(),
            tiles: Some(self.tiles.clone()),
            context: self.context,
            kv_memory: (need + need / 8).min(self.memory).max(KV_DEFAULT),
            draft: 0,
            loads: loads.to_vec(),
            longest_s: 0.0,
        };
        Task { stage, threads, part }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
