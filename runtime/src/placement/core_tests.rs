#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::world::{Message, World, actor, demand, node};
use super::*;
use crate::id::Incarnation;

const SECOND: Duration = Duration::from_secs(1);

fn world(nodes: &[&str]) -> World {
    World::new(PlacementOptions::default(), nodes)
}

fn placed(world: &mut World, n: u64, demand: Demand) -> Option<crate::id::NodeId> {
    world.request(n, demand);
    world.settle();
    world.place_of(n)
}

fn with(request: &str, strategy: Strategy) -> Demand {
    Demand { strategy, ..demand(request) }
}

#[test]
fn pack_fills_a_node_in_use_before_an_idle_one_and_takes_the_tightest() {
    let mut world = world(&["cpu=8", "cpu=4"]);
    assert_eq!(placed(&mut world, 1, demand("cpu=3")), Some(node(2)));
    assert_eq!(placed(&mut world, 2, demand("cpu=1")), Some(node(2)));
    assert_eq!(placed(&mut world, 3, demand("cpu=1")), Some(node(1)));
}

#[test]
fn pack_keeps_nodes_with_gpus_for_those_that_need_one() {
    let mut world = world(&["cpu=4, gpu A=24 GiB", "cpu=64"]);
    assert_eq!(placed(&mut world, 1, demand("cpu=1")), Some(node(2)));
    assert_eq!(placed(&mut world, 2, demand("cpu=1, gpu=1x20 GiB")), Some(node(1)));
}

#[test]
fn spread_takes_the_node_with_the_fewest_of_its_group_then_the_least_loaded() {
    let mut world = world(&["cpu=8", "cpu=8", "cpu=8"]);
    placed(&mut world, 1, with("cpu=4", Strategy::Spread));
    let group = |group: &str| Demand { group: Some(group.into()), ..with("cpu=1", Strategy::Spread) };
    assert_eq!(placed(&mut world, 2, group("g")), Some(node(2)));
    assert_eq!(placed(&mut world, 3, group("g")), Some(node(3)));
    assert_eq!(placed(&mut world, 4, group("g")), Some(node(1)), "a node without the group, though loaded");
}

#[test]
fn same_goes_where_the_other_is_and_waits_until_it_is_somewhere() {
    let mut world = world(&["cpu=2", "cpu=8"]);
    let near = with("cpu=1", Strategy::Same(Anchor::Actor(actor(1))));
    assert_eq!(placed(&mut world, 2, near), None);
    assert!(world.explain(2).to_string().contains("has no place yet"));
    assert_eq!(placed(&mut world, 1, demand("cpu=5")), Some(node(2)));
    assert_eq!(world.place_of(2), Some(node(2)));
    assert_eq!(placed(&mut world, 3, with("cpu=1", Strategy::Same(Anchor::Node(node(1))))), Some(node(1)));
}

#[test]
fn excluding_its_own_group_puts_each_on_another_node() {
    let mut world = world(&["cpu=8", "cpu=8"]);
    let apart = || Demand {
        group: Some("g".into()),
        ..with("cpu=1", Strategy::Excluding { nodes: BTreeSet::new(), groups: BTreeSet::from(["g".into()]) })
    };
    let places: BTreeSet<_> = (1..=2).map(|n| placed(&mut world, n, apart()).unwrap()).collect();
    assert_eq!(places.len(), 2);
    assert_eq!(placed(&mut world, 3, apart()), None);
    assert_eq!(world.explain(3).nodes[0].why, [WhyNot::HasGroup("g".into())]);
    world.end(actor(1));
    world.settle();
    assert!(world.place_of(3).is_some());
}

#[test]
fn local_data_goes_before_the_strategy_and_is_no_condition() {
    let mut world = world(&["cpu=2", "cpu=2"]);
    let near = || Demand { near_data: BTreeMap::from([(node(2), 1 << 30)]), ..demand("cpu=2") };
    assert_eq!(placed(&mut world, 1, near()), Some(node(2)));
    assert_eq!(placed(&mut world, 2, near()), Some(node(1)));
}

