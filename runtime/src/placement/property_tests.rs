#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generate;

use super::world::{Message, World, actor, demand, node};
use super::*;
use crate::id::{ActorId, Incarnation};

const NODES: [&str; 4] =
    ["cpu=4, label zone=a", "cpu=4, memory=8 GiB, label zone=b", "cpu=2, gpu A=24 GiB, gpu B=24 GiB", "cpu=8"];

#[derive(Clone, Debug)]
enum Op {
    Ask(Vec<Demand>),
    End(usize),
    Cancel(usize),
    Deliver(usize),
    /// A message to a node or its answer is lost. What an actor that runs holds is released reliably.
    Lose(usize),
    /// Somebody else takes something of a node, which the core doesn't hear.
    Taken(u64, u64),
    Report(u64),
    Drain(u64, bool),
    Restart(u64),
    Down(u64),
    Wait(u64),
}

fn a_demand() -> impl Generate<Value = Demand> {
    let request = prop_oneof![
        4 => (1_u64..5).prop_map(|n| format!("cpu={n}")),
        1 => Just("cpu=8".to_owned()),
        1 => Just("memory=5 GiB".to_owned()),
        1 => Just("gpu=1".to_owned()),
        1 => Just("gpu=share 10 GiB".to_owned()),
        1 => Just("cpu=1, label zone in (a,b)".to_owned()),
        1 => Just("cpu=99".to_owned()),
    ];
    let strategy = prop_oneof![
        4 => Just(Strategy::Pack),
        3 => Just(Strategy::Spread),
        1 => Just(Strategy::Excluding { nodes: BTreeSet::from([node(4)]), groups: BTreeSet::new() }),
        1 => Just(Strategy::Excluding { nodes: BTreeSet::new(), groups: BTreeSet::from(["g".to_owned()]) }),
    ];
    let group = prop::option::weighted(0.3, Just("g".to_owned()));
    (request, strategy, group, -1_i32..2).prop_map(|(request, strategy, group, priority)| Demand {
        strategy,
        group,
        priority,
        ..demand(&request)
    })
}

fn op() -> impl Generate<Value = Op> {
    prop_oneof![
        6 => a_demand().prop_map(|d| Op::Ask(vec![d])),
        3 => prop::collection::vec(a_demand(), 2..4).prop_map(Op::Ask),
        4 => any::<usize>().prop_map(Op::End),
        1 => any::<usize>().prop_map(Op::Cancel),
        12 => any::<usize>().prop_map(Op::Deliver),
        1 => any::<usize>().prop_map(Op::Lose),
        2 => (1_u64..5, 1_u64..5).prop_map(|(n, cpu)| Op::Taken(n, cpu)),
        2 => (1_u64..5).prop_map(Op::Report),
        1 => (1_u64..5, any::<bool>()).prop_map(|(n, yes)| Op::Drain(n, yes)),
        1 => (1_u64..5).prop_map(Op::Restart),
        1 => (1_u64..5).prop_map(Op::Down),
        4 => (0_u64..20_000).prop_map(Op::Wait),
    ]
}

struct Run {
    world: World,
    gangs: Vec<Vec<ActorId>>,
    asked: u64,
    taken: u64,
}

impl Run {
    fn new() -> Self {
        let options = PlacementOptions { hold_after: Duration::from_secs(5), ..Default::default() };
        Self { world: World::new(options, &NODES), gangs: Vec::new(), asked: 0, taken: 0 }
    }

