#![allow(clippy::unwrap_used, clippy::expect_used)]
use candle_core::Device;

use super::*;

/// One layer, one head of dimension 8, keys and values.
const TOKEN_BYTES: usize = 64;
const CHUNK: usize = 32;

fn cache() -> KvCache {
    KvCache::tiny(40 * CHUNK, CHUNK)
}

/// A stand-in for the model: keys and values are made of the tokens, so that a wrong reuse is seen.
fn feed(cache: &mut KvCache, tokens: &[u32]) -> Option<Tensor> {
    let mut state = None;
    for chunk in tokens.chunks(CHUNK) {
        let values: Vec<f32> = chunk.iter().flat_map(|t| [*t as f32; 8]).collect();
        let tensor = Tensor::from_vec(values, (1, chunk.len(), 8), &Device::Cpu).unwrap();
        cache.append(0, &tensor, &tensor).unwrap();
        cache.advance(chunk);
        state = Some(Tensor::new(*chunk.last().unwrap() as f32, &Device::Cpu).unwrap());
    }
    state
}

fn prompt(first: u32, second: u32, chunks: usize) -> Vec<u32> {
    let half = chunks * CHUNK / 2;
    [vec![first; half], vec![second; half]].concat()
}

fn run(prefixes: &mut PrefixCache, cache: &mut KvCache, prompt: &[u32]) -> usize {
    let (reused, state) = prefixes.prepare(cache, prompt).unwrap();
    assert_eq!(state.is_some(), reused == prompt.len());
    let (tokens, keys) = cache.content();
    assert_eq!(tokens, prompt[..reused]);
    assert!(keys.iter().zip(&tokens).all(|(key, token)| *key == *token as f32));
    let state = state.or(feed(cache, &prompt[reused..])).unwrap();
    assert_eq!(state.to_scalar::<f32>().unwrap(), *prompt.last().unwrap() as f32);
    cache.end_prompt(&state);
    reused
}

#[test]
fn what_lies_in_the_cache_is_used_as_whole_chunks_or_for_the_very_same_prompt() {
    let (mut cache, mut prefixes) = (cache(), PrefixCache::new(TOKEN_BYTES, 1 << 20));
    let tokens = [prompt(1, 2, 8), vec![3; 5]].concat();
    assert_eq!(run(&mut prefixes, &mut cache, &tokens), 0);
    assert_eq!(run(&mut prefixes, &mut cache, &tokens), tokens.len());
    let longer = [tokens.clone(), vec![3; 5]].concat();
    assert_eq!(run(&mut prefixes, &mut cache, &longer), 8 * CHUNK);
    assert_eq!(run(&mut prefixes, &mut cache, &tokens[..8 * CHUNK]), 7 * CHUNK);
    assert_eq!(run(&mut prefixes, &mut cache, &prompt(1, 9, 8)), 4 * CHUNK);
}

#[test]
fn decoded_tokens_are_never_reused() {
    let (mut cache, mut prefixes) = (cache(), PrefixCache::new(TOKEN_BYTES, 1 << 20));
    run(&mut prefixes, &mut cache, &[1; 2 * CHUNK]);
    for _ in 0..CHUNK {
        feed(&mut cache, &[1]);
    }
    assert_eq!(run(&mut prefixes, &mut cache, &[1; 4 * CHUNK]), 2 * CHUNK);
}

#[test]
fn a_prompt_that_was_left_half_way_is_used_as_far_as_it_got() {
    let (mut cache, mut prefixes) = (cache(), PrefixCache::new(TOKEN_BYTES, 1 << 20));
    prefixes.prepare(&mut cache, &[1; 4 * CHUNK]).unwrap();
    feed(&mut cache, &[1; 2 * CHUNK]);
    assert_eq!(run(&mut prefixes, &mut cache, &[1; 4 * CHUNK]), 2 * CHUNK);
    // Also where it is the longer one of a prompt that ended with a chunk.
    prefixes.prepare(&mut cache, &[1; 8 * CHUNK]).unwrap();
    feed(&mut cache, &[1; 2 * CHUNK]);
    assert_eq!(run(&mut prefixes, &mut cache, &[1; 8 * CHUNK]), 6 * CHUNK);
}

#[test]
fn a_prompt_comes_back_after_another_one_was_at_work() {
    let (mut cache, mut prefixes) = (cache(), PrefixCache::new(TOKEN_BYTES, 1 << 20));
    let (a, b) = (prompt(1, 2, 10), prompt(3, 4, 10));
    run(&mut prefixes, &mut cache, &a);
    assert_eq!(run(&mut prefixes, &mut cache, &b), 0);
    assert_eq!(run(&mut prefixes, &mut cache, &a), a.len());
    assert_eq!(run(&mut prefixes, &mut cache, &[&b[..], &[5]].concat()), b.len());
}

#[test]
fn the_least_recently_used_go_and_the_pinned_stay() {
    let budget = (30 * CHUNK * TOKEN_BYTES) as u64;
    let (mut cache, mut prefixes) = (cache(), PrefixCache::new(TOKEN_BYTES, budget));
    run(&mut prefixes, &mut cache, &prompt(1, 1, 10));
    assert!(prefixes.keep(&cache, Some(PinId(1))).unwrap());
    for n in 2..9 {
        run(&mut prefixes, &mut cache, &prompt(n, n, 10));
        assert!(prefixes.bytes() <= budget);
    }
    assert_eq!(run(&mut prefixes, &mut cache, &prompt(1, 1, 10)), 10 * CHUNK);
    assert_eq!(run(&mut prefixes, &mut cache, &prompt(2, 2, 10)), 0);
    prefixes.unpin(PinId(1));
    for n in 12..19 {
        run(&mut prefixes, &mut cache, &prompt(n, n, 10));
    }
    assert_eq!(run(&mut prefixes, &mut cache, &prompt(1, 1, 10)), 0);
}

#[test]
fn a_budget_of_zero_reuses_nothing_and_keeps_nothing() {
    let (mut cache, mut prefixes) = (cache(), PrefixCache::new(TOKEN_BYTES, 0));
    run(&mut prefixes, &mut cache, &prompt(1, 2, 10));
    assert_eq!(run(&mut prefixes, &mut cache, &prompt(1, 2, 10)), 0);
    assert!(!prefixes.keep(&cache, Some(PinId(1))).unwrap());
    assert_eq!((prefixes.bytes(), prefixes.entries()), (0, 0));
}
