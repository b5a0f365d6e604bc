#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generate;

use super::*;
use crate::id::Incarnation;

const TTL: Duration = Duration::from_secs(10);
const START: Duration = Duration::ZERO;

fn ledger() -> NodeLedger {
    NodeLedger::new("cpu=4, memory=8 GiB, gpu A=24 GiB, gpu B=48 GiB, custom slots=2".parse().unwrap()).unwrap()
}

fn id(number: u64) -> ReservationId {
    ReservationId { by: Incarnation(1), number }
}

fn granted(ledger: &mut NodeLedger, number: u64, request: &str) -> Amounts {
    match ledger.reserve(id(number), &request.parse().unwrap(), TTL, START) {
        ReserveResult::Granted { assigned, .. } => assigned,
        ReserveResult::Refused { why, .. } => panic!("refused: {why}"),
    }
}

fn refused(ledger: &mut NodeLedger, number: u64, request: &str) -> Refusal {
    match ledger.reserve(id(number), &request.parse().unwrap(), TTL, START) {
        ReserveResult::Refused { why, .. } => why,
        ReserveResult::Granted { assigned, .. } => panic!("granted: {assigned}"),
    }
}

#[test]
fn a_refusal_says_what_is_short_and_what_is_really_free() {
    let mut ledger = ledger();
    granted(&mut ledger, 1, "cpu=3");
    let result = ledger.reserve(id(2), &"cpu=2.5".parse().unwrap(), TTL, START);
    let ReserveResult::Refused { why, view } = result else { panic!("granted") };
    assert_eq!(why.to_string(), "short of cpu by 1.5");
    assert_eq!(view.free.cpu_milli, 1000);
}

#[test]
fn the_same_reservation_twice_holds_once() {
    let mut ledger = ledger();
    let first = granted(&mut ledger, 1, "cpu=3");
    assert_eq!(granted(&mut ledger, 1, "cpu=3"), first);
    assert_eq!(ledger.free().cpu_milli, 1000);
    assert_eq!(refused(&mut ledger, 1, "cpu=1"), Refusal::OtherRequest);
}

#[test]
fn a_whole_gpu_is_the_smallest_unused_that_does_and_a_share_fills_up_the_fullest() {
    let mut ledger = ledger();
    let gpus = |amounts: Amounts| amounts.gpus.into_keys().collect::<Vec<_>>();
    assert_eq!(gpus(granted(&mut ledger, 1, "gpu=share 8 GiB")), ["A"]);
    assert_eq!(gpus(granted(&mut ledger, 2, "gpu=share 8 GiB")), ["A"]);
    assert_eq!(gpus(granted(&mut ledger, 3, "gpu=1x20 GiB")), ["B"], "A is shared already");
    refused(&mut ledger, 4, "gpu=1");
    refused(&mut ledger, 5, "gpu=id A");
    assert_eq!(gpus(granted(&mut ledger, 6, "gpu=id A share 8 GiB")), ["A"]);
    refused(&mut ledger, 7, "gpu=share 1 B");
}

#[test]
fn what_is_not_started_in_time_is_given_back_and_what_is_started_stays() {
    let mut ledger = ledger();
    granted(&mut ledger, 1, "cpu=1");
    granted(&mut ledger, 2, "cpu=1");
    ledger.confirm(id(1), START).unwrap();
    assert_eq!(ledger.expire(TTL), [id(2)]);
    assert_eq!(ledger.free().cpu_milli, 3000);
    assert_eq!(ledger.confirm(id(2), TTL), Err(PlacementError::EndedReservation(id(2))));
    assert_eq!(ledger.confirm(id(9), TTL), Err(PlacementError::UnknownReservation(id(9))));
    assert!(ledger.confirm(id(1), TTL * 100).is_ok());
}

#[test]
fn a_reservation_that_comes_after_its_release_is_refused() {
    let mut ledger = ledger();
    assert!(!ledger.release(id(1)));
    assert_eq!(refused(&mut ledger, 1, "cpu=1"), Refusal::Ended);
    assert_eq!(ledger.free(), &ledger.totals().amounts);
}

#[test]
fn a_draining_node_takes_nothing_new_and_keeps_what_it_has() {
    let mut ledger = ledger();
    let held = granted(&mut ledger, 1, "cpu=1");
    ledger.set_accepting(false);
    assert_eq!(refused(&mut ledger, 2, "nothing"), Refusal::NotAccepting);
    assert_eq!(granted(&mut ledger, 1, "cpu=1"), held);
}

#[derive(Clone, Debug)]
enum Op {
    Reserve(u64, String),
    Confirm(u64),
    Release(u64),
    Wait(u64),
}

fn op() -> impl Generate<Value = Op> {
    let request = prop_oneof![
        (0_u64..5, 0_u64..5).prop_map(|(cpu, gib)| format!("cpu={cpu}, memory={gib} GiB")),
        (1_u64..30).prop_map(|gib| format!("gpu=share {gib} GiB")),
        (1_u64..4, 0_u64..60).prop_map(|(n, gib)| format!("gpu={n}x{gib} GiB")),
        any::<bool>().prop_map(|a| format!("gpu=id {}", if a { "A" } else { "C" })),
        (0_u64..4).prop_map(|n| format!("custom slots={n}, custom none=0")),
    ];
    prop_oneof![
        4 => (0_u64..12, request).prop_map(|(n, request)| Op::Reserve(n, request)),
        2 => (0_u64..12).prop_map(Op::Confirm),
        2 => (0_u64..12).prop_map(Op::Release),
        1 => (0_u64..8).prop_map(Op::Wait),
    ]
}

proptest! {
    #[test]
    fn held_and_free_are_always_the_whole_and_all_comes_back(ops in prop::collection::vec(op(), 0..80)) {
        let mut ledger = ledger();
        let mut now = START;
        let mut version = 0;
        for op in ops {
            match op {
                Op::Reserve(n, request) => drop(ledger.reserve(id(n), &request.parse().unwrap(), TTL, now)),
                Op::Confirm(n) => drop(ledger.confirm(id(n), now).cloned()),
                Op::Release(n) => { ledger.release(id(n)); }
                Op::Wait(s) => { now += Duration::from_secs(s); ledger.expire(now); }
            }
            let held = ledger.holdings().map(|(_, a, _)| a.clone());
            let sum = held.fold(ledger.free().clone(), |sum, a| sum.checked_add(&a).unwrap());
            prop_assert_eq!(&sum, &ledger.totals().amounts);
            // No GPU that is held whole is shared.
            let mut holders: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            ledger.holdings().flat_map(|(_, a, _)| a.gpus.clone()).for_each(|(g, n)| holders.entry(g).or_default().push(n));
            for (gpu, shares) in holders {
                let all = ledger.totals().amounts.gpus[&gpu];
                prop_assert!(shares.len() == 1 || shares.iter().all(|n| *n < all));
            }
            prop_assert!(ledger.view().version >= version);
            version = ledger.view().version;
        }
        for n in 0..12 {
            ledger.release(id(n));
        }
        prop_assert_eq!(ledger.free(), &ledger.totals().amounts);
    }
}