#[test]
fn a_refusal_corrects_the_view_and_another_node_is_tried() {
    let mut world = world(&["cpu=4", "cpu=8"]);
    let other = ReservationId { by: Incarnation(9), number: 1 };
    let ledger = &mut world.ledgers.get_mut(&node(1)).unwrap().1;
    ledger.reserve(other, &"cpu=3".parse().unwrap(), SECOND * 100, Duration::ZERO);
    assert_eq!(placed(&mut world, 1, demand("cpu=4")), Some(node(2)));
    let asked = |w: &World| w.log.iter().filter(|c| matches!(c, Command::Reserve { .. })).count();
    assert_eq!(asked(&world), 2);
    placed(&mut world, 2, demand("cpu=4"));
    assert_eq!(asked(&world), 3, "the first node isn't asked for 4 again");
}

#[test]
fn a_node_that_does_not_answer_in_time_is_released_and_its_late_grant_too() {
    let mut world = world(&["cpu=4", "cpu=8"]);
    world.request(1, demand("cpu=4"));
    let Some(Message::ToNode(Command::Reserve { reservation, request, .. })) = world.wire.pop_front() else { panic!() };
    world.wait(SECOND * 3);
    world.settle();
    assert_eq!(world.place_of(1), Some(node(2)));
    let assigned = request.take(&"cpu=4".parse().unwrap(), &"cpu=4".parse::<Resources>().unwrap().amounts).unwrap();
    let late = ReserveResult::Granted { assigned, view: NodeView::default() };
    let commands = world.core.reserve_result(reservation, node(1), late, world.now);
    assert_eq!(commands, [Command::Release { node: node(1), reservation }]);
}

#[test]
fn a_report_that_is_older_than_an_answer_is_ignored() {
    let mut world = world(&["cpu=4"]);
    let (incarnation, ledger) = &world.ledgers[&node(1)];
    let (incarnation, old) = (*incarnation, ledger.view());
    placed(&mut world, 1, demand("cpu=3"));
    world.core.node_view(node(1), incarnation, old, world.now);
    let asked = world.log.len();
    placed(&mut world, 2, demand("cpu=4"));
    let asks = world.log[asked..].iter().any(|c| matches!(c, Command::Reserve { .. }));
    assert!(!asks, "what is free was known better");
}

#[test]
fn a_gang_is_placed_whole_or_not_at_all() {
    let mut world = world(&["cpu=2", "cpu=2"]);
    placed(&mut world, 1, demand("cpu=1"));
    world.gang((10..14).map(|n| (n, demand("cpu=1"))).collect());
    world.settle();
    assert!((10..14).all(|n| world.place_of(n).is_none()));
    let why = &world.explain(10).nodes[1].why;
    assert_eq!(why, &[WhyNot::GangIncomplete { places: 3, of: 4 }]);
    world.end(actor(1));
    world.settle();
    assert!((10..14).all(|n| world.place_of(n).is_some()));
}

#[test]
fn a_gang_that_one_node_refuses_gives_all_back_and_comes_later() {
    let mut world = world(&["cpu=2", "cpu=2"]);
    let other = ReservationId { by: Incarnation(9), number: 1 };
    let ledger = &mut world.ledgers.get_mut(&node(2)).unwrap().1;
    ledger.reserve(other, &"cpu=1".parse().unwrap(), SECOND * 100, Duration::ZERO);
    world.gang((1..=2).map(|n| (n, demand("cpu=2"))).collect());
    world.settle();
    assert_eq!(world.running.len(), 0);
    assert!(world.ledgers[&node(1)].1.holdings().next().is_none(), "nothing is held meanwhile");
    assert!(matches!(world.explain(1).state, PlaceState::Waiting(WaitReason::Retry { .. })));
    world.ledgers.get_mut(&node(2)).unwrap().1.release(other);
    world.report(node(2));
    world.run(SECOND * 2);
    assert_eq!(world.running.len(), 2);
}

#[test]
fn a_gang_that_wants_one_node_gets_one_that_holds_all_of_it() {
    let mut world = world(&["cpu=1", "cpu=2", "cpu=4"]);
    let near = || Demand { group: Some("g".into()), ..with("cpu=1", Strategy::Same(Anchor::Group("g".into()))) };
    world.gang((1..=3).map(|n| (n, near())).collect());
    world.settle();
    assert!((1..=3).all(|n| world.place_of(n) == Some(node(3))));
}

