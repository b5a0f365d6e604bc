#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::id::{Incarnation, NodeId};

const A: NodeId = NodeId(Uuid::from_u128(1));
const B: NodeId = NodeId(Uuid::from_u128(2));
const FIRST: Incarnation = Incarnation(1);
const SECOND: Incarnation = Incarnation(2);
/// The nodes' clocks began long before the control node's.
const CLOCKS_APART: Duration = Duration::from_secs(900);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn control() -> ControlCore {
    ControlCore::new(MembershipOptions::default(), ms(0)).unwrap()
}

/// A renewal sent at that time (ms of the control node's clock), which has heard the grant of another.
fn renew(core: &mut ControlCore, node: NodeId, at: u64, acked: Option<u64>) -> Vec<ControlCommand> {
    let clock = |t: u64| CLOCKS_APART + ms(t);
    let renewal = Renewal { incarnation: FIRST, seq: at, sent_at: clock(at), acked: acked.map(clock) };
    core.on_renewal(node, renewal, NodeLoad::default(), ms(at))
}

/// A control node whose members are up since time 0 and renewed at that time.
fn with_members(nodes: &[NodeId], renewed: u64) -> ControlCore {
    let mut core = control();
    for node in nodes {
        core.on_joined(*node, FIRST, NodeFacts::default(), ms(0));
        renew(&mut core, *node, 0, None);
    }
    keep(&mut core, nodes, 1, renewed);
    core
}

/// These renew without fault, every 500 ms at the latest.
fn keep(core: &mut ControlCore, nodes: &[NodeId], from: u64, to: u64) -> Vec<ControlCommand> {
    let times: Vec<u64> = (from..to).step_by(500).chain([to]).collect();
    let mut commands = Vec::new();
    for at in times {
        nodes.iter().for_each(|n| drop(renew(core, *n, at, Some(at.saturating_sub(1)))));
        commands.extend(core.tick(ms(at)));
    }
    commands
}

fn events(commands: &[ControlCommand]) -> Vec<MemberEvent> {
    let event = |c: &ControlCommand| match c {
        ControlCommand::Event { event, .. } => Some(event.clone()),
        _ => None,
    };
    commands.iter().filter_map(event).collect()
}

fn echo(commands: &[ControlCommand]) -> Option<Duration> {
    commands.iter().find_map(|c| match c {
        ControlCommand::GrantLease { grant, .. } => Some(grant.echo - CLOCKS_APART),
        _ => None,
    })
}

fn refusal(commands: &[ControlCommand]) -> Option<(RefusalReason, Incarnation)> {
    match commands {
        [ControlCommand::Refuse { refusal, .. }] => Some((refusal.why, refusal.above)),
        _ => None,
    }
}

fn state(core: &ControlCore, node: NodeId, now: u64) -> Option<MemberState> {
    core.member(node, ms(now)).map(|m| m.state)
}

#[test]
fn a_node_is_up_when_it_has_acknowledged_its_first_grant() {
    let mut core = control();
    assert_eq!(events(&core.on_joined(A, FIRST, NodeFacts::default(), ms(0))), [MemberEvent::Joined]);
    let first = renew(&mut core, A, 0, None);
    assert_eq!((echo(&first), events(&first)), (Some(ms(0)), vec![]));
    assert_eq!((state(&core, A, 0), core.accepts_work(A, ms(0))), (Some(MemberState::Joining), false));
    assert_eq!(events(&renew(&mut core, A, 2, Some(0))), [MemberEvent::Up]);
    assert_eq!((state(&core, A, 2), core.accepts_work(A, ms(2))), (Some(MemberState::Alive), true));
}

#[test]
fn a_grant_hands_back_the_nodes_own_time_and_the_lease() {
    let mut core = with_members(&[A], 500);
    let commands = renew(&mut core, A, 1000, Some(500));
    let grant = Grant { incarnation: FIRST, echo: CLOCKS_APART + ms(1000), valid_for: ms(3000) };
    assert_eq!(commands, [ControlCommand::GrantLease { node: A, grant }]);
}

#[test]
fn a_join_said_twice_is_one_join() {
    let mut core = with_members(&[A], 500);
    assert_eq!(core.on_joined(A, FIRST, NodeFacts::default(), ms(600)), []);
    assert_eq!(state(&core, A, 600), Some(MemberState::Alive));
}

