//! Rows as a machine would give them: twice the threads are twice as fast, memory runs out under many long prompts.
#![allow(clippy::unwrap_used)]

use fleet_inference::bench::{Load, Point};

use super::plan::{Asked, Stage, Task};
use super::rows::{Came, Died, Row};

pub const KV_BYTES: u64 = 23_040;

pub fn asked() -> Asked {
    Asked {
        model: "/m.gguf".into(),
        tiles: "/tiles".into(),
        context: 4096,
        kv_bytes: KV_BYTES,
        memory: 8 << 30,
        cores: 4,
        streams: Vec::new(),
        threads: Vec::new(),
        kv: Vec::new(),
        draft: Vec::new(),
        quick: false,
    }
}

pub fn point(threads: u32, streams: u32, filled: u32) -> Point {
    let load = Load { streams, filled, decoded: 32, repeats: false };
    let tokens = u64::from(streams * (filled + 32));
    Point {
        load,
        threads,
        kv_memory: 1 << 30,
        draft: 0,
        tokens_per_s: f64::from(threads) * 30.0 * f64::from(streams.min(8)).sqrt(),
        first_token_ms: f64::from(filled * streams) / f64::from(threads) * 2.0,
        last_first_token_ms: f64::from(filled * streams) / f64::from(threads) * 3.0,
        prefill_per_s: f64::from(threads) * 250.0,
        kv_held: tokens * KV_BYTES,
        kv_tokens: tokens,
        memory: 300 << 20,
        preempted: 0,
        left_out_s: None,
    }
}

pub fn row(stage: Stage, point: Point) -> Row {
    Row { stage, came: Came::Point(point) }
}

/// What a sweep of the stage `threads` gives.
pub fn threads() -> Vec<Row> {
    [1, 2, 4].into_iter().flat_map(|n| [point(n, 1, 512), point(n, 4, 256)]).map(|p| row(Stage::Threads, p)).collect()
}

/// What a whole sweep gives.
pub fn all() -> Vec<Row> {
    let mut rows = threads();
    for filled in [128, 1024, 3072] {
        for streams in [1, 2, 4, 8, 16] {
            let point = point(4, streams, filled);
            let long = u64::from(filled * streams) > 16_384;
            rows.push(row(Stage::Load, Point { left_out_s: long.then_some(49.2), ..point }));
        }
    }
    for (kv_memory, preempted, share) in [(16 << 20, 5, 0.5), (64 << 20, 0, 1.0)] {
        let point = point(4, 8, 256);
        rows.push(row(Stage::Kv, Point { kv_memory, preempted, tokens_per_s: point.tokens_per_s * share, ..point }));
    }
    for (draft, repeats, gain) in [(0, true, 1.0), (0, false, 1.0), (8, true, 1.8), (8, false, 0.9)] {
        let point = point(4, 1, 256);
        let load = Load { repeats, ..point.load };
        rows.push(row(Stage::Draft, Point { draft, load, tokens_per_s: point.tokens_per_s * gain, ..point }));
    }
    let load = Load { streams: 64, filled: 3072, decoded: 32, repeats: false };
    let why = "it was killed, probably for want of memory".to_owned();
    let died = Died { threads: 4, kv_memory: 8 << 30, draft: 0, load, not_tried: 2, why };
    rows.push(Row { stage: Stage::Load, came: Came::Died(died) });
    rows
}

pub fn loads(tasks: &[Task]) -> Vec<(u32, u32)> {
    tasks.iter().flat_map(|task| &task.part.loads).map(|load| (load.streams, load.filled)).collect()
}
