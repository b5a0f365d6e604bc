#![allow(clippy::unwrap_used)]
use super::*;

fn tried(program: &str, lines: u32, passes: bool, right: bool) -> Tried {
    let program = (!program.is_empty()).then(|| program.to_owned());
    Tried { tokens_in: 80.0, tokens_out: 20.0, seconds: 2.0, tool_runs: 1.0, program, lines, passes, right }
}

/// Ten proposals: four right ones of one program, two lazy ones that are smaller, three failures, one without a change.
fn pool() -> Vec<Tried> {
    let mut pool = vec![tried("right", 6, true, true); 4];
    pool.extend(vec![tried("lazy", 2, true, false); 2]);
    pool.extend(["a", "b", "c"].map(|program| tried(program, 1, false, false)));
    pool.push(tried("", 0, false, false));
    pool
}

fn how(tokens: f64) -> Draws {
    Draws { budget: tokens, draws: 4000, solvable: true }
}

fn figures(arm: Arm, pool: &[Tried], how: Draws) -> Figures {
    from_pool(arm, pool, how, &mut Dice::of(&["test"])).unwrap()
}

#[track_caller]
fn near(is: f64, should: f64) {
    assert!((is - should).abs() < 0.02, "{is} isn't about {should}");
}

#[test]
fn a_single_try_is_the_pools_mean_to_the_last_bit() {
    let single = figures(Arm::Single, &pool(), how(1e9));
    assert_eq!((single.declared, single.right, single.false_success), (0.6, 0.4, 0.2));
    assert_eq!((single.proposals, single.tokens_in, single.tokens_out, single.seconds), (1.0, 80.0, 20.0, 2.0));
}

#[test]
fn the_best_of_all_is_the_smallest_that_passes() {
    let best = figures(Arm::BestOfN, &pool(), how(1000.0));
    assert_eq!((best.declared, best.right, best.false_success, best.proposals), (1.0, 0.0, 1.0, 10.0));
    assert_eq!((best.tokens_in, best.tokens_out, best.tool_runs), (800.0, 200.0, 10.0));
}

#[test]
fn the_best_of_two_is_drawn_without_putting_back() {
    let best = figures(Arm::BestOfN, &pool(), how(299.0));
    assert_eq!(best.proposals, 2.0);
    // Of the 45 pairs 28 have no lazy one; 6 of those have none that is right either.
    near(best.right, 22.0 / 45.0);
    near(best.false_success, 17.0 / 45.0);
    near(best.declared, 39.0 / 45.0);
}

#[test]
fn the_majority_doesnt_ask_the_tests() {
    let all = figures(Arm::Majority, &pool(), how(1000.0));
    assert_eq!((all.declared, all.right), (1.0, 1.0));
    let wrong: Vec<Tried> = [vec![tried("wrong", 1, false, false); 3], vec![tried("right", 1, true, true)]].concat();
    let wrong = figures(Arm::Majority, &wrong, how(400.0));
    assert_eq!((wrong.declared, wrong.right, wrong.false_success), (1.0, 0.0, 1.0));
    let none = figures(Arm::Majority, &vec![tried("", 0, false, false); 3], how(300.0));
    assert_eq!((none.declared, none.right, none.false_success), (0.0, 0.0, 0.0));
}

#[test]
fn one_proposal_is_made_however_small_the_budget_is() {
    let best = figures(Arm::BestOfN, &pool(), how(1.0));
    assert_eq!((best.proposals, best.tokens_in), (1.0, 80.0));
    near(best.right, 0.4);
}

#[test]
fn the_same_dice_give_the_same_bytes() {
    let twice = || serde_json::to_string(&figures(Arm::BestOfN, &pool(), how(500.0))).unwrap();
    assert_eq!(twice(), twice());
}

#[test]
fn where_nothing_can_be_done_nothing_is_right() {
    let unsolvable = Draws { solvable: false, ..how(1e9) };
    let none = figures(Arm::BestOfN, &[], unsolvable);
    assert_eq!((none.right, none.declared, none.false_success), (1.0, 0.0, 0.0));
    let failing = figures(Arm::BestOfN, &[tried("a", 1, false, false)], unsolvable);
    assert_eq!(failing.right, 1.0);
    let majority = figures(Arm::Majority, &[tried("a", 1, false, false)], unsolvable);
    assert_eq!((majority.right, majority.false_success), (0.0, 1.0));
    assert_eq!(figures(Arm::Single, &[], how(1.0)).right, 0.0);
    assert_eq!(from_pool(Arm::Fleet, &pool(), how(1.0), &mut Dice::of(&[])), None);
}

#[test]
fn coverage_is_that_of_drawing_without_putting_back() {
    assert_eq!([coverage(10, 4, 1), coverage(10, 0, 10), coverage(10, 4, 7), coverage(0, 0, 3)], [0.4, 0.0, 1.0, 0.0]);
    near(coverage(10, 4, 2), 1.0 - 6.0 / 10.0 * 5.0 / 9.0);
    assert_eq!(coverage(4, 1, 64), 1.0);
    let curve: Vec<f64> = (1..=64).map(|n| coverage(64, 2, n)).collect();
    assert!(curve.windows(2).all(|pair| pair[0] <= pair[1]) && curve[63] == 1.0);
}