    fn apply(&mut self, op: Op) {
        let world = &mut self.world;
        match op {
            Op::Ask(demands) => {
                let members: Vec<(u64, Demand)> = (self.asked..).zip(demands).collect();
                self.asked += members.len() as u64;
                self.gangs.push(members.iter().map(|(n, _)| actor(*n)).collect());
                world.gang(members);
            }
            Op::End(pick) if !world.running.is_empty() => {
                let id = *world.running.keys().nth(pick % world.running.len()).unwrap();
                world.end(id);
            }
            Op::Cancel(pick) => {
                let waiting: Vec<ActorId> = world.core.waiting().collect();
                if !waiting.is_empty() {
                    world.cancel(waiting[pick % waiting.len()]);
                }
            }
            Op::Deliver(pick) if !world.wire.is_empty() => world.deliver(pick % world.wire.len()),
            Op::Lose(pick) if !world.wire.is_empty() => {
                let at = pick % world.wire.len();
                drop(world.wire.remove(at));
            }
            Op::End(_) | Op::Deliver(_) | Op::Lose(_) => {}
            Op::Taken(n, cpu) => {
                self.taken += 1;
                let id = ReservationId { by: Incarnation(99), number: self.taken };
                let request = format!("cpu={cpu}").parse().unwrap();
                if let Some((_, ledger)) = world.ledgers.get_mut(&node(n)) {
                    ledger.reserve(id, &request, Duration::from_secs(20), world.now);
                }
            }
            Op::Report(n) => world.report(node(n)),
            Op::Drain(n, yes) => world.accepts(node(n), if yes { Accepts::Draining } else { Accepts::Yes }),
            Op::Restart(n) => world.up(node(n), NODES[n as usize - 1]),
            Op::Down(n) => world.down(node(n)),
            Op::Wait(millis) => world.wait(Duration::from_millis(millis)),
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let world = &self.world;
        for (_, ledger) in world.ledgers.values() {
            let held = ledger.holdings().map(|(_, a, _)| a.clone());
            let sum = held.fold(ledger.free().clone(), |sum, a| sum.checked_add(&a).unwrap());
            assert_eq!(sum, ledger.totals().amounts, "conserved");
        }
        for gang in &self.gangs {
            let placed = gang.iter().filter(|id| world.ever_placed.contains(id)).count();
            assert!(placed == 0 || placed == gang.len(), "{placed} of {gang:?} have a place");
        }
        for id in world.core.waiting() {
            check_explanation(&world.core.explain(id, world.now).unwrap(), world);
        }
    }

    /// Everything works again and whoever has a place ends after a while.
    fn heal(&mut self) {
        for n in 1..=4 {
            if !self.world.ledgers.contains_key(&node(n)) {
                self.world.up(node(n), NODES[n as usize - 1]);
            }
            self.world.accepts(node(n), Accepts::Yes);
        }
        for _ in 0..1000 {
            self.world.settle();
            self.world.wait(Duration::from_secs(1));
            (1..=4).for_each(|n| self.world.report(node(n)));
            self.world.settle();
            let running: Vec<ActorId> = self.world.running.keys().copied().collect();
            running.into_iter().for_each(|id| self.world.end(id));
            self.check();
            if self.world.core.waiting().next().is_none() && self.world.wire.is_empty() {
                return;
            }
        }
    }
}

fn check_explanation(explanation: &Explanation, world: &World) {
    let PlaceState::Waiting(_) = explanation.state else { return };
    assert_eq!(explanation.nodes.len(), world.ledgers.len());
    assert!(!explanation.advice.is_empty() && !explanation.to_string().is_empty());
    for verdict in &explanation.nodes {
        assert!(!verdict.why.is_empty(), "no reason: {explanation}");
        if verdict.why.contains(&WhyNot::Behind) {
            assert!(explanation.ahead > 0, "nobody is ahead: {explanation}");
        }
    }
}

/// Each member fits an empty node, and the whole gang the empty cluster.
fn fits_empty(demands: &[Demand]) -> bool {
    let mut world = World::new(PlacementOptions::default(), &NODES);
    world.gang((0..).zip(demands.iter().cloned()).collect());
    world.settle();
    world.running.len() == demands.len()
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 200, ..Default::default() })]

    #[test]
    fn whatever_happens_resources_are_conserved_gangs_whole_and_in_the_end_all_have_had_a_place(
        ops in prop::collection::vec(op(), 0..120),
    ) {
        let mut run = Run::new();
        let mut fitting: BTreeMap<ActorId, bool> = BTreeMap::new();
        for op in ops {
            if let Op::Ask(demands) = &op {
                let fits = fits_empty(demands);
                fitting.extend((run.asked..).zip(demands).map(|(n, _)| (actor(n), fits)));
            }
            run.apply(op);
            run.check();
        }
        // What can't ever fit would wait on; it isn't what this is about.
        let waiting: Vec<ActorId> = run.world.core.waiting().filter(|id| !fitting[id]).collect();
        waiting.into_iter().for_each(|id| run.world.cancel(id));
        run.heal();
        let left: Vec<String> = run.world.core.waiting().map(|id| run.world.core.explain(id, run.world.now).unwrap().to_string()).collect();
        prop_assert!(left.is_empty(), "still waiting: {left:?}");
        // Reservations whose release was lost run out.
        run.world.wait(Duration::from_secs(60));
        for (_, ledger) in run.world.ledgers.values() {
            prop_assert_eq!(ledger.free(), &ledger.totals().amounts);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_commands(ops in prop::collection::vec(op(), 0..80)) {
        let logs = [(), ()].map(|()| {
            let mut run = Run::new();
            ops.iter().cloned().for_each(|op| run.apply(op));
            run.world.log
        });
        prop_assert_eq!(&logs[0], &logs[1]);
    }

    #[test]
    fn two_gangs_that_fit_only_one_after_the_other_both_get_their_turn(
        sizes in prop::collection::vec(2_usize..5, 2..5),
        order in prop::collection::vec(any::<usize>(), 0..60),
        lost in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        // Any two of these together are more than the cluster has.
        let mut world = World::new(PlacementOptions::default(), &["cpu=2", "cpu=2", "cpu=1"]);
        let mut first = 0;
        for size in &sizes {
            let demands = (first..).take(*size).map(|n| (n, demand("cpu=1"))).collect();
            world.gang(demands);
            first += *size as u64;
        }
        for at in order {
            if !world.wire.is_empty() {
                world.deliver(at % world.wire.len());
            }
        }
        for at in lost {
            let reserve = |m: &Message| matches!(m, Message::ToNode(Command::Reserve { .. }) | Message::ToCore(..));
            let lossy: Vec<usize> = (0..world.wire.len()).filter(|at| reserve(&world.wire[*at])).collect();
            if !lossy.is_empty() {
                drop(world.wire.remove(lossy[at % lossy.len()]));
            }
        }
        for _ in 0..120 {
            world.run(Duration::from_secs(1));
            let running: Vec<ActorId> = world.running.keys().copied().collect();
            running.into_iter().for_each(|id| world.end(id));
        }
        prop_assert_eq!(world.ever_placed.len() as u64, first);
    }
}
