#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::HashMap as Map;

use proptest::prelude::*;

use super::*;

fn salt(name: &str) -> Arc<str> {
    name.into()
}

/// Computes a sequence as an engine would: what is there is shared, the rest allocated, and full blocks published.
fn compute(pool: &mut BlockPool, salt: &Arc<str>, tokens: &[u32]) -> Option<(Vec<u32>, usize)> {
    let found = pool.find(salt, tokens);
    let (mut blocks, mut parent) = (found.blocks, found.parent.unwrap());
    let mut shared = blocks.len() * BLOCK;
    for at in (blocks.len() * BLOCK..tokens.len()).step_by(BLOCK) {
        let Some(block) = pool.allocate() else {
            pool.release(&blocks);
            found.partial.iter().for_each(|(block, _)| pool.release(&[*block]));
            return None;
        };
        blocks.push(block);
        if let Some(full) = tokens.get(at..at + BLOCK) {
            parent = pool.publish(&parent, full, block);
        }
    }
    if let Some((block, n)) = found.partial {
        shared += n;
        pool.release(&[block]);
    }
    Some((blocks, shared))
}

fn tokens(seed: u32, n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| seed * 10_000 + i).collect()
}

#[test]
fn the_second_of_two_equal_prompts_computes_one_token() {
    let mut pool = BlockPool::new(8);
    let prompt = tokens(1, 70);
    let (first, shared) = compute(&mut pool, &salt("a"), &prompt).unwrap();
    assert_eq!((first.len(), shared), (3, 0));
    let (second, shared) = compute(&mut pool, &salt("a"), &prompt).unwrap();
    assert_eq!((&second[..2], shared), (&first[..2], 64));
    assert_ne!(second[2], first[2]);
    // Of a prompt that is whole blocks the last is copied but for its last token.
    let (_, shared) = compute(&mut pool, &salt("a"), &prompt[..64]).unwrap();
    assert_eq!(shared, 63);
}

#[test]
fn projects_share_nothing() {
    let mut pool = BlockPool::new(8);
    compute(&mut pool, &salt("a"), &tokens(1, 64)).unwrap();
    let (_, shared) = compute(&mut pool, &salt("b"), &tokens(1, 64)).unwrap();
    assert_eq!(shared, 0);
}

#[test]
fn equal_tokens_after_different_ones_are_not_shared() {
    let mut pool = BlockPool::new(16);
    let (a, b) = ([tokens(1, 32), tokens(9, 40)].concat(), [tokens(2, 32), tokens(9, 40)].concat());
    compute(&mut pool, &salt(""), &a).unwrap();
    let (_, shared) = compute(&mut pool, &salt(""), &b).unwrap();
    assert_eq!(shared, 0);
}

#[test]
fn what_differs_within_a_block_is_shared_up_to_there_by_a_copy() {
    let mut pool = BlockPool::new(8);
    let first = tokens(1, 64);
    compute(&mut pool, &salt(""), &first).unwrap();
    let mut second = first.clone();
    second[50] = 7;
    let found = pool.find(&salt(""), &second);
    assert_eq!((found.blocks.len(), found.partial.unwrap().1), (1, 18));
}

#[test]
fn what_was_let_go_first_is_given_up_first_and_a_sequence_from_its_end() {
    let mut pool = BlockPool::new(6);
    let (old, _) = compute(&mut pool, &salt(""), &tokens(1, 96)).unwrap();
    let (new, _) = compute(&mut pool, &salt(""), &tokens(2, 96)).unwrap();
    pool.release(&old);
    pool.release(&new);
    assert_eq!(pool.available(), 6);
    assert_eq!((pool.allocate(), pool.allocate()), (Some(old[2]), Some(old[1])));
    assert_eq!(pool.find(&salt(""), &tokens(1, 96)).blocks, [old[0]]);
    assert_eq!(pool.find(&salt(""), &tokens(2, 97)).blocks, new);
    assert_eq!(pool.allocate(), None);
}

#[derive(Clone, Debug)]
enum Act {
    Compute { salt: u8, stem: u8, leaf: u8, len: usize },
    Release(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let compute = (0_u8..2, 0_u8..3, 0_u8..3, 1_usize..200).prop_map(|(salt, stem, leaf, len)| Act::Compute {
        salt,
        stem,
        leaf,
        len,
    });
    prop::collection::vec(prop_oneof![2 => compute, 1 => (0_usize..8).prop_map(Act::Release)], 1..60)
}

proptest! {
    /// The memory is played by a map of what was written where: whatever is shared has to hold just what was asked for.
    #[test]
    fn what_is_shared_is_what_was_computed_for_it(acts in acts()) {
        let mut pool = BlockPool::new(16);
        let mut memory: Map<u32, (String, Vec<u32>)> = Map::new();
        let mut held: Vec<Vec<u32>> = Vec::new();
        for act in acts {
            match act {
                Act::Release(i) if i < held.len() => pool.release(&held.swap_remove(i)),
                Act::Release(_) => {}
                Act::Compute { salt: s, stem, leaf, len } => {
                    let salt = salt(&s.to_string());
                    let tokens: Vec<u32> = (0..len as u32)
                        .map(|i| if i < 80 { u32::from(stem) * 1000 + i } else { u32::from(leaf) * 5000 + i })
                        .collect();
                    let found = pool.find(&salt, &tokens);
                    for (i, block) in found.blocks.iter().enumerate() {
                        prop_assert_eq!(&memory[block], &(salt.to_string(), tokens[..(i + 1) * BLOCK].to_vec()));
                    }
                    if let Some((block, n)) = found.partial {
                        let upto = found.blocks.len() * BLOCK + n;
                        prop_assert!(upto < tokens.len());
                        let (of, written) = &memory[&block];
                        prop_assert_eq!((of.as_str(), &written[..upto]), (&*salt, &tokens[..upto]));
                        pool.release(&[block]);
                    }
                    let mut blocks = found.blocks;
                    let mut parent = found.parent.unwrap();
                    for at in (blocks.len() * BLOCK..tokens.len()).step_by(BLOCK) {
                        let Some(block) = pool.allocate() else { break };
                        prop_assert!(!held.iter().flatten().any(|b| *b == block), "a held block was given away");
                        blocks.push(block);
                        let end = (at + BLOCK).min(tokens.len());
                        memory.insert(block, (salt.to_string(), tokens[..end].to_vec()));
                        if end == at + BLOCK {
                            parent = pool.publish(&parent, &tokens[at..end], block);
                        }
                    }
                    held.push(blocks);
                }
            }
            let mut distinct: Vec<u32> = held.iter().flatten().copied().collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(pool.available() + distinct.len(), pool.len());
        }
        for blocks in held {
            pool.release(&blocks);
        }
        prop_assert_eq!(pool.available(), pool.len());
        // Nothing is left but what is published.
        while pool.allocate().is_some() {}
        prop_assert_eq!((pool.published(), pool.children.len()), (0, 0));
    }
}
