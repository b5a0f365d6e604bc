//! Messages between nodes, by node, and in the mailboxes here, by kind. Never by actor, of which there may be any number.

use fleet_runtime::actor::ActorFigures;
use fleet_runtime::lane::LaneFigures;

use super::names;
use super::page::Page;

pub(super) fn of_lanes(lanes: &[LaneFigures], page: &mut Page) {
    for lane in lanes {
        let peer = lane.node.to_string();
        let of = [("peer", peer.as_str())];
        let values = [
            (names::LANE_UP, u64::from(lane.is_up)),
            (names::LANES_MADE, lane.made),
            (names::LANE_SENT, lane.sent.0),
            (names::LANE_SENT_BYTES, lane.sent.1),
            (names::LANE_RECEIVED, lane.received.0),
            (names::LANE_RECEIVED_BYTES, lane.received.1),
            (names::LANE_ON_THE_WAY, lane.on_the_way.0),
            (names::LANE_ON_THE_WAY_BYTES, lane.on_the_way.1),
            (names::LANE_WAITS, lane.waits),
            (names::LANE_BUSY, lane.busy),
        ];
        for (metric, value) in values {
            page.count(metric, &of, value);
        }
        for (reason, n) in lane.refused {
            page.count(names::LANE_REFUSED, &[of[0], ("reason", reason)], n);
        }
    }
}

pub(super) fn of_actors(kinds: &ActorFigures, page: &mut Page) {
    for (kind, figures) in kinds {
        let of = [("kind", *kind)];
        page.count(names::ACTOR_HERE, &of, figures.actors);
        page.count(names::ACTOR_HANDLED, &of, figures.handled);
        page.count(names::MAILBOX_WAITING, &of, figures.waiting);
        page.count(names::MAILBOX_FULLEST, &of, figures.fullest);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use fleet_runtime::NodeId;
    use fleet_runtime::actor::KindFigures;

    use super::*;

    #[test]
    fn lanes_are_told_apart_by_node_and_mailboxes_by_kind() {
        let (node, mut page) = (NodeId::new_random(), Page::default());
        let lane = LaneFigures {
            node,
            is_up: true,
            made: 2,
            sent: (3, 300),
            received: (4, 400),
            on_the_way: (1, 100),
            waits: 5,
            busy: 6,
            refused: [("gone", 7), ("moved", 0), ("busy", 0), ("unreadable", 0)],
        };
        of_lanes(&[lane], &mut page);
        of_actors(&[("fleet.jobs", KindFigures { actors: 1, handled: 9, waiting: 2, fullest: 2 })].into(), &mut page);
        let text = page.to_string();
        for line in [
            format!("fleet_lane_sent_bytes_total{{peer=\"{node}\"}} 300"),
            format!("fleet_lane_refused_messages_total{{peer=\"{node}\",reason=\"gone\"}} 7"),
            "fleet_actor_handled_messages_total{kind=\"fleet.jobs\"} 9".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        }
    }
}
