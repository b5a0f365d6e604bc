//! Why a request has no place: computed from what the core knows, never guessed.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::id::{ActorId, NodeId};

use super::core::PlacementCore;
use super::plan::{Basis, Planner};
use super::resources::less;
use super::state::{Node, Phase, Unit, WaitReason};
use super::{Amounts, Anchor, ReservationId, Short};

/// Where a request stands, why no node is taken, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Explanation {
    pub id: ActorId,
    pub state: PlaceState,
    /// The request as text.
    pub asks_for: String,
    pub waited: Duration,
    /// Requests and gangs that go before it.
    pub ahead: u64,
    /// Every node of the cluster. Empty once it has a place or is being reserved.
    pub nodes: Vec<NodeVerdict>,
    /// What a person can do.
    pub advice: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum PlaceState {
    Placed {
        node: NodeId,
        reservation: ReservationId,
    },
    /// Asked of this node, which has answered or not.
    Reserving {
        node: NodeId,
        granted: bool,
    },
    Waiting(WaitReason),
}

/// Why one node isn't taken: at least one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct NodeVerdict {
    pub node: NodeId,
    pub why: Vec<WhyNot>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum WhyNot {
    /// It hasn't that much in total.
    TooSmall(Vec<Short>),
    /// It hasn't that much free.
    Busy(Vec<Short>),
    /// What is free has been promised to so many others; their answers come within that time.
    Promised {
        reservations: u64,
        within: Duration,
    },
    /// What is free is held back for another that goes before, for so long at most.
    HeldFor {
        id: ActorId,
        at_most: Duration,
    },
    Draining,
    Suspect,
    Excluded,
    HasGroup(String),
    NotNear(Anchor),
    Refused {
        why: String,
    },
    /// It would do for this one; but so many of its gang have a place at once, and all need one.
    GangIncomplete {
        places: u64,
        of: u64,
    },
    /// It would do; but others that ask for the same are ahead.
    Behind,
    /// It would do, as far as is known; but it was refused lately, or is a gang that has just become
    /// possible, and is tried again after so long.
    Retry {
        after: Duration,
    },
}

impl PlacementCore {
    /// Where a request stands; `None` if it is not known. O(nodes + waiting).
    pub fn explain(&self, id: ActorId, now: Duration) -> Option<Explanation> {
        let nothing = |state| Explanation {
            id,
            state,
            asks_for: String::new(),
            waited: Duration::ZERO,
            ahead: 0,
            nodes: Vec::new(),
            advice: Vec::new(),
        };
        if let Some(placed) = self.placed.get(&id) {
            return Some(nothing(PlaceState::Placed { node: placed.node, reservation: placed.reservation }));
        }
        let unit = self.units.get(self.unit_of.get(&id)?)?;
        let at = unit.members.iter().position(|m| m.id == id)?;
        let asks_for = unit.members[at].demand.request.to_string();
        let waited = now.saturating_sub(unit.since);
        if let Some(slot) = &unit.members[at].slot {
            let state = PlaceState::Reserving { node: slot.node, granted: slot.granted.is_some() };
            return Some(Explanation { asks_for, waited, ..nothing(state) });
        }
        let nodes = self.verdicts(unit, at, now);
        let before = |u: &&Unit| u.rank < unit.rank && u.phase == Phase::Queued;
        let ahead = u64::try_from(self.units.values().filter(before).count()).unwrap_or(u64::MAX);
        let why = self.wait_reason(unit, &nodes, now);
        let advice = advice(&why, &nodes, unit);
        Some(Explanation { asks_for, waited, ahead, nodes, advice, ..nothing(PlaceState::Waiting(why)) })
    }

    /// What of a node is promised to requests that it hasn't answered yet.
    pub fn promised_to(&self, node: NodeId) -> Amounts {
        self.nodes.get(&node).map(|node| node.promised.clone()).unwrap_or_default()
    }