#[test]
fn a_renewal_that_was_overtaken_is_not_answered() {
    let mut core = with_members(&[A], 1000);
    assert_eq!(renew(&mut core, A, 999, Some(500)), []);
    assert_eq!(core.member(A, ms(1000)).unwrap().lease_ends, ms(4000));
}

#[test]
fn a_silent_node_is_suspect_after_two_seconds_and_dead_when_its_lease_has_run_out() {
    let mut core = with_members(&[A], 5000);
    assert_eq!(core.tick(ms(5900)), []);
    assert_eq!(core.tick(ms(6800)), []);
    let suspect = events(&core.tick(ms(7000)));
    assert!(
        matches!(suspect[..], [MemberEvent::Suspect { why: SuspicionReason::Silent, level, since }]
            if level > 8.0 && since == ms(5000)),
        "{suspect:?}"
    );
    assert!(!core.accepts_work(A, ms(7000)));
    assert_eq!(core.tick(ms(7999)), []);
    assert_eq!(events(&core.tick(ms(8000))), [MemberEvent::Dead { lease_ended: ms(8000) }]);
    assert_eq!(core.tick(ms(8100)), []);
}

#[test]
fn a_broken_link_is_suspicious_at_once_but_only_the_lease_ends_a_node() {
    let mut core = with_members(&[A], 5000);
    let down = events(&core.on_link_down(A, FIRST, ms(5001)));
    assert!(matches!(down[..], [MemberEvent::Suspect { why: SuspicionReason::LinkDown, .. }]), "{down:?}");
    assert_eq!([core.tick(ms(5900)), core.tick(ms(6800)), core.tick(ms(7700))].concat(), []);
    assert_eq!(events(&core.tick(ms(8000))), [MemberEvent::Dead { lease_ended: ms(8000) }]);
}

#[test]
fn a_node_recovers_when_it_is_linked_and_renews() {
    let mut core = with_members(&[A], 5000);
    core.on_link_down(A, FIRST, ms(5001));
    // It was under way when the link broke.
    assert_eq!(events(&renew(&mut core, A, 5002, Some(5000))), []);
    core.on_link_up(A, FIRST, ms(5400));
    assert_eq!(state(&core, A, 5400), Some(MemberState::Suspect));
    assert_eq!(events(&renew(&mut core, A, 5500, Some(5002))), [MemberEvent::Recovered]);
    assert!(core.accepts_work(A, ms(5500)));
}

#[test]
fn the_broken_link_of_a_former_incarnation_says_nothing_about_this_one() {
    let mut core = with_members(&[A], 500);
    assert_eq!(core.on_link_down(A, Incarnation(0), ms(600)), []);
}

#[test]
fn three_sound_members_in_turn_look_for_a_suspect_and_their_finding_changes_nothing() {
    let nodes: Vec<NodeId> = (1..=6).map(|n| NodeId(Uuid::from_u128(n))).collect();
    let mut core = with_members(&nodes, 1000);
    let asked = |commands: &[ControlCommand]| match commands {
        [.., ControlCommand::AskToProbe { target, through }] => (*target, through.clone()),
        other => panic!("nobody was asked: {other:?}"),
    };
    assert_eq!(asked(&core.on_link_down(A, FIRST, ms(1001))), (A, nodes[1..4].to_vec()));
    // A is suspect and B the target; of the other four the fourth's turn comes first.
    assert_eq!(asked(&core.on_link_down(B, FIRST, ms(1002))), (B, vec![nodes[5], nodes[2], nodes[3]]));
    core.on_probe_result(A, nodes[3], true, ms(1010));
    let suspicion = core.member(A, ms(1010)).unwrap().suspicion.unwrap();
    assert_eq!(suspicion.probes.into_iter().collect::<Vec<_>>(), [(nodes[3], true)]);
    keep(&mut core, &nodes[2..], 1100, 4000);
    assert_eq!(state(&core, A, 4000), Some(MemberState::Dead));
}

