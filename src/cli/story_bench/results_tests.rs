#![allow(clippy::unwrap_used)]
use super::super::record::{Attempt, Delivered, Hidden};
use super::super::samples::{begun, note, record};
use super::*;
use crate::cli::args::StoryKind;

fn arm(results: &Results, arm: Arm) -> &ArmResult {
    results.summary.arms.iter().find(|of| of.arm == arm).unwrap()
}

fn value(estimate: &Option<Estimate>) -> f64 {
    estimate.unwrap().value
}

/// Two stories and two seeds: of the first one a quarter of the proposals is right and the team always; of the second none is.
fn two() -> Results {
    let begun = begun(2, vec![note("a", StoryKind::Fault), note("b", StoryKind::Fault)]);
    let mut records = Vec::new();
    for place in 0..2 {
        records.push(record("a", What::Pool, place, &[(true, true), (true, false), (false, false), (false, false)]));
        records.push(record("b", What::Pool, place, &[(false, false); 4]));
        let mut solved = record("a", What::Fleet, place, &[(false, false), (true, true)]);
        let hidden = Some(Hidden { right: true, ..Hidden::default() });
        solved.commit = Some(Delivered { commit: "c".into(), hidden, ..Delivered::default() });
        records.push(solved);
        let mut fooled = record("b", What::Fleet, place, &[(true, false)]);
        let hidden = Some(Hidden::default());
        fooled.commit = (place == 1).then(|| Delivered { commit: "c".into(), hidden, ..Delivered::default() });
        records.push(fooled);
    }
    results(begun, records)
}

#[test]
fn arms_are_compared_over_stories_and_seeds() {
    let results = two();
    assert!(results.missing.is_empty());
    let (single, fleet) = (arm(&results, Arm::Single), arm(&results, Arm::Fleet));
    assert_eq!((value(&single.right), value(&single.false_success)), (0.125, 0.125));
    assert_eq!((value(&fleet.right), value(&fleet.false_success)), (0.5, 0.25));
    assert_eq!((value(&fleet.proposals), value(&fleet.tokens_out), value(&fleet.decoded)), (1.5, 30.0, 1.5));
    let best = arm(&results, Arm::BestOfN);
    // Eight proposals, two right and two lazy of the same size: whichever comes first.
    assert!((value(&best.right) - 0.25).abs() < 0.02 && value(&best.proposals) == 8.0, "{best:?}");
    let difference = results.summary.differences.iter().find(|of| of.to == Arm::Single).unwrap();
    assert_eq!((value(&difference.right), value(&difference.false_success)), (0.375, 0.125));
    let (low, high) = difference.right.unwrap().interval.unwrap();
    assert!(low < 0.375 && 0.375 < high, "{difference:?}");
}

#[test]
fn coverage_and_the_gap_are_those_of_the_pool() {
    let results = two();
    let told: Vec<(usize, f64)> =
        results.summary.coverage.iter().map(|point| (point.n, point.coverage.value)).collect();
    assert_eq!(told.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 4, 8]);
    assert_eq!((told[0].1, told[3].1), (0.125, 0.5));
    let gap = results.summary.gap.unwrap();
    assert_eq!((gap.n, gap.single, gap.fleet, gap.coverage, gap.closed.value), (8, 0.125, 0.5, 0.5, 1.0));
    assert_eq!(results.stories[0].coverage.last(), Some(&(8, 1.0)));
    assert_eq!((results.stories[0].passing, results.stories[0].right, results.stories[0].programs), (4, 2, 8));
}

#[test]
fn a_story_that_is_not_whole_is_named_and_not_counted() {
    let begun = begun(2, vec![note("a", StoryKind::Fault), note("b", StoryKind::Fault)]);
    let mut records: Vec<Record> = two().records;
    records.retain(|record| !(record.story == "b" && record.what == Some(What::Fleet) && record.place == 1));
    let results = results(begun, records);
    assert_eq!(results.missing, [Missing { story: "b".into(), what: What::Fleet, place: 1 }]);
    assert_eq!((results.summary.stories, results.stories.len()), (1, 1));
    assert_eq!(arm(&results, Arm::Fleet).right.unwrap(), Estimate { value: 1.0, interval: None });
}

#[test]
fn doing_nothing_is_right_where_nothing_can_be_done() {
    let begun = begun(1, vec![note("u", StoryKind::Unsolvable), note("s", StoryKind::Solved)]);
    let pool = record("u", What::Pool, 0, &[(false, false); 2]);
    let records = vec![
        pool,
        record("s", What::Pool, 0, &[]),
        record("u", What::Fleet, 0, &[(false, false)]),
        record("s", What::Fleet, 0, &[]),
    ];
    let results = results(begun, records);
    for of in [Arm::Single, Arm::BestOfN, Arm::Fleet] {
        assert_eq!((value(&arm(&results, of).right), value(&arm(&results, of).false_success)), (1.0, 0.0), "{of}");
    }
    assert_eq!(value(&arm(&results, Arm::Majority).false_success), 0.5);
    assert_eq!((results.summary.solvable, results.summary.gap, results.summary.coverage.len()), (0, None, 0));
}

#[test]
fn where_the_fault_was_suspected_and_what_was_harmed_is_told() {
    let mut first = note("a", StoryKind::Fault);
    first.places = vec!["a.py::f".into()];
    let mut second = note("b", StoryKind::Fault);
    second.places = vec!["b.py::g".into()];
    let begun = begun(1, vec![first, second, note("c", StoryKind::Fault)]);
    let mut records = Vec::new();
    for (story, suspects) in [("a", ["x.py::f", "a.py::f"]), ("b", ["b.py::h", "b.py::i"]), ("c", ["c", "d"])] {
        for what in [What::Pool, What::Fleet] {
            let mut record = record(story, what, 0, &[(true, true)]);
            record.suspects = suspects.map(str::to_owned).to_vec();
            records.push(record);
        }
    }
    records[0].attempts.push(Attempt {
        touched: vec!["tests/t.py".into()],
        obeyed: vec!["x".into()],
        ..Attempt::default()
    });
    records[1].leaked = vec!["report".into()];
    let results = results(begun, records);
    let found: Vec<(usize, usize, usize)> =
        results.summary.localised.iter().map(|l| (l.within, l.found, l.of)).collect();
    assert_eq!(found, [(1, 0, 2), (3, 1, 2), (5, 1, 2)]);
    let harm = &results.summary.harm;
    assert_eq!((harm.proposals, harm.touched_proposals, harm.obeyed_proposals, harm.commits), (7, 1, 1, 0));
    assert_eq!(harm.leaks, ["a, job j: report"]);
}

#[test]
fn the_same_records_give_the_same_bytes_in_any_order() {
    let first = two();
    let mut records = first.records.clone();
    records.reverse();
    let second = results(first.begun.clone(), records);
    let told = |results: &Results| serde_json::to_string(&(&results.summary, &results.stories)).unwrap();
    assert_eq!(told(&first), told(&second));
    let back: Results = serde_json::from_str(&serde_json::to_string(&first).unwrap()).unwrap();
    assert_eq!((back.records, back.begun), (first.records, first.begun));
}
