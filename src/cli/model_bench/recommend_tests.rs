#![allow(clippy::unwrap_used)]
use std::path::Path;

use super::*;
use crate::cli::model_bench::samples::{self, point, row};
use crate::config::Config;

fn known() -> Known {
    Known { model: "smollm2-135m-instruct".into(), context: 4096, kv_bytes: samples::KV_BYTES, memory: 8 << 30 }
}

#[test]
fn a_whole_sweep_gives_a_setting_that_a_node_takes() {
    let recommended = recommend(&known(), &samples::all()).unwrap();
    insta::assert_snapshot!(recommended.toml, @r#"
    # The environment of fleetd: CANDLE_NUM_THREADS=4 RAYON_NUM_THREADS=4
    [[inference.engine]]
    name = "local"
    model = "smollm2-135m-instruct"
    device = "cpu"
    context = 4096
    kv_memory = "768 MiB"
    queue = 128
    "#);
    let config = Config::parse(&recommended.toml, Path::new("cluster.toml")).unwrap();
    let engine = &config.inference.engine.unwrap()[0];
    assert_eq!(engine.kv_memory.unwrap().as_u64(), recommended.kv_memory);
    assert_eq!((engine.context, engine.queue as u32), (Some(recommended.context), recommended.queue));
}

#[test]
fn every_value_has_its_reason() {
    let recommended = recommend(&known(), &samples::all()).unwrap();
    let reasons = recommended.reasons.iter().map(|r| format!("{} = {}: {}", r.key, r.value, r.why));
    insta::assert_snapshot!(reasons.collect::<Vec<_>>().join("\n"), @r"
    CANDLE_NUM_THREADS = 4: 4 requests with prompts of 256 tokens: 240 tokens/s (prompts: 1000); with 2 threads 120 tokens/s (prompts: 500)
    device = cpu: it is what was measured; another device has other figures
    context = 4096: a prompt that fills it is read in 4.1 s
    kv_memory = 768 MiB: 8 requests of 4096 tokens fit, at 22.5 KiB a token. With 16 MiB instead of 64 MiB for 8 requests with prompts of 256 tokens, 5 were computed again: 170 tokens/s instead of 339
    queue = 128: the last one that waits begins after 3.0 min, with prompts of 1024 and replies of 128 tokens
    [council] parallel = 8: 8 requests with prompts of 1024 tokens: 339 tokens/s; 16 at once give 339
    guessing ahead = 8: replies that repeat their prompt come 1.80 times as fast, others 0.90 times; there is no key for it, an engine guesses 8 ahead where at most 4 requests decode
    ");
}

#[test]
fn a_name_with_quotes_stays_one_value() {
    let known = Known { model: "/tmp/it's \"a\"\n[log]/m.gguf".into(), ..known() };
    let recommended = recommend(&known, &samples::all()).unwrap();
    let config = Config::parse(&recommended.toml, Path::new("cluster.toml")).unwrap();
    assert_eq!(config.inference.engine.unwrap()[0].model, known.model);
}

#[test]
fn more_requests_than_bring_anything_are_not_recommended() {
    let grows =
        |streams: u32| row(Stage::Load, Point { tokens_per_s: f64::from(streams) * 10.0, ..point(4, streams, 128) });
    let flat = |streams: u32| row(Stage::Load, Point { tokens_per_s: 100.0, ..point(4, streams, 128) });
    let with = |row: &dyn Fn(u32) -> Row| {
        let rows: Vec<Row> = samples::threads().into_iter().chain([1, 2, 4, 8].map(row)).collect();
        recommend(&known(), &rows).unwrap().streams
    };
    assert_eq!((with(&grows), with(&flat)), (8, 1));
}

#[test]
fn a_slow_machine_gets_a_shorter_context_and_queue() {
    let slow = |p: Point| Point { prefill_per_s: 20.0, tokens_per_s: 4.0, ..p };
    let rows = [row(Stage::Threads, slow(point(2, 1, 512))), row(Stage::Load, slow(point(2, 1, 512)))];
    let recommended = recommend(&Known { context: 16_384, ..known() }, &rows).unwrap();
    assert_eq!((recommended.context, recommended.queue), (2048, 8));
    let why = &recommended.reasons.iter().find(|r| r.key == "context").unwrap().why;
    assert!(why.contains("one of 16384 tokens takes 13.7 min"), "{why}");
}

#[test]
fn memory_that_the_machine_has_not_is_not_recommended() {
    let recommended = recommend(&Known { memory: 200 << 20, ..known() }, &samples::all()).unwrap();
    assert_eq!(recommended.kv_memory, 192 << 20);
    assert!(recommended.reasons.iter().any(|r| r.key == "kv_memory" && r.why.contains("can spare")));
}

#[test]
fn nothing_measured_recommends_nothing() {
    assert_eq!(recommend(&known(), &[]), None);
    let left_out = row(Stage::Threads, Point { left_out_s: Some(60.0), ..point(1, 1, 512) });
    assert_eq!(recommend(&known(), &[left_out]), None);
}
