//! What holds whatever the network does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::simulation::{Fault, Outage, Plan, World, in_order};
use super::*;
use crate::id::{Incarnation, NodeId};

const NODES: usize = 3;
const HEAL: u64 = 20_000;
/// A lease that runs out, a refusal, the actors stopped, a join.
const BACK_WITHIN: u64 = 6_000;

fn fault() -> impl Strategy<Value = Fault> {
    let node = 0..NODES;
    prop_oneof![
        node.clone().prop_map(Fault::Upwards),
        node.clone().prop_map(Fault::Downwards),
        node.clone().prop_map(Fault::Cut),
        node.clone().prop_map(Fault::Freeze),
        node.prop_map(Fault::Link),
        Just(Fault::ControlDown),
        Just(Fault::ControlFrozen),
    ]
}

fn outage() -> impl Strategy<Value = Outage> {
    (fault(), 500..HEAL - 1_000, 100..8_000_u64)
        .prop_map(|(fault, from, length)| (fault, from, (from + length).min(HEAL)))
}

fn troubled() -> impl Strategy<Value = Plan> {
    (any::<u64>(), 1..400_u64, 0..30_u64, prop::collection::vec(outage(), 0..8))
        .prop_map(|(seed, max_delay, loss, outages)| Plan { seed, nodes: NODES, max_delay, loss, heal: HEAL, outages })
}

/// A node that stalls for up to a second now and then, so that its renewals come up to 1.6 s apart.
fn starved() -> impl Strategy<Value = Plan> {
    (any::<u64>(), prop::collection::vec((1_200..4_000_u64, 0..1_000_u64), 8)).prop_map(|(seed, stalls)| {
        let mut at = 0;
        let outages = stalls.into_iter().map(|(calm, stall)| {
            let from = at + calm;
            at = from + stall;
            (Fault::Freeze(0), from, at)
        });
        Plan { seed, nodes: NODES, max_delay: 20, loss: 0, heal: 0, outages: outages.collect() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_node_acts_once_it_was_called_dead_and_all_are_back_after_healing(plan in troubled()) {
        let mut world = World::new(plan);
        world.run(HEAL + BACK_WITHIN).map_err(TestCaseError::fail)?;
        world.all_is_well().map_err(TestCaseError::fail)?;
        for (life, events) in &world.log {
            prop_assert!(in_order(events), "{life:?}: {events:?}");
        }
    }

    #[test]
    fn nobody_dies_while_every_message_arrives_within_a_second(seed: u64, max_delay in 0..=1_000_u64) {
        let mut world = World::new(Plan { seed, nodes: NODES, max_delay, loss: 0, heal: 0, outages: Vec::new() });
        world.run(30_000).map_err(TestCaseError::fail)?;
        prop_assert_eq!(world.deaths(), 0, "{:?}", world.log);
    }

    #[test]
    fn a_node_that_stalls_for_a_second_now_and_then_is_not_even_suspected(plan in starved()) {
        let mut world = World::new(plan);
        world.run(40_000).map_err(TestCaseError::fail)?;
        for (life, events) in &world.log {
            prop_assert_eq!(&events[..], &[MemberEvent::Joined, MemberEvent::Up], "{:?}", life);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Input {
    Join(u64),
    Renew { incarnation: u64, seq: u64, sent_at: u64, acked: Option<u64> },
    LinkUp(u64),
    LinkDown(u64),
    Probed,
    Drain,
    Left(u64),
    Forget,
    Tick,
    Restart,
}

fn input() -> impl Strategy<Value = Input> {
    let renew = (1..5_u64, 0..40_u64, 0..60_u64, prop::option::of(0..60_u64))
        .prop_map(|(incarnation, seq, sent_at, acked)| Input::Renew { incarnation, seq, sent_at, acked });
    prop_oneof![
        3 => (1..5_u64).prop_map(Input::Join),
        6 => renew,
        1 => (1..5_u64).prop_map(Input::LinkUp),
        1 => (1..5_u64).prop_map(Input::LinkDown),
        1 => Just(Input::Probed),
        1 => Just(Input::Drain),
        1 => (1..5_u64).prop_map(Input::Left),
        1 => Just(Input::Forget),
        4 => Just(Input::Tick),
        1 => Just(Input::Restart),
    ]
}

fn feed(core: &mut ControlCore, node: NodeId, input: Input, now: Duration) -> Vec<ControlCommand> {
    let tenths = |n: u64| Duration::from_millis(n * 100);
    match input {
        Input::Join(i) => core.on_joined(node, Incarnation(i), NodeFacts::default(), now),
        Input::Renew { incarnation, seq, sent_at, acked } => {
            let incarnation = Incarnation(incarnation);
            let renewal = Renewal { incarnation, seq, sent_at: tenths(sent_at), acked: acked.map(tenths) };
            core.on_renewal(node, renewal, NodeLoad::default(), now)
        }
        Input::LinkUp(i) => {
            core.on_link_up(node, Incarnation(i), now);
            Vec::new()
        }
        Input::LinkDown(i) => core.on_link_down(node, Incarnation(i), now),
        Input::Probed => {
            core.on_probe_result(node, node, true, now);
            Vec::new()
        }
        Input::Drain => core.drain(node, now),
        Input::Left(i) => core.on_left(node, Incarnation(i), now),
        Input::Forget => core.forget(node, now),
        Input::Tick | Input::Restart => core.tick(now),
    }
}

proptest! {
    #[test]
    fn whatever_comes_in_events_are_in_order_and_an_old_incarnation_gets_nothing(
        inputs in prop::collection::vec((0..2_u128, input(), 0..1_500_u64), 0..80)
    ) {
        let options = MembershipOptions::default();
        let mut core = ControlCore::new(options.clone(), Duration::ZERO).unwrap();
        let mut now = Duration::ZERO;
        let mut known: BTreeMap<(NodeId, Incarnation), (KnownMember, Vec<MemberEvent>)> = BTreeMap::new();
        for (node, input, later) in inputs {
            now += Duration::from_millis(later);
            let node = NodeId(Uuid::from_u128(node));
            if matches!(input, Input::Restart) {
                core = ControlCore::restarted(options.clone(), known.values().map(|(k, _)| k.clone()).collect(), now).unwrap();
            }
            let newest = known.keys().rev().find(|(n, _)| *n == node).map(|(_, incarnation)| *incarnation);
            let commands = feed(&mut core, node, input, now);
            if let Input::Renew { incarnation, .. } = input
                && newest.is_none_or(|newest| Incarnation(incarnation) != newest)
            {
                prop_assert!(matches!(commands[..], [ControlCommand::Refuse { .. }]), "{commands:?}");
            }
            for command in commands {
                let ControlCommand::Event { node, incarnation, event } = command else { continue };
                let new = || (KnownMember::joined(node, incarnation, NodeFacts::default()), Vec::new());
                let (member, events) = known.entry((node, incarnation)).or_insert_with(new);
                member.apply(&event);
                events.push(event);
                prop_assert!(in_order(events), "{node} {incarnation}: {events:?}");
            }
            for (member, _) in known.values() {
                let shown = core.member(member.node, now).filter(|m| m.incarnation == member.incarnation);
                prop_assert!(shown.is_none_or(|m| m.suspicion.is_some() == member.suspect), "{member:?}");
            }
        }
    }
}
