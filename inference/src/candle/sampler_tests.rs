#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::*;

fn sampling(seed: u64) -> Sampling {
    Sampling { temperature: 1.0, seed, ..Sampling::default() }
}

#[test]
fn greedy_takes_the_highest_and_of_equals_the_lowest_id() {
    let mut sampler = Sampler::new(Sampling::default(), &[]);
    assert_eq!(sampler.next(&mut [0.0, 3.0, 3.0, f32::NAN]), Some(1));
    assert_eq!(sampler.next(&mut [f32::NEG_INFINITY; 3]), None);
}

#[test]
fn draws_follow_the_distribution() {
    let mut sampler = Sampler::new(sampling(7), &[]);
    let logits = [0.0, 3.0_f32.ln()];
    let ones = (0..4000).filter(|_| sampler.next(&mut logits.clone()) == Some(1)).count();
    assert!((2900..3100).contains(&ones), "{ones} of 4000, not about 3000");
}

#[test]
fn a_repeated_token_loses_weight() {
    let mut sampler = Sampler::new(Sampling { repeat_penalty: 2.0, ..Sampling::default() }, &[]);
    assert_eq!(sampler.next(&mut [1.0, 1.5]), Some(1));
    assert_eq!(sampler.next(&mut [1.0, 1.5]), Some(0));
}

proptest! {
    #[test]
    fn the_filters_leave_only_what_they_should(
        logits in prop::collection::vec(-5.0_f32..5.0, 2..40),
        k in 1_u32..10,
        min_p in 0.0_f32..0.9,
        seed: u64,
    ) {
        let options = Sampling { top_k: k, min_p, ..sampling(seed) };
        let token = Sampler::new(options, &[]).next(&mut logits.clone()).unwrap() as usize;
        let higher = logits.iter().filter(|l| **l > logits[token]).count();
        prop_assert!(higher < k as usize);
        let highest = logits.iter().copied().fold(f32::MIN, f32::max);
        prop_assert!((logits[token] - highest).exp() >= min_p - 1e-4);
    }

    #[test]
    fn a_tiny_nucleus_is_greedy(logits in prop::collection::vec(-5.0_f32..5.0, 2..40), seed: u64) {
        let options = Sampling { top_p: 1e-6, ..sampling(seed) };
        let greedy = Sampler::new(Sampling::default(), &[]).next(&mut logits.clone());
        prop_assert_eq!(Sampler::new(options, &[]).next(&mut logits.clone()), greedy);
    }

    #[test]
    fn one_seed_gives_one_sequence(logits in prop::collection::vec(-2.0_f32..2.0, 8), seed: u64) {
        let draw = || {
            let mut sampler = Sampler::new(sampling(seed), &[]);
            (0..20).map(|_| sampler.next(&mut logits.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(draw(), draw());
    }
}
