//! What the placement core remembers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::id::{ActorId, Incarnation, NodeId};

use super::demand::Shape;
use super::{Amounts, Anchor, Demand, NodeView, ReservationId, Resources, Strategy};

/// Whether a node takes new work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum Accepts {
    #[default]
    Yes,
    /// An operator empties it.
    Draining,
    /// It hasn't been heard of lately.
    Suspect,
}

/// Why a request has no place yet, in one line; [`super::Explanation`] has the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// There is no node at all.
    NoNodes,
    /// No node has that much in total.
    Impossible,
    /// Not enough is free.
    Busy,
    /// Others that ask for the same are ahead.
    Behind,
    /// What it is to be near to has no place.
    NoAnchor(Anchor),
    /// A node refused or didn't answer; tried again after so long.
    Retry { after: Duration },
    /// These nodes are held back for it.
    Holding { nodes: Vec<NodeId> },
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNodes => f.write_str("there is no node"),
            Self::Impossible => f.write_str("no node has that much in total"),
            Self::Busy => f.write_str("not enough is free"),
            Self::Behind => f.write_str("others that ask for the same are ahead"),
            Self::NoAnchor(anchor) => write!(f, "{anchor} has no place yet"),
            Self::Retry { .. } => f.write_str("a node refused or didn't answer; it is tried again soon"),
            Self::Holding { nodes } => write!(f, "{} nodes are held back for it until enough is free", nodes.len()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub incarnation: Incarnation,
    pub totals: Resources,
    pub heard: NodeView,
    pub accepts: Accepts,
    /// Reservations that the node hasn't answered yet.
    pub unanswered: BTreeMap<ReservationId, Amounts>,
    /// The sum of those.
    pub promised: Amounts,
    /// What was heard less what is promised.
    pub available: Amounts,
    /// Actors placed or being placed here.
    pub actors: u64,
}

/// Order of service: the highest priority, then who came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub priority: Reverse<i32>,
    pub arrival: u64,
}

/// What is placed at once: one actor, or a gang.
#[derive(Debug)]
pub(super) struct Unit {
    pub rank: Rank,
    pub members: Vec<Member>,
    /// Members that must share a node, largest bundle first.
    pub bundles: Vec<Vec<usize>>,
    pub class: u64,
    pub since: Duration,
    /// From when on it counts as waiting for `hold_after`.
    pub hungry_since: Duration,
    pub refusals: u32,
    /// Who refused since it was last queued, and why.
    pub avoid: BTreeMap<NodeId, String>,
    pub phase: Phase,
    /// Whether each member fits on some node in total, as of that many arrivals of nodes.
    pub possible: bool,
    pub possible_as_of: u64,
    pub said: Option<WaitReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Queued,
    Reserving,
    Backoff { until: Duration },
}

#[derive(Debug)]
pub(super) struct Member {
    pub id: ActorId,
    pub demand: Demand,
    pub slot: Option<Slot>,
}

/// A member's reservation.
#[derive(Debug)]
pub(super) struct Slot {
    pub node: NodeId,
    pub reservation: ReservationId,
    /// What the node has assigned, once it has.
    pub granted: Option<Amounts>,
    pub deadline: Duration,
}

impl Node {
    /// Takes a report over, unless an older one. No node has more free than it has.
    pub fn hear(&mut self, view: NodeView) {
        if view.version >= self.heard.version {
            let free = Amounts::default().add_up_to(&view.free, &self.totals.amounts);
            self.heard = NodeView { free, ..view };
        }
    }

    pub fn promise(&mut self, reservation: ReservationId, amounts: Amounts) {
        // What overflows is more than any node has; the node itself will refuse.
        self.promised = self.promised.checked_add(&amounts).unwrap_or_else(|| self.promised.clone());
        self.unanswered.insert(reservation, amounts);
    }

    /// The node has answered, or isn't waited for any more; whether it was.
    pub fn answered(&mut self, reservation: ReservationId) -> bool {
        let Some(amounts) = self.unanswered.remove(&reservation) else { return false };
        self.promised =
            if self.unanswered.is_empty() { Amounts::default() } else { self.promised.saturating_sub(&amounts) };
        true
    }

