//! A whole cluster in one thread, from one seed: registry, membership, placement, ledgers, leases, jobs and the journal.
//!
//! The cores are the real ones; what is modelled is what lies between them: a network that delays, loses, cuts one way or
//! both, nodes that freeze, crash and come back, a control node that does, and a disk that is slow, refuses, or crashes with an
//! append under way. After some time all faults are healed, and then:
//!
//! - whatever was acknowledged, a job or an actor, is there and well, or has ended as it was to;
//! - at no moment two lives of an actor could act;
//! - an actor's generations only rose from place to place;
//! - resources are conserved on every node at every moment, and in the end nothing is held for nobody;
//! - the recorded events give the same state that the control node had.
//!
//! `FLEET_SEEDS=5000 cargo test -p fleet-runtime --lib simulation` runs more, `FLEET_SEED=17` that one.

mod control;
mod jobs;
mod node;
mod oracle;
mod plan;
mod runner;
mod users;
mod world;

use super::registry::Bug;
use plan::{Fault, Plan, Random};
use world::World;

/// Seeds of a normal test run.
const SEEDS: u64 = 200;

/// Runs one seed to its end; the hash of all that happened.
fn run(seed: u64, bug: Option<Bug>) -> Result<blake3::Hash, String> {
    let mut world = World::new(seed, bug);
    world.story = number("FLEET_SEED").map(|_| String::new());
    let result = world.run().and_then(|()| world.all_is_well());
    let again = format!("FLEET_SEED={seed} cargo test -p fleet-runtime --lib simulation");
    result.map(|()| world.trace()).map_err(|why| {
        let story = world.story.take().unwrap_or_default();
        format!("seed {seed} at {} ms: {why}\n  again, with all that happened: {again}\n{story}", world.now)
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_and_nobody_acts_twice_whatever_fails() {
    let seeds = match number("FLEET_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("FLEET_SEEDS").unwrap_or(SEEDS) + 1,
    };
    let failed: Vec<String> = seeds.filter_map(|seed| run(seed, None).err()).collect();
    assert!(failed.is_empty(), "{} seeds fail; the first:\n{}", failed.len(), failed[..failed.len().min(5)].join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [1, 77] {
        assert_eq!(run(seed, None), run(seed, None));
    }
    assert_ne!(run(1, None), run(2, None));
}

#[test]
fn each_mistake_that_is_made_on_purpose_is_found() {
    for bug in [Bug::ActsBeforeRecorded, Bug::MovesOnSuspicion, Bug::GenerationsOverlap] {
        let found = (1..=SEEDS).find_map(|seed| run(seed, Some(bug)).err());
        assert!(found.is_some(), "{bug:?} was not found by {SEEDS} seeds");
    }
}

#[test]
fn a_disk_that_is_full_or_slow_costs_nobody_the_lease() {
    for (seed, fault) in [(1, Fault::FullDisk), (2, Fault::SlowDisk)] {
        let mut random = Random::new(seed);
        let calm = Plan { outages: vec![(fault, 3_000, 18_000)], loss: 0, ..Plan::new(&mut random) };
        let mut world = World::with(calm, random, None);
        while world.now < 25_000 {
            world.step().unwrap();
            assert!(world.now < 3_000 || world.all_may_act(), "{fault:?}: a node is fenced at {} ms", world.now);
        }
    }
}
