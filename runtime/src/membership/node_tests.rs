#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::id::{Incarnation, NodeId};

const FIRST: Incarnation = Incarnation(1);
const OTHER: NodeId = NodeId(Uuid::from_u128(7));

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn grant(echo: u64) -> Grant {
    Grant { incarnation: FIRST, echo: ms(echo), valid_for: ms(3000) }
}

fn renewal(seq: u64, sent_at: u64, acked: Option<u64>) -> Renewal {
    Renewal { incarnation: FIRST, seq, sent_at: ms(sent_at), acked: acked.map(ms) }
}

fn refusal(why: RefusalReason, above: u64) -> Refusal {
    Refusal { incarnation: FIRST, why, above: Incarnation(above) }
}

/// A node that asked at 1000, was granted, and said so.
fn member() -> NodeCore {
    let mut core = NodeCore::new(MembershipOptions::default(), FIRST, ms(1000)).unwrap();
    core.tick(ms(1000));
    core.on_grant(grant(1000), ms(1010));
    core
}

#[test]
fn a_node_asks_to_join_until_it_is_answered_and_renews_from_then_on() {
    let mut core = NodeCore::new(MembershipOptions::default(), FIRST, ms(1000)).unwrap();
    assert_eq!(core.tick(ms(1000)), [NodeCommand::SendJoin(renewal(0, 1000, None))]);
    assert_eq!(core.tick(ms(1400)), []);
    assert_eq!(core.tick(ms(1500)), [NodeCommand::SendJoin(renewal(1, 1500, None))]);
    assert!(!core.may_start_effects(ms(1500)));
    let granted = core.on_grant(grant(1500), ms(1510));
    assert_eq!(granted, [NodeCommand::Unfence, NodeCommand::SendRenewal(renewal(2, 1510, Some(1500)))]);
    assert_eq!(core.tick(ms(2010)), [NodeCommand::SendRenewal(renewal(3, 2010, Some(1500)))]);
}

#[test]
fn the_lease_counts_from_when_the_renewal_was_sent() {
    let mut core = NodeCore::new(MembershipOptions::default(), FIRST, ms(1000)).unwrap();
    core.tick(ms(1000));
    core.on_grant(grant(1000), ms(3000));
    assert_eq!(core.may_act_until(), Some(ms(3500)));
    assert!(core.may_start_effects(ms(3499)) && !core.may_start_effects(ms(3500)));
    assert_eq!(core.tick(ms(3500))[0], NodeCommand::Fence);
}

#[test]
fn a_node_that_was_frozen_is_fenced_at_the_first_question_without_a_tick() {
    let core = member();
    assert!(core.may_start_effects(ms(2000)));
    assert!(!core.may_start_effects(ms(62_000)));
}

#[test]
fn who_wakes_to_a_grant_still_fences_before_it_goes_on() {
    let mut core = member();
    core.tick(ms(2000));
    // Frozen at 2 s; the grant of the renewal of then lies in the socket at 3.8 s.
    let woken = core.on_grant(grant(2000), ms(3800));
    assert_eq!(woken[..2], [NodeCommand::Fence, NodeCommand::Unfence]);
    assert!(core.may_start_effects(ms(3800)));
}

#[test]
fn a_grant_of_a_renewal_sent_long_ago_gives_nothing_but_is_acknowledged_at_once() {
    let mut core = member();
    core.tick(ms(2000));
    let woken = core.on_grant(grant(2000), ms(60_000));
    assert_eq!(woken, [NodeCommand::Fence, NodeCommand::SendRenewal(renewal(3, 60_000, Some(2000)))]);
    assert!(!core.may_start_effects(ms(60_000)));
}

#[test]
fn after_a_pause_there_is_one_renewal_and_not_a_burst() {
    let mut core = member();
    let sent = |c: &NodeCommand| matches!(c, NodeCommand::SendRenewal(_));
    assert_eq!(core.tick(ms(60_000)).iter().filter(|c| sent(c)).count(), 1);
    assert_eq!(core.tick(ms(60_100)), []);
}

#[test]
fn an_older_grant_takes_nothing_away() {
    let mut core = member();
    core.tick(ms(1510));
    core.on_grant(grant(1510), ms(1520));
    core.on_grant(grant(1000), ms(1530));
    assert_eq!(core.may_act_until(), Some(ms(4010)));
}