    fn wait_reason(&self, unit: &Unit, nodes: &[NodeVerdict], now: Duration) -> WaitReason {
        let too_small = |verdict: &NodeVerdict| {
            verdict
                .why
                .iter()
                .any(|why| matches!(why, WhyNot::TooSmall(_) | WhyNot::Excluded | WhyNot::NotNear(Anchor::Node(_))))
        };
        match (&unit.said, unit.phase) {
            _ if nodes.is_empty() => WaitReason::NoNodes,
            (_, Phase::Backoff { until }) => WaitReason::Retry { after: until.saturating_sub(now) },
            _ if !unit.possible || nodes.iter().all(too_small) => WaitReason::Impossible,
            (Some(WaitReason::NoNodes | WaitReason::Impossible | WaitReason::Retry { .. }) | None, _) => {
                WaitReason::Busy
            }
            (Some(said), _) => said.clone(),
        }
    }

    fn verdicts(&self, unit: &Unit, at: usize, now: Duration) -> Vec<NodeVerdict> {
        let mut planner = Planner::new(self, unit, Basis::Free);
        let planned = planner.plan(None).is_some();
        let places = u64::try_from(planner.places_found()).unwrap_or(u64::MAX);
        let of = u64::try_from(unit.members.len()).unwrap_or(u64::MAX);
        // A fresh one: what is asked is whether this member alone would fit.
        let alone = Planner::new(self, unit, Basis::Free);
        let verdict = |(id, node): (&NodeId, &Node)| {
            let mut why: Vec<WhyNot> = alone.allowed(at, &[at], *id, node).err().into_iter().collect();
            why.extend(self.lacks(unit, at, *id, now));
            if why.is_empty() {
                let gang = unit.is_gang() && !planned;
                why.push(match unit.phase {
                    Phase::Backoff { until } => WhyNot::Retry { after: until.saturating_sub(now) },
                    _ if gang => WhyNot::GangIncomplete { places, of },
                    // Best fit found this after something else had changed: the next ticks will see it.
                    _ if unit.is_gang() && self.is_first(unit) => WhyNot::Retry { after: Duration::ZERO },
                    _ => WhyNot::Behind,
                });
            }
            NodeVerdict { node: *id, why }
        };
        self.nodes.iter().map(verdict).collect()
    }

    fn is_first(&self, unit: &Unit) -> bool {
        self.classes.get(&unit.class).is_some_and(|line| line.queue.first() == Some(&unit.rank))
    }

    /// What of the node's resources is missing, and who has it.
    fn lacks(&self, unit: &Unit, at: usize, id: NodeId, now: Duration) -> Option<WhyNot> {
        let node = self.nodes.get(&id)?;
        let request = &unit.members[at].demand.request;
        let short = request.shortfalls(&node.totals, &node.totals.amounts);
        if !short.is_empty() {
            return Some(WhyNot::TooSmall(short));
        }
        let short = request.shortfalls(&node.totals, &node.heard.free);
        if !short.is_empty() {
            return Some(WhyNot::Busy(short));
        }
        if request.take(&node.totals, &node.available).is_none() {
            let slot_ends = node.unanswered.keys().filter_map(|r| self.deadline_of(*r));
            let within = slot_ends.max().unwrap_or_default().saturating_sub(now);
            let reservations = u64::try_from(node.unanswered.len()).unwrap_or(u64::MAX);
            return Some(WhyNot::Promised { reservations, within });
        }
        let mut free = std::borrow::Cow::Borrowed(&node.available);
        for hold in self.holds.iter().filter(|h| h.rank < unit.rank) {
            let Some(held) = hold.nodes.get(&id) else { continue };
            free = less(free, held);
            if request.take(&node.totals, &free).is_none() {
                let holder = self.units.get(&hold.unit)?.members.first()?.id;
                return Some(WhyNot::HeldFor { id: holder, at_most: hold.until.saturating_sub(now) });
            }
        }
        None
    }

    fn deadline_of(&self, reservation: ReservationId) -> Option<Duration> {
        let unit = self.units.get(self.in_flight.get(&reservation)?)?;
        let slots = unit.members.iter().filter_map(|m| m.slot.as_ref());
        slots.into_iter().find(|s| s.reservation == reservation).map(|s| s.deadline)
    }
}

