#![allow(clippy::unwrap_used)]
use super::*;
use crate::cli::model_bench::samples::{self, asked, loads, point, row};

#[test]
fn threads_are_tried_in_powers_of_two_with_one_standard_load() {
    let tasks = plan(&asked(), Stage::Threads, &[], 150.0);
    assert_eq!(tasks.iter().map(|task| task.threads).collect::<Vec<_>>(), [1, 2, 4]);
    assert!(tasks.windows(2).all(|pair| pair[0].part.loads == pair[1].part.loads));
    let of = |cores, quick| {
        let asked = Asked { cores, quick, ..asked() };
        plan(&asked, Stage::Threads, &[], 150.0).into_iter().map(|task| task.threads).collect::<Vec<_>>()
    };
    assert_eq!(of(24, false), [4, 8, 16, 24]);
    assert_eq!((of(24, true), of(1, true)), (vec![16, 24], vec![1]));
    let given = Asked { threads: vec![3, 1, 3], ..asked() };
    let given = plan(&given, Stage::Threads, &[], 150.0);
    assert_eq!(given.into_iter().map(|task| task.threads).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn the_fewest_threads_that_come_close_to_the_best_are_taken() {
    assert_eq!(best_threads(&samples::threads()), Some(4));
    let flat = |n: u32| {
        row(Stage::Threads, Point { tokens_per_s: 100.0 + f64::from(n), prefill_per_s: 900.0, ..point(n, 4, 256) })
    };
    assert_eq!(best_threads(&[flat(4), flat(2), flat(1)]), Some(1));
    let left_out = |n| row(Stage::Threads, Point { left_out_s: Some(99.0), ..point(n, 4, 256) });
    assert_eq!(best_threads(&[left_out(1), left_out(2)]), Some(2));
    assert_eq!(best_threads(&[]), None);
}

#[test]
fn loads_are_all_streams_with_all_prompts_and_the_best_threads_smallest_first() {
    let tasks = plan(&asked(), Stage::Load, &samples::threads(), 120.0);
    let [task] = &tasks[..] else { panic!("{tasks:?}") };
    assert_eq!((task.threads, task.part.draft, task.part.loads.len()), (4, 0, 15));
    let tokens: Vec<u32> = task.part.loads.iter().map(|load| load.streams * (load.filled + load.decoded)).collect();
    assert!(tokens.is_sorted(), "{tokens:?}");
    assert!(loads(&tasks).contains(&(16, 3072)) && loads(&tasks).contains(&(1, 128)));
    let given = Asked { streams: vec![3], ..asked() };
    assert_eq!(loads(&plan(&given, Stage::Load, &samples::threads(), 120.0)), [(3, 128), (3, 1024), (3, 3072)]);
}

#[test]
fn a_load_fits_the_context_and_decodes_until_all_prompts_are_read() {
    for context in [256, 1024, 4096, 32_768] {
        let asked = Asked { context, streams: vec![1, 64], ..asked() };
        for stage in Stage::ALL {
            for load in plan(&asked, stage, &samples::threads(), 60.0).iter().flat_map(|task| &task.part.loads) {
                assert!(load.filled + load.decoded + AROUND <= context && load.decoded > 0, "{context}: {load:?}");
            }
        }
    }
    let load = asked().load(16, 1024, 32);
    assert!(load.decoded >= 32 + 16 * 1024 / 256, "{load:?}");
}

#[test]
fn what_a_stage_takes_stays_within_the_time_that_is_left() {
    let rows = samples::threads();
    for left_s in [10.0, 40.0, 150.0, 600.0] {
        for stage in [Stage::Load, Stage::Kv, Stage::Draft] {
            let tasks = plan(&asked(), stage, &rows, left_s);
            let takes = seconds(&tasks, &rows);
            // Some are always measured, so that there is something.
            assert!(
                takes <= (left_s * stage.share() * 1.1).max(tasks.len() as f64 * 12.0),
                "{stage:?} of {left_s}: {takes}"
            );
        }
    }
    let bound = |left_s| plan(&asked(), Stage::Load, &rows, left_s)[0].part.longest_s;
    assert!(bound(20.0) < bound(200.0));
    assert!(bound(1e6) > asked().load(16, 3072, 32).decoded as f64 / 100.0);
}

#[test]
fn memory_for_keys_and_values_is_tried_below_and_above_what_is_needed() {
    let tasks = plan(&asked(), Stage::Kv, &samples::threads(), 120.0);
    let load = tasks[0].part.loads[0];
    let need = u64::from(load.streams * (load.filled + load.decoded)) * samples::KV_BYTES;
    let sizes: Vec<u64> = tasks.iter().map(|task| task.part.kv_memory).collect();
    assert!(sizes.len() == 3 && sizes[0] < need / 2 && sizes[2] > need, "{sizes:?} {need}");
    // One sequence of the context has its place in any case; that must not be all that is needed.
    let context = u64::from(tasks[0].part.context) * samples::KV_BYTES;
    assert!(context < need / 2, "{context} {need}");
    let given = Asked { kv: vec![1 << 26, 1 << 25], ..asked() };
    let tasks = plan(&given, Stage::Kv, &samples::threads(), 120.0);
    assert_eq!(tasks.iter().map(|task| task.part.kv_memory).collect::<Vec<_>>(), [1 << 25, 1 << 26]);
}

#[test]
fn a_slow_machine_gets_a_smaller_load_for_memory() {
    let slow = row(Stage::Threads, Point { tokens_per_s: 8.0, prefill_per_s: 60.0, ..point(2, 1, 512) });
    let of = |rows: &[Row]| plan(&asked(), Stage::Kv, rows, 100.0)[0].part.loads[0].filled;
    assert!(of(&[slow]) < of(&samples::threads()));
}

#[test]
fn guessing_is_tried_with_and_without_on_text_that_repeats_and_on_other() {
    let tasks = plan(&asked(), Stage::Draft, &samples::threads(), 60.0);
    assert_eq!(tasks.iter().map(|task| task.part.draft).collect::<Vec<_>>(), [0, 8]);
    for task in &tasks {
        let repeats = task.part.loads.iter().filter(|load| load.repeats).count();
        assert_eq!((repeats, task.part.loads.len()), (2, 4));
    }
    let quick = Asked { quick: true, draft: vec![4], ..asked() };
    let tasks = plan(&quick, Stage::Draft, &samples::threads(), 60.0);
    assert_eq!((tasks.len(), tasks[0].part.loads.len()), (1, 2));
}

#[test]
fn keys_and_values_of_a_load_have_room_as_far_as_there_is_memory() {
    let task = &plan(&asked(), Stage::Load, &samples::threads(), 120.0)[0];
    assert!(task.part.kv_memory > 16 * 3072 * samples::KV_BYTES);
    let small = Asked { memory: 1 << 20, ..asked() };
    assert_eq!(plan(&small, Stage::Load, &samples::threads(), 120.0)[0].part.kv_memory, KV_DEFAULT);
}