    /// Reckons what is available; whether anything became more.
    pub fn reckon(&mut self) -> bool {
        let available = self.heard.free.saturating_sub(&self.promised);
        let more = available.has_more_than(&self.available);
        self.available = available;
        more
    }
}

#[derive(Debug)]
pub(super) struct Placement {
    pub node: NodeId,
    pub reservation: ReservationId,
    pub amounts: Amounts,
    pub group: Option<String>,
}

/// Units alike in shape: if the first doesn't fit, none does.
#[derive(Debug)]
pub(super) struct Class {
    pub shapes: Vec<Shape>,
    pub anchors: BTreeSet<Anchor>,
    pub queue: BTreeSet<Rank>,
    pub due: Due,
    /// The rank under which it stands among those to be looked at.
    pub ready_as: Option<Rank>,
}

/// Where something has changed for the better since the class was last looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    On(BTreeSet<NodeId>),
    Everywhere,
}

/// What is kept free for a unit that has waited long.
#[derive(Debug)]
pub(super) struct Hold {
    pub unit: u64,
    pub rank: Rank,
    pub nodes: BTreeMap<NodeId, Amounts>,
    pub until: Duration,
}

impl Unit {
    pub fn new(arrival: u64, members: Vec<(ActorId, Demand)>, now: Duration) -> Self {
        let priority = members.iter().map(|(_, d)| d.priority).max().unwrap_or(0);
        let bundles = bundles(&members);
        Self {
            rank: Rank { priority: Reverse(priority), arrival },
            members: members.into_iter().map(|(id, demand)| Member { id, demand, slot: None }).collect(),
            bundles,
            class: 0,
            since: now,
            hungry_since: now,
            refusals: 0,
            avoid: BTreeMap::new(),
            phase: Phase::Queued,
            possible: true,
            possible_as_of: 0,
            said: None,
        }
    }

    pub fn is_gang(&self) -> bool {
        self.members.len() > 1
    }

    /// What it depends on beside free resources.
    pub fn anchors(&self) -> BTreeSet<Anchor> {
        let of = |member: &Member| match &member.demand.strategy {
            Strategy::Same(anchor) => vec![anchor.clone()],
            Strategy::Excluding { groups, .. } => groups.iter().cloned().map(Anchor::Group).collect(),
            Strategy::Pack | Strategy::Spread => Vec::new(),
        };
        self.members.iter().flat_map(of).collect()
    }
}

/// Puts together those of a gang that name each other, or each other's group, in `Same`.
fn bundles(members: &[(ActorId, Demand)]) -> Vec<Vec<usize>> {
    let mut bundle_of: Vec<usize> = (0..members.len()).collect();
    for (at, (_, demand)) in members.iter().enumerate() {
        let near = |(id, other): &(ActorId, Demand)| match &demand.strategy {
            Strategy::Same(Anchor::Actor(actor)) => actor == id,
            Strategy::Same(Anchor::Group(group)) => other.group.as_ref() == Some(group),
            _ => false,
        };
        for mate in (0..members.len()).filter(|mate| near(&members[*mate])) {
            let (from, to) = (bundle_of[mate], bundle_of[at]);
            bundle_of.iter_mut().filter(|b| **b == from).for_each(|b| *b = to);
        }
    }
    let mut bundles: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    bundle_of.iter().enumerate().for_each(|(at, bundle)| bundles.entry(*bundle).or_default().push(at));
    let mut bundles: Vec<Vec<usize>> = bundles.into_values().collect();
    let size = |bundle: &Vec<usize>| {
        let requests = bundle.iter().map(|at| &members[*at].1.request);
        requests.fold((0_u32, 0_u64, 0_u64), |(gpus, cpu, memory), r| {
            let count = match r.gpu {
                super::GpuRequest::None => 0,
                super::GpuRequest::Whole { count, .. } => count.saturating_add(1),
                super::GpuRequest::Share { .. } | super::GpuRequest::Named { .. } => 1,
            };
            (gpus.saturating_add(count), cpu.saturating_add(r.cpu_milli), memory.saturating_add(r.memory_bytes))
        })
    };
    bundles.sort_by_key(|bundle| Reverse(size(bundle)));
    bundles
}