#[test]
fn what_no_node_can_ever_hold_fails_or_waits_if_asked_so() {
    let mut world = world(&["cpu=2, label zone=a"]);
    world.request(1, demand("cpu=4"));
    assert!(world.failed.contains(&actor(1)) && world.core.explain(actor(1), world.now).is_none());
    world.request(2, Demand { wait_if_impossible: true, ..demand("cpu=1, label zone=b") });
    let text = world.explain(2).to_string();
    for says in ["no node has that much", "label zone=b wanted, it has a", "you can: give a node a label"] {
        assert!(text.contains(says), "{says}: {text}");
    }
    world.up(node(2), "cpu=1, label zone=b");
    world.settle();
    assert_eq!(world.place_of(2), Some(node(2)));
}

#[test]
fn explain_says_for_each_node_what_is_missing_and_what_would_help() {
    let mut world = world(&["cpu=4", "cpu=8", "cpu=1"]);
    placed(&mut world, 1, demand("cpu=3.5"));
    world.accepts(node(2), Accepts::Draining);
    placed(&mut world, 2, demand("cpu=2"));
    let explanation = world.explain(2);
    let text = explanation.to_string();
    for says in ["short of cpu by 1.5", "draining", "even if it were empty: short of cpu by 1", "end the drain of node"]
    {
        assert!(text.contains(says), "{says}: {text}");
    }
    let json = serde_json::to_string(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explanation);
    world.request(3, demand("cpu=0.5"));
    assert!(matches!(world.explain(3).state, PlaceState::Reserving { granted: false, .. }));
    world.request(4, demand("cpu=0.5"));
    world.request(5, demand("cpu=0.5"));
    world.request(6, demand("cpu=0.5"));
    assert!(matches!(world.explain(6).nodes[2].why[..], [WhyNot::Promised { reservations: 2, .. }]));
}

#[test]
fn higher_priority_goes_first_then_who_came_first() {
    let mut world = world(&["cpu=1"]);
    placed(&mut world, 1, demand("cpu=1"));
    for (n, priority) in [(2, 0), (3, 5), (4, 5)] {
        placed(&mut world, n, Demand { priority, ..demand("cpu=1") });
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let running = *world.running.keys().next().unwrap();
        world.end(running);
        world.settle();
        order.extend(world.running.keys().copied());
    }
    assert_eq!(order, [actor(3), actor(4), actor(2)]);
}

/// Small ones end and come all the time; whether the large one gets its place.
fn large_behind_small(hold_after: Duration) -> bool {
    let mut world = World::new(PlacementOptions { hold_after, ..Default::default() }, &["cpu=4"]);
    (1..=4).for_each(|n| world.request(n, demand("cpu=1")));
    world.settle();
    world.request(1000, demand("cpu=4"));
    for n in 5..100 {
        world.request(n, demand("cpu=1"));
        let oldest = *world.running.keys().next().unwrap();
        world.end(oldest);
        world.run(SECOND);
        if world.place_of(1000).is_some() {
            return true;
        }
    }
    false
}

#[test]
fn a_large_request_does_not_starve_behind_small_ones() {
    assert!(large_behind_small(Duration::from_secs(30)));
    assert!(!large_behind_small(Duration::MAX), "the hold is what makes the difference");
}

#[test]
fn what_a_held_back_request_leaves_may_be_used() {
    let mut world = world(&["cpu=4, memory=4 GiB"]);
    placed(&mut world, 1, demand("cpu=2"));
    placed(&mut world, 2, demand("cpu=3"));
    world.run(SECOND * 31);
    assert!(matches!(world.explain(2).state, PlaceState::Waiting(WaitReason::Holding { .. })));
    assert_eq!(placed(&mut world, 3, demand("cpu=1")), None);
    assert!(matches!(world.explain(3).nodes[0].why[..], [WhyNot::HeldFor { .. }]));
    assert_eq!(placed(&mut world, 4, demand("memory=4 GiB")), Some(node(1)));
    world.cancel(actor(2));
    world.settle();
    assert_eq!(world.place_of(3), Some(node(1)), "nothing is held back for one that is gone");
}

#[test]
fn a_node_is_not_held_back_for_ever_for_one_that_waits_for_something_endless() {
    let mut world = world(&["cpu=4"]);
    placed(&mut world, 1, demand("cpu=2"));
    placed(&mut world, 2, demand("cpu=3"));
    world.run(SECOND * 31);
    assert_eq!(placed(&mut world, 3, demand("cpu=1")), None);
    world.run(SECOND * 601);
    assert_eq!(world.place_of(3), Some(node(1)));
}