#[test]
fn a_node_that_hears_no_grant_is_suspect_and_its_lease_is_prolonged_no_more() {
    let mut core = with_members(&[A], 5000);
    // From now on nothing reaches it: it goes on to acknowledge what it heard last.
    let mut told = Vec::new();
    let mut died = None;
    for at in (5500..=12_000).step_by(500) {
        told.extend(events(&renew(&mut core, A, at, Some(5000))));
        let ended = events(&core.tick(ms(at)));
        if let [MemberEvent::Dead { .. }] = ended[..] {
            died = Some(at);
        }
        told.extend(ended);
    }
    let [MemberEvent::Suspect { why, since, .. }, MemberEvent::Dead { .. }] = told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((why, since), (SuspicionReason::Unacknowledged, ms(5000)));
    // The last grant that it might have heard was given at 7 s; it had fenced itself at 7.5 s.
    assert_eq!(died, Some(10_000));
}

#[test]
fn a_deaf_node_is_told_the_last_grant_again_and_goes_on_once_it_hears_that() {
    let mut core = with_members(&[A], 5000);
    for at in [5500, 6000, 6500, 7000] {
        assert_eq!(echo(&renew(&mut core, A, at, Some(5000))), Some(ms(at)));
    }
    assert_eq!(echo(&renew(&mut core, A, 7500, Some(5000))), Some(ms(7000)));
    assert_eq!(core.member(A, ms(7500)).unwrap().lease_ends, ms(10_000));
    assert_eq!(echo(&renew(&mut core, A, 7600, Some(7000))), Some(ms(7600)));
    assert_eq!(state(&core, A, 7600), Some(MemberState::Alive));
}

#[test]
fn a_dead_node_is_refused_until_it_comes_with_a_higher_incarnation() {
    let mut core = with_members(&[A], 1000);
    (1900..=4000).step_by(700).for_each(|at| drop(core.tick(ms(at))));
    assert_eq!(refusal(&renew(&mut core, A, 4100, Some(1000))), Some((RefusalReason::Dead, FIRST)));
    let again = core.on_joined(A, FIRST, NodeFacts::default(), ms(4200));
    assert_eq!(refusal(&again), Some((RefusalReason::Dead, FIRST)));
    assert_eq!(events(&core.on_joined(A, SECOND, NodeFacts::default(), ms(4300))), [MemberEvent::Joined]);
}

#[test]
fn a_late_renewal_is_granted_as_long_as_nobody_was_told_that_the_node_is_dead() {
    let mut core = with_members(&[A], 1000);
    assert_eq!(echo(&renew(&mut core, A, 4500, Some(1000))), Some(ms(4500)));
    assert_eq!(events(&core.tick(ms(4500))), []);
}

#[test]
fn an_old_incarnation_is_refused_and_dead_only_when_its_lease_has_run_out() {
    let mut core = with_members(&[A], 1000);
    assert_eq!(events(&core.on_joined(A, SECOND, NodeFacts::default(), ms(1500))), [MemberEvent::Joined]);
    assert_eq!(refusal(&renew(&mut core, A, 1600, Some(1000))), Some((RefusalReason::OldIncarnation, SECOND)));
    let older = core.on_joined(A, FIRST, NodeFacts::default(), ms(1700));
    assert_eq!(refusal(&older), Some((RefusalReason::OldIncarnation, SECOND)));
    assert_eq!([core.tick(ms(2500)), core.tick(ms(3400)), core.tick(ms(3999))].concat(), []);
    let event = MemberEvent::Dead { lease_ended: ms(4000) };
    assert_eq!(core.tick(ms(4000))[0], ControlCommand::Event { node: A, incarnation: FIRST, event });
}

#[test]
fn an_incarnation_that_never_had_a_lease_ends_with_the_next_ones_join() {
    let mut core = control();
    core.on_joined(A, FIRST, NodeFacts::default(), ms(0));
    let joined = events(&core.on_joined(A, SECOND, NodeFacts::default(), ms(100)));
    assert_eq!(joined, [MemberEvent::Dead { lease_ended: ms(100) }, MemberEvent::Joined]);
}

#[test]
fn a_node_that_did_not_join_is_refused() {
    let mut core = control();
    assert_eq!(refusal(&renew(&mut core, A, 0, None)), Some((RefusalReason::Unknown, FIRST)));
}

