#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::{HashMap as Map, HashSet};

use proptest::prelude::*;

use super::*;

fn limits() -> Limits {
    Limits { step: 64, sequences: 4, draft: 0, draft_below: 0 }
}

fn order(id: u64, prompt: Vec<u32>) -> Order {
    Order { id, prompt, salt: "".into(), job: "".into(), priority: Priority::Normal, late_at: u64::MAX, pin: false }
}

fn words(seed: u64, n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| seed as u32 * 1000 + i).collect()
}

/// Plays the engine: computes what is planned, and lets each sequence decode so many tokens.
struct Play {
    scheduler: Scheduler,
    drafts: Drafts,
    left: Map<u64, usize>,
    ended: Vec<u64>,
}

impl Play {
    fn new(limits: Limits, blocks: usize) -> Self {
        let scheduler = Scheduler::new(limits, blocks);
        Self { scheduler, drafts: Drafts::default(), left: Map::new(), ended: Vec::new() }
    }

    fn submit(&mut self, order: Order, decode: usize) {
        self.left.insert(order.id, decode);
        self.scheduler.submit(order);
    }

    fn step(&mut self) -> Plan {
        let plan = self.scheduler.plan(0, &mut self.drafts);
        let ids: std::collections::BTreeSet<u64> = plan.rows.iter().map(|rows| rows.id).collect();
        assert_eq!(ids.len(), plan.rows.len(), "a sequence is in a step twice: {plan:?}");
        for rows in &plan.rows {
            let left = self.left.get_mut(&rows.id).unwrap();
            if rows.complete {
                // The token depends on nothing but the place, so that a sequence that is computed again goes on alike.
                self.scheduler.decoded(rows.id, &[(rows.position + rows.tokens.len()) as u32]);
                *left -= 1;
            }
            self.scheduler.computed(rows.id, rows.tokens.len(), 0, &mut Plan::default());
            if *left == 0 {
                self.scheduler.end(rows.id);
                self.ended.push(rows.id);
            }
        }
        plan
    }

    fn run(&mut self) -> Vec<Plan> {
        let mut plans = Vec::new();
        while !self.scheduler.is_idle() {
            plans.push(self.step());
            assert!(plans.len() < 100_000, "it doesn't end");
        }
        plans
    }
}

#[test]
fn decoding_comes_before_prompts_and_a_long_prompt_fills_what_is_left() {
    let mut play = Play::new(limits(), 64);
    play.submit(order(1, words(1, 10)), 20);
    play.step();
    play.submit(order(2, words(2, 200)), 2);
    let plan = play.step();
    assert_eq!(
        plan.rows.iter().map(|r| (r.id, r.tokens.len(), r.complete)).collect::<Vec<_>>(),
        [(1, 1, true), (2, 63, false)]
    );
}

#[test]
fn the_second_of_two_with_one_beginning_waits_for_the_blocks_of_the_first() {
    let mut play = Play::new(limits(), 64);
    let prompt = words(1, 128);
    play.submit(order(1, [prompt.clone(), words(2, 10)].concat()), 1);
    play.submit(order(2, [prompt, words(3, 10)].concat()), 1);
    let plans = play.run();
    let computed: usize = plans.iter().flat_map(|p| &p.rows).filter(|r| r.id == 2).map(|r| r.tokens.len()).sum();
    assert_eq!(computed, 10);
}

#[test]
fn the_more_important_goes_first_and_among_equals_the_job_that_had_least() {
    let mut play = Play::new(Limits { sequences: 1, ..limits() }, 64);
    let of = |id: u64, job: &str, priority| Order { job: job.into(), priority, ..order(id, words(id, 40)) };
    play.submit(of(1, "a", Priority::Normal), 4);
    play.submit(of(2, "a", Priority::Normal), 4);
    play.submit(of(3, "a", Priority::Normal), 4);
    play.submit(of(4, "b", Priority::Normal), 4);
    play.submit(of(5, "a", Priority::Low), 4);
    play.submit(of(6, "b", Priority::High), 4);
    play.run();
    // Job b had the first; then each had one, and the one that came first goes on.
    assert_eq!(play.ended, [6, 1, 2, 4, 3, 5]);
}

#[test]
fn who_is_preempted_goes_on_where_it_was() {
    // Two of them fill the pool when they are done; both at once don't fit.
    let mut play = Play::new(limits(), 6);
    play.submit(order(1, words(1, 60)), 60);
    play.submit(order(2, words(2, 60)), 60);
    play.run();
    assert!(play.scheduler.tally().preempted > 0);
    let mut ended = play.ended.clone();
    ended.sort_unstable();
    assert_eq!(ended, [1, 2]);
    assert_eq!(play.scheduler.pool().available(), 6);
}