fn advice(why: &WaitReason, nodes: &[NodeVerdict], unit: &Unit) -> Vec<String> {
    let mut advice = Vec::new();
    let reasons = || nodes.iter().flat_map(|v| v.why.iter().map(move |why| (v.node, why)));
    let mut add = |text: String| {
        if !advice.contains(&text) {
            advice.push(text);
        }
    };
    match why {
        WaitReason::NoNodes => add("start a node and let it join".to_owned()),
        WaitReason::Impossible => add("ask for less, or add a node that is large enough".to_owned()),
        WaitReason::NoAnchor(anchor) => add(format!("place {anchor} first, or ask for another strategy")),
        WaitReason::Retry { .. } => add("nothing: it is tried again by itself".to_owned()),
        WaitReason::Busy | WaitReason::Behind | WaitReason::Holding { .. } => {
            add("wait until others end, stop some, raise its priority, or add a node".to_owned());
        }
    }
    for (node, why) in reasons() {
        match why {
            WhyNot::TooSmall(short) => {
                for label in short
                    .iter()
                    .filter_map(|s| if let Short::Label { selector, .. } = s { Some(selector) } else { None })
                {
                    add(format!("give a node a label for which {label} holds, or drop that condition"));
                }
            }
            WhyNot::Draining => add(format!("end the drain of node {node}")),
            WhyNot::Suspect => add(format!("look after node {node}: it hasn't been heard of")),
            WhyNot::Excluded | WhyNot::HasGroup(_) => add("add a node, or exclude less".to_owned()),
            WhyNot::GangIncomplete { .. } => {
                add(format!("all {} of the gang need a place at once: make it smaller", unit.members.len()));
            }
            _ => {}
        }
    }
    advice
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |short: &[Short]| short.iter().map(Short::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::TooSmall(short) => write!(f, "even if it were empty: {}", list(short)),
            Self::Busy(short) => f.write_str(&list(short)),
            Self::Promised { reservations, within } => {
                write!(
                    f,
                    "what is free is promised to {reservations} others, known within {:.1} s",
                    within.as_secs_f32()
                )
            }

            Self::HeldFor { id, at_most } => {
                write!(f, "what is free is held back for {id}, for {:.0} s at most", at_most.as_secs_f32())
            }

            Self::Draining => f.write_str("draining"),
            Self::Suspect => f.write_str("not heard of lately"),
            Self::Excluded => f.write_str("excluded"),
            Self::HasGroup(group) => write!(f, "excluded: has one of group {group}"),
            Self::NotNear(anchor) => write!(f, "not the node of {anchor}"),
            Self::Refused { why } => write!(f, "refused: {why}"),
            Self::GangIncomplete { places, of } => {
                write!(f, "would do, but only {places} of {of} of the gang find a place")
            }
            Self::Behind => f.write_str("would do, but others are ahead"),
            Self::Retry { after } => write!(f, "would do; it is tried again in {:.1} s", after.as_secs_f32()),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            PlaceState::Placed { node, .. } => return write!(f, "it has its place on node {node}"),
            PlaceState::Reserving { node, granted: false } => return write!(f, "node {node} is being asked"),
            PlaceState::Reserving { node, granted: true } => {
                return write!(f, "node {node} has granted it; it waits for the others of its gang");
            }
            PlaceState::Waiting(why) => writeln!(f, "it waits: {why}")?,
        }
        writeln!(f, "asks for {}; has waited {:.1} s; {} ahead", self.asks_for, self.waited.as_secs_f32(), self.ahead)?;
        for NodeVerdict { node, why } in &self.nodes {
            let why: Vec<String> = why.iter().map(WhyNot::to_string).collect();
            writeln!(f, "  node {node}: {}", why.join("; "))?;
        }
        self.advice.iter().try_for_each(|advice| writeln!(f, "  you can: {advice}"))
    }
}