#[test]
fn a_draining_node_keeps_its_lease_gets_no_work_and_ends_with_left() {
    let mut core = with_members(&[A], 500);
    assert_eq!(events(&core.drain(A, ms(600))), [MemberEvent::Draining]);
    assert_eq!(core.drain(A, ms(700)), []);
    assert_eq!(echo(&renew(&mut core, A, 1000, Some(500))), Some(ms(1000)));
    assert_eq!((state(&core, A, 1000), core.accepts_work(A, ms(1000))), (Some(MemberState::Draining), false));
    assert_eq!(events(&core.on_left(A, FIRST, ms(1200))), [MemberEvent::Left]);
    assert_eq!(core.tick(ms(1900)), []);
    assert_eq!(refusal(&renew(&mut core, A, 2000, Some(1000))), Some((RefusalReason::Left, FIRST)));
}

#[test]
fn a_forgotten_node_gets_no_lease_and_disappears_when_its_last_one_has_run_out() {
    let mut core = with_members(&[A], 1000);
    assert_eq!(events(&core.forget(A, ms(1100))), [MemberEvent::Forgotten]);
    assert!(!core.accepts_work(A, ms(1100)));
    assert_eq!(refusal(&renew(&mut core, A, 1500, Some(1000))), Some((RefusalReason::Forgotten, FIRST)));
    let ended = [core.tick(ms(2000)), core.tick(ms(2900)), core.tick(ms(3800)), core.tick(ms(4000))].concat();
    assert_eq!(events(&ended).last(), Some(&MemberEvent::Dead { lease_ended: ms(4000) }));
    assert_eq!(core.members(ms(4000)).count(), 0);
    assert_eq!(refusal(&renew(&mut core, A, 4100, Some(1000))), Some((RefusalReason::Forgotten, FIRST)));
    assert_eq!(events(&core.on_joined(A, SECOND, NodeFacts::default(), ms(4200))), [MemberEvent::Joined]);
    assert_eq!(core.members(ms(4200)).count(), 1);
}

/// A, up, as its events tell it.
fn known(node: NodeId, incarnation: Incarnation) -> KnownMember {
    let mut known = KnownMember::joined(node, incarnation, NodeFacts::default());
    known.apply(&MemberEvent::Up);
    known
}

#[test]
fn a_restarted_control_node_waits_one_lease_before_it_places_anything() {
    let options = MembershipOptions::default();
    let mut core = ControlCore::restarted(options, vec![known(A, FIRST)], ms(10_000)).unwrap();
    core.on_link_up(A, FIRST, ms(10_100));
    let commands = keep(&mut core, &[A], 10_200, 13_000);
    assert_eq!((events(&commands), state(&core, A, 13_000)), (vec![], Some(MemberState::Alive)));
    assert_eq!(core.placement_allowed_from(), ms(13_000));
    assert_eq!((core.accepts_work(A, ms(12_999)), core.accepts_work(A, ms(13_000))), (false, true));
}

#[test]
fn a_restarted_control_node_takes_it_that_the_last_grant_was_just_given() {
    let options = MembershipOptions::default();
    let members = vec![known(B, SECOND), known(A, FIRST), known(B, FIRST)];
    let mut core = ControlCore::restarted(options, members, ms(10_000)).unwrap();
    (10_900..13_000).step_by(900).for_each(|at| drop(core.tick(ms(at))));
    let before = core.tick(ms(12_999));
    let dead = core.tick(ms(13_000));
    let dead: Vec<_> = dead.iter().filter(|c| matches!(c, ControlCommand::Event { .. })).collect();
    assert_eq!((events(&before), dead.len()), (vec![], 3), "A, and B in both incarnations: {dead:?}");
}

#[test]
fn a_pause_of_the_control_node_is_not_held_against_the_nodes() {
    let mut core = with_members(&[A], 5000);
    assert_eq!(core.tick(ms(65_000)), []);
    assert_eq!(echo(&renew(&mut core, A, 65_010, Some(64_500))), Some(ms(65_010)));
    assert_eq!(events(&core.tick(ms(65_100))), []);
}

#[test]
fn a_control_node_that_stalls_over_and_over_still_sees_the_dead_as_dead() {
    let mut core = with_members(&[A], 5000);
    let stalls = (1..=3).flat_map(|n| events(&core.tick(ms(5000 + n * 1500))));
    assert!(matches!(stalls.collect::<Vec<_>>()[..], [MemberEvent::Suspect { .. }, MemberEvent::Dead { .. }]));
}