#[test]
fn what_is_late_ends_whether_it_waits_or_runs() {
    let mut scheduler = Scheduler::new(Limits { sequences: 1, ..limits() }, 8);
    scheduler.submit(Order { late_at: 10, ..order(1, words(1, 8)) });
    scheduler.submit(Order { late_at: 20, ..order(2, words(2, 8)) });
    scheduler.plan(0, &mut Drafts::default());
    assert_eq!(scheduler.plan(10, &mut Drafts::default()).late, [1]);
    assert_eq!(scheduler.plan(20, &mut Drafts::default()).late, [2]);
    assert!(scheduler.is_idle() && scheduler.pool().available() == 8);
}

#[test]
fn a_pin_keeps_its_blocks_until_it_is_taken_back() {
    let mut scheduler = Scheduler::new(limits(), 8);
    scheduler.submit(Order { pin: true, ..order(1, words(1, 64)) });
    let mut plan = scheduler.plan(0, &mut Drafts::default());
    scheduler.computed(1, 64, 0, &mut plan);
    assert_eq!((&plan.pinned[..], scheduler.pool().available(), scheduler.is_idle()), (&[1][..], 6, true));
    assert!(!scheduler.fits(7 * BLOCK));
    scheduler.end(1);
    assert_eq!(scheduler.pool().available(), 8);
}

#[derive(Clone, Debug)]
enum Act {
    Submit { stem: u8, len: usize, decode: usize, priority: u8, job: u8 },
    Step,
    Cancel(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let submit = (0_u8..3, 1_usize..150, 1_usize..40, 0_u8..3, 0_u8..3)
        .prop_map(|(stem, len, decode, priority, job)| Act::Submit { stem, len, decode, priority, job });
    prop::collection::vec(prop_oneof![2 => submit, 5 => Just(Act::Step), 1 => (0_u64..20).prop_map(Act::Cancel)], 1..80)
}

/// No step is too large, no block is written by two, and what a row sees is what its sequence says.
fn check(plan: &Plan, limits: Limits, memory: &mut Map<(u32, usize), u32>) -> Result<(), TestCaseError> {
    for (from, to) in &plan.copies {
        for place in 0..BLOCK {
            if let Some(token) = memory.get(&(*from, place)).copied() {
                memory.insert((*to, place), token);
            }
        }
    }
    let rows: usize = plan.rows.iter().map(|r| r.tokens.len()).sum();
    prop_assert!(rows <= limits.step && plan.rows.len() <= limits.sequences);
    let mut written = HashSet::new();
    for rows in &plan.rows {
        for (i, token) in rows.tokens.iter().enumerate() {
            let at = rows.position + i;
            let place = (rows.blocks[at / BLOCK], at % BLOCK);
            prop_assert!(written.insert(place), "two rows write one place");
            memory.insert(place, *token);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_request_ends_and_sees_only_its_own_tokens(acts in acts(), blocks in 6_usize..20) {
        let limits = limits();
        let mut play = Play::new(limits, blocks);
        let mut memory = Map::new();
        let mut texts: Map<u64, Vec<u32>> = Map::new();
        let mut next = 0;
        let mut submitted = HashSet::new();
        let mut cancelled = HashSet::new();
        let steps = acts.into_iter().chain(std::iter::repeat_n(Act::Step, 4000));
        for act in steps {
            match act {
                Act::Submit { stem, len, decode, priority, job } => {
                    if !play.scheduler.fits(len + decode) {
                        continue;
                    }
                    next += 1;
                    let prompt: Vec<u32> = (0..len as u32)
                        .map(|i| if i < 70 { 100_000 * (u32::from(stem) + 1) + i } else { next as u32 * 10_000 + i })
                        .collect();
                    texts.insert(next, prompt.clone());
                    let priority = [Priority::Low, Priority::Normal, Priority::High][usize::from(priority)];
                    play.submit(Order { priority, job: job.to_string().into(), ..order(next, prompt) }, decode);
                    submitted.insert(next);
                }
                Act::Cancel(id) => {
                    play.scheduler.end(id);
                    cancelled.insert(id);
                }
                Act::Step if play.scheduler.is_idle() => {}
                Act::Step => {
                    let plan = play.step();
                    check(&plan, limits, &mut memory)?;
                    for rows in &plan.rows {
                        let text = texts.get_mut(&rows.id).unwrap();
                        for at in 0..rows.position + rows.tokens.len() {
                            let seen = memory.get(&(rows.blocks[at / BLOCK], at % BLOCK));
                            prop_assert_eq!(seen, text.get(at), "position {} of {}", at, rows.id);
                        }
                        if rows.complete && text.len() == rows.position + rows.tokens.len() {
                            text.push(text.len() as u32);
                        }
                    }
                }
            }
        }
        prop_assert!(play.scheduler.is_idle(), "somebody waits for ever");
        prop_assert_eq!(play.scheduler.pool().available(), blocks);
        for id in submitted {
            prop_assert!(cancelled.contains(&id) || play.ended.contains(&id));
        }
    }
}
