//! What is asked of the placement: how much, where, how urgent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::id::{ActorId, Incarnation, NodeId};

use super::{PlacementError, Request};

/// Names a reservation. The control node's incarnation is part of it, so that a restarted one never
/// uses a name again that nodes still know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct ReservationId {
    pub by: Incarnation,
    pub number: u64,
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.by.0, self.number)
    }
}

/// Which of the nodes that fit is taken. Among equals always the lowest node id.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead,
)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Fewest nodes: one without GPUs for what needs none, one in use before an idle one, then the
    /// one where the least stays free.
    #[default]
    Pack,
    /// Most different nodes: the one with the fewest of its group or gang, then the one whose
    /// most used resource is used least, then the one with the fewest actors.
    Spread,
    /// Only where that one is, else as `Pack`.
    Same(Anchor),
    /// Only where none of these is, else as `Pack`.
    Excluding { nodes: BTreeSet<NodeId>, groups: BTreeSet<String> },
}

/// What to be near to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    Node(NodeId),
    /// Waits until that actor has a place.
    Actor(ActorId),
    /// Any node where one of the group is; anywhere while there is none.
    Group(String),
}

/// One actor that wants a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(default)]
pub struct Demand {
    pub request: Request,
    pub strategy: Strategy,
    /// The group that this actor belongs to, for others' `Same` and `Excluding` and for `Spread`.
    pub group: Option<String>,
    /// Bytes that it would not have to fetch there. Goes before the strategy, in whole
    /// [`super::PlacementOptions::locality_step`]s; it never makes a request wait.
    pub near_data: BTreeMap<NodeId, u64>,
    /// Higher goes first. A gang has the highest of its members.
    pub priority: i32,
    /// Waits even if no node has that much in total, for a node that may come.
    pub wait_if_impossible: bool,
}

impl Demand {
    pub fn check(&self) -> Result<(), PlacementError> {
        self.request.check()?;
        let excluded = match &self.strategy {
            Strategy::Excluding { groups, .. } => groups.iter().collect(),
            Strategy::Same(Anchor::Group(group)) => vec![group],
            _ => Vec::new(),
        };
        self.group.iter().chain(excluded).try_for_each(|name| super::text::check_name(name))
    }
}

/// What decides where it fits: demands alike in this fit or don't fit together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    request: Request,
    strategy: Strategy,
    group: Option<String>,
}

impl From<&Demand> for Shape {
    fn from(demand: &Demand) -> Self {
        Self { request: demand.request.clone(), strategy: demand.strategy.clone(), group: demand.group.clone() }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Actor(actor) => write!(f, "actor {actor}"),
            Self::Group(group) => write!(f, "group {group}"),
        }
    }
}
