#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

/// 64 bytes a token: one layer, one head of dimension 8, keys and values.
const TOKEN_BYTES: usize = 64;
const CONTEXT: usize = 40 * CHUNK;

fn cache() -> KvCache {
    let zeros = || Tensor::zeros((1, CONTEXT, 8), DType::F32, &Device::Cpu).unwrap();
    KvCache { layers: vec![(zeros(), zeros())], tokens: Vec::new(), chunked: 0 }
}

/// A stand-in for the model: keys and values are made of the tokens, so that a wrong reuse is seen.
fn feed(cache: &mut KvCache, tokens: &[u32]) {
    for chunk in tokens.chunks(CHUNK) {
        let values: Vec<f32> = chunk.iter().flat_map(|t| [*t as f32; 8]).collect();
        let tensor = Tensor::from_vec(values, (1, chunk.len(), 8), &Device::Cpu).unwrap();
        cache.append(0, &tensor, &tensor).unwrap();
        cache.advance(chunk);
    }
}

fn holds(cache: &KvCache, tokens: &[u32]) -> bool {
    let (keys, _) = &cache.layers[0];
    let first: Vec<f32> =
        keys.narrow(1, 0, tokens.len()).unwrap().narrow(2, 0, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    cache.tokens == tokens && first.iter().zip(tokens).all(|(a, b)| *a == *b as f32)
}

fn prompt(first: u32, second: u32, chunks: usize) -> Vec<u32> {
    let half = chunks * CHUNK / 2;
    [vec![first; half], vec![second; half]].concat()
}

fn run(prefixes: &mut PrefixCache, cache: &mut KvCache, prompt: &[u32]) -> usize {
    let reused = prefixes.prepare(cache, prompt).unwrap();
    assert!(holds(cache, &prompt[..reused]));
    feed(cache, &prompt[reused..]);
    reused
}

#[test]
fn what_lies_in_the_cache_is_used_up_to_the_last_whole_chunk_before_the_last_token() {
    let (mut cache, mut prefixes) = (cache(), PrefixCache::new(TOKEN_BYTES, 1 << 20));
    let tokens = prompt(1, 2, 8);
    assert_eq!(run(&mut prefixes, &mut cache, &tokens), 0);
    assert_eq!(run(&mut prefixes, &mut cache, &tokens), 7 * CHUNK);
    let longer = [tokens.clone(), vec![3; 5]].concat();
    assert_eq!(run(&mut prefixes, &mut cache, &longer), 8 * CHUNK);
    assert_eq!(run(&mut prefixes, &mut cache, &prompt(1, 9, 8)), 4 * CHUNK);
}

#[test]
fn decoded_tokens_are_never_reused() {
    let (mut cache, mut prefixes) = (cache(), PrefixCache::new(TOKEN_BYTES, 1 << 20));
    run(&mut prefixes, &mut cache, &[1; CHUNK + 5]);
    for _ in 0..CHUNK {
        feed(&mut cache, &[1]);
    }
    assert_eq!(cache.chunked().len(), CHUNK);
    assert_eq!(run(&mut prefixes, &mut cache, &[1; 3 * CHUNK]), CHUNK);
}

#[test]
fn a_prompt_comes_back_after_another_one_was_at_work() {
    let (mut cache, mut prefixes) = (cache(), PrefixCache::new(TOKEN_BYTES, 1 << 20));
    let (a, b) = (prompt(1, 2, 10), prompt(3, 4, 10));
    run(&mut prefixes, &mut cache, &a);
    assert_eq!(run(&mut prefixes, &mut cache, &b), 0);
    assert_eq!(run(&mut prefixes, &mut cache, &a), 9 * CHUNK);
    assert_eq!(run(&mut prefixes, &mut cache, &b), 9 * CHUNK);
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
    assert_eq!(run(&mut prefixes, &mut cache, &prompt(1, 1, 10)), 9 * CHUNK);
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
