#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::*;
use crate::Finish;

fn keys(n: usize) -> Vec<Key> {
    (0..n).map(|n| Key { node: format!("node-{n}"), name: "local".into() }).collect()
}

fn cost(prompt: u64, reply: u64, prefixes: &[(u64, u64)]) -> Cost {
    Cost { prompt, reply, prefixes: prefixes.to_vec() }
}

fn done(prompt: u32, prefill_ms: u64, reply: u32, decode_ms: u64) -> Outcome {
    Outcome::Done(Usage {
        prompt_tokens: prompt,
        cached_tokens: 0,
        completion_tokens: reply,
        finish: Finish::Stop,
        prefill_ms,
        decode_ms,
        cost_micros: 0,
        replayed: false,
    })
}

#[test]
fn who_has_least_to_do_gets_the_next_one() {
    let (mut routes, keys, now) = (Routes::default(), keys(3), Instant::now());
    let picked: Vec<_> = (0..6).map(|_| routes.pick(&cost(100, 50, &[]), &keys, now).unwrap()).collect();
    assert_eq!(picked, [0, 1, 2, 0, 1, 2]);
    routes.end(&keys[1], &cost(100, 50, &[]), Outcome::Other, now);
    assert_eq!(routes.pick(&cost(1, 1, &[]), &keys, now), Some(1));
}

#[test]
fn a_prompt_goes_where_its_beginning_was_unless_too_much_waits_there() {
    let (mut routes, keys, now) = (Routes::default(), keys(2), Instant::now());
    let council = |own: u64| cost(1000, 50, &[(1, 300), (2, 900), (own, 1000)]);
    let first = routes.pick(&council(10), &keys, now).unwrap();
    routes.end(&keys[first], &council(10), Outcome::Other, now);
    routes.begin(&keys[first], &cost(500, 0, &[]));
    assert_eq!(routes.pick(&council(11), &keys, now), Some(first), "500 wait there, 900 are known there");
    assert_eq!(routes.pick(&council(12), &keys, now), Some(1 - first), "1550 wait there");
}

#[test]
fn speed_counts() {
    let (mut routes, keys, now) = (Routes::default(), keys(2), Instant::now());
    for (key, ms) in keys.iter().zip([1000, 100]) {
        routes.end(key, &cost(0, 0, &[]), done(100, ms, 100, ms), now);
    }
    let picked: Vec<_> = (0..11).map(|_| routes.pick(&cost(100, 100, &[]), &keys, now).unwrap()).collect();
    assert_eq!(picked.iter().filter(|n| **n == 0).count(), 1, "{picked:?}");
    assert_eq!(picked[0], 1);
}

#[test]
fn one_that_is_lost_is_left_alone_for_longer_each_time_and_is_asked_where_there_is_no_other() {
    let (mut routes, keys, now) = (Routes::default(), keys(2), Instant::now());
    let nothing = cost(1, 1, &[]);
    for seconds in [1, 2, 4] {
        routes.end(&keys[0], &nothing, Outcome::Lost, now);
        let before = now + Duration::from_millis(seconds * 1000 - 1);
        assert_eq!(routes.pick(&nothing, &keys, before), Some(1));
        assert_eq!(routes.pick(&nothing, &keys[..1], before), Some(0));
        routes.known.values_mut().for_each(|known| (known.prompt, known.reply) = (0, 0));
        assert_eq!(routes.pick(&nothing, &keys, now + Duration::from_secs(seconds)), Some(0));
    }
    routes.end(&keys[0], &nothing, done(1, 0, 1, 0), now);
    assert_eq!(routes.known[&keys[0]].failures, 0);
    assert_eq!(routes.pick(&nothing, &[], now), None);
}

proptest! {
    #[test]
    fn what_was_counted_is_taken_back_and_memory_is_bounded(
        asks in proptest::collection::vec((0..500_u64, 0..500_u64, any::<u64>(), 0..3_u8), 1..200)
    ) {
        let (mut routes, keys, now) = (Routes::default(), keys(4), Instant::now());
        let mut under_way = Vec::new();
        for (prompt, reply, hash, end) in asks {
            let cost = cost(prompt, reply, &[(hash, prompt)]);
            let at = routes.pick(&cost, &keys, now).unwrap();
            under_way.push((at, cost));
            if end > 0 {
                let (at, cost) = under_way.remove(0);
                routes.end(&keys[at], &cost, if end == 1 { Outcome::Other } else { done(20, 5, 20, 9) }, now);
            }
        }
        for (at, cost) in under_way {
            routes.end(&keys[at], &cost, Outcome::Other, now);
        }
        prop_assert!(routes.known.values().all(|known| known.prompt == 0 && known.reply == 0));
        prop_assert!(routes.order.len() == routes.seen.len() && routes.seen.len() <= PREFIXES);
        routes.keep(&keys[..1]);
        prop_assert!(routes.known.len() <= 1);
    }
}