#[test]
fn a_grant_that_nobody_asked_for_or_of_another_incarnation_is_ignored() {
    let mut core = member();
    assert_eq!(core.on_grant(grant(5000), ms(1100)), []);
    assert_eq!(core.on_grant(Grant { incarnation: Incarnation(2), ..grant(1000) }, ms(1100)), []);
    assert_eq!(core.may_act_until(), Some(ms(3500)));
}

#[test]
fn a_shorter_lease_of_the_control_node_is_obeyed() {
    let mut core = NodeCore::new(MembershipOptions::default(), FIRST, ms(1000)).unwrap();
    core.tick(ms(1000));
    core.on_grant(Grant { valid_for: ms(2000), ..grant(1000) }, ms(1010));
    assert_eq!(core.may_act_until(), Some(ms(2500)));
}

#[test]
fn a_refused_node_stops_its_actors_and_comes_back_as_a_higher_incarnation() {
    let mut core = member();
    let refused = core.on_refused(refusal(RefusalReason::Dead, 4), ms(2000));
    let rejoin = NodeCommand::MustRejoin { incarnation: Incarnation(5), why: RefusalReason::Dead };
    assert_eq!(refused, [NodeCommand::Fence, rejoin]);
    assert!(!core.may_start_effects(ms(2000)));
    // Nothing is said until the actors have stopped, and an old grant revives nobody.
    assert_eq!(core.tick(ms(2600)), []);
    assert_eq!(core.on_grant(Grant { incarnation: Incarnation(5), ..grant(1000) }, ms(2600)), []);
    let join = Renewal { incarnation: Incarnation(5), seq: 2, sent_at: ms(3000), acked: None };
    assert_eq!(core.on_ready(ms(3000)), [NodeCommand::SendJoin(join)]);
}

#[test]
fn a_refusal_of_a_former_incarnation_is_ignored() {
    let mut core = member();
    let old = Refusal { incarnation: Incarnation(0), ..refusal(RefusalReason::OldIncarnation, 1) };
    assert_eq!(core.on_refused(old, ms(1100)), []);
    assert!(core.may_start_effects(ms(1100)));
}

#[test]
fn a_node_that_left_never_acts_again() {
    let mut core = member();
    assert_eq!(core.leave(ms(1100)), [NodeCommand::Fence, NodeCommand::SayLeft { incarnation: FIRST }]);
    assert!(!core.may_start_effects(ms(1100)));
    assert_eq!(core.on_grant(grant(1010), ms(1110)), []);
    assert_eq!([core.tick(ms(2000)), core.leave(ms(2000)), core.on_ready(ms(2000))].concat(), []);
}

#[test]
fn a_new_link_is_used_for_a_renewal_at_once() {
    let mut core = member();
    assert_eq!(core.on_link_up(ms(1200)), [NodeCommand::SendRenewal(renewal(2, 1200, Some(1000)))]);
}

#[test]
fn a_probe_is_answered_even_when_fenced() {
    let mut core = NodeCore::new(MembershipOptions::default(), FIRST, ms(1000)).unwrap();
    assert_eq!(core.on_probe(OTHER, ms(1000)), [NodeCommand::ReplyProbe { to: OTHER, incarnation: FIRST }]);
}

#[test]
fn a_probe_for_another_is_reported_once_with_its_answer_or_its_timeout() {
    let mut core = member();
    assert_eq!(core.on_asked_to_probe(OTHER, ms(1100)), [NodeCommand::Probe { target: OTHER }]);
    let report = |reached| NodeCommand::ReportProbe { target: OTHER, reached };
    assert_eq!(core.on_probe_answer(OTHER, ms(1200)), [report(true)]);
    assert_eq!(core.on_probe_answer(OTHER, ms(1210)), []);
    core.on_asked_to_probe(OTHER, ms(1300));
    assert!(!core.tick(ms(1799)).contains(&report(false)));
    assert_eq!(core.tick(ms(1800)), [report(false)]);
}

#[test]
fn no_more_probes_are_under_way_than_a_node_can_remember() {
    let mut core = member();
    let asked = (0..100).flat_map(|n| core.on_asked_to_probe(NodeId(Uuid::from_u128(n)), ms(1100)));
    assert_eq!(asked.count(), 64);
}