#[test]
fn when_a_node_goes_down_its_actors_are_forgotten_and_its_reservations_tried_elsewhere() {
    let mut world = world(&["cpu=4", "cpu=8"]);
    placed(&mut world, 1, demand("cpu=1"));
    world.request(2, demand("cpu=1"));
    world.down(node(1));
    world.settle();
    assert_eq!(world.core.place_of(actor(1)), None);
    assert_eq!(world.place_of(2), Some(node(2)));
    world.request(1, demand("cpu=1"));
    world.settle();
    assert_eq!(world.place_of(1), Some(node(2)), "whoever supervises it may ask anew");
}

#[test]
fn a_cancelled_request_is_forgotten_and_a_cancelled_place_released() {
    let mut world = world(&["cpu=1"]);
    placed(&mut world, 1, demand("cpu=1"));
    placed(&mut world, 2, demand("cpu=1"));
    world.request(3, demand("cpu=1"));
    world.cancel(actor(2));
    world.cancel(actor(1));
    world.settle();
    assert_eq!(world.place_of(3), Some(node(1)));
    assert_eq!(world.core.waiting().count(), 0);
}

#[test]
fn the_same_actor_is_not_asked_for_twice() {
    let mut world = world(&["cpu=1"]);
    placed(&mut world, 1, demand("cpu=1"));
    let twice = vec![(actor(2), demand("cpu=1")), (actor(2), demand("cpu=1"))];
    let already = |n| Err(PlacementError::AlreadyRequested(actor(n)));
    assert_eq!(world.core.request(actor(1), demand("cpu=1"), world.now), already(1));
    assert_eq!(world.core.request_gang(twice, world.now), already(2));
    assert_eq!(world.core.request_gang(Vec::new(), world.now), Err(PlacementError::EmptyGang));
}

#[test]
fn a_restarted_control_node_learns_what_is_held_and_does_not_give_it_twice() {
    let mut world = world(&["cpu=2"]);
    placed(&mut world, 1, demand("cpu=1"));
    let (reservation, held) = world.ledgers[&node(1)].1.holdings().map(|(id, a, _)| (id, a.clone())).next().unwrap();
    world.core = PlacementCore::new(PlacementOptions::default(), Incarnation(2));
    let (incarnation, ledger) = &world.ledgers[&node(1)];
    let up = NodeUp {
        node: node(1),
        incarnation: *incarnation,
        totals: ledger.totals().clone(),
        view: ledger.view(),
        accepts: Accepts::Yes,
    };
    world.core.node_up(up, world.now);
    world.core.adopt(actor(1), node(1), (reservation, held), None);
    assert_eq!(world.core.place_of(actor(1)), Some((node(1), reservation)));
    assert_eq!(placed(&mut world, 2, demand("cpu=2")), None);
    world.end(actor(1));
    world.settle();
    assert_eq!(world.place_of(2), Some(node(1)));
}

#[test]
fn twenty_thousand_waiting_requests_cost_by_their_shapes_and_not_by_their_number() {
    let nodes = vec!["cpu=8"; 50];
    let mut world = world(&nodes);
    for n in 0..20_000 {
        world.request(n, demand(&format!("cpu={}", 1 + n % 8)));
    }
    world.settle();
    let waiting = world.core.waiting().count();
    assert!(waiting > 19_000, "{waiting}");
    let before = world.core.evaluations();
    // Each of those placed looks at 50 nodes; those behind in a line look at none.
    assert!(before <= 50 * 1000, "{before} evaluations for 20 000 requests");
    let ended = 200;
    for _ in 0..ended {
        let oldest = *world.running.keys().next().unwrap();
        world.end(oldest);
        world.settle();
    }
    let each = (world.core.evaluations() - before) / ended;
    // Eight shapes look at one node each time that it has more: when the actor ended, when grants came.
    assert!(each <= 8 * 12, "{each} evaluations for each actor that ended");
    let before = world.core.evaluations();
    (0..50).for_each(|n| world.report(node(n + 1)));
    world.wait(Duration::from_millis(500));
    assert_eq!(world.core.evaluations(), before, "a report without news costs nothing");
}
