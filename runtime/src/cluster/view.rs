//! What people are told of nodes and actors. Computed by the control node from its own state.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::actor::ActorAddr;
use crate::id::{ActorId, Generation, Incarnation, NodeId};
use crate::membership::{MemberState, NodeLoad, SuspicionReason};
use crate::placement::{Amounts, Explanation, Resources};
use crate::time::Timestamp;

/// A node, as `fleet node list` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    pub id: NodeId,
    pub name: String,
    /// `host:port` at which other nodes reach it.
    pub addr: String,
    pub incarnation: Incarnation,
    pub state: MemberState,
    /// When it came to that state.
    pub since: Timestamp,
    /// φ of its present silence, 0 to 100.
    pub level: f64,
    pub suspicion: Option<SuspicionReason>,
    pub labels: BTreeMap<String, String>,
    pub totals: Amounts,
    /// What it said last to be free; `None` for a node that wasn't heard since the control node started.
    pub free: Option<Amounts>,
    /// Actors of the cluster that have their place there.
    pub actors: usize,
    pub load: NodeLoad,
    pub is_control: bool,
}

/// How far an actor of the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// It waits for a place.
    Placing,
    /// Its node was told to start it.
    Starting,
    Up,
    /// It is being stopped, to begin on another node.
    Moving,
    /// It ran before the control node was started anew; its node hasn't said yet that it still does.
    Recovering,
    /// It is being ended for good.
    Stopping,
    Over,
}

impl ActorState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placing => "placing",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Moving => "moving",
            Self::Recovering => "recovering",
            Self::Stopping => "stopping",
            Self::Over => "over",
        }
    }
}

impl fmt::Display for ActorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many actors of the cluster are in each state; those that are over aren't counted.
pub type ActorCounts = BTreeMap<ActorState, u64>;

/// An actor of the cluster, as `fleet actor list` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorRecord {
    pub key: String,
    pub id: ActorId,
    /// Name and version.
    pub kind: String,
    pub state: ActorState,
    /// The name of its node.
    pub node: Option<String>,
    /// Where it is reached, while it is up.
    pub addr: Option<ActorAddr>,
    /// A million a place, and one for each restart there.
    pub generation: Generation,
    pub since: Timestamp,
    /// How often it was started anew, on its node or on another.
    pub restarts: u64,
}

/// Which actors are wanted. Nothing set means all that aren't over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(default)]
pub struct ActorFilter {
    /// Those whose key begins so.
    pub key_prefix: Option<String>,
    /// Those of the kind of that name, in any version.
    pub kind: Option<String>,
    /// Those on the node of that name or id.
    pub node: Option<String>,
    pub state: Option<ActorState>,
    /// Those that are over too, as far as they are remembered.
    pub with_over: bool,
}

/// Some actors in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ActorPage {
    pub actors: Vec<ActorRecord>,
    /// The last key that was looked at; there may be more behind it.
    pub more_after: Option<String>,
}

/// Why an actor is as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorExplanation {
    pub record: ActorRecord,
    /// One fact a line, the most important first.
    pub why: Vec<String>,
    /// While it waits for a place: why no node is taken, and what would help.
    pub placement: Option<Explanation>,
}

impl fmt::Display for ActorExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ActorRecord { key, kind, state, since, .. } = &self.record;
        writeln!(f, "{key} ({kind}) is {state} since {since}")?;
        self.why.iter().try_for_each(|why| writeln!(f, "  {why}"))?;
        self.placement.iter().try_for_each(|placement| write!(f, "{placement}"))
    }
}

/// Why a node is as it is, and what it is used for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeExplanation {
    pub record: NodeRecord,
    /// One fact a line, the most important first.
    pub why: Vec<String>,
    /// Whether something new may be placed there now.
    pub takes_work: bool,
    /// Since its last renewal.
    pub silent_for: Duration,
    /// What is promised to actors that it hasn't confirmed yet.
    pub promised: Amounts,
    /// Keys of the actors that have their place there, the first hundred.
    pub actors: Vec<String>,
}

impl fmt::Display for NodeExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NodeRecord { id, name, state, since, totals, .. } = &self.record;
        writeln!(f, "{name} ({id}) is {} since {since}", state.as_str())?;
        self.why.iter().try_for_each(|why| writeln!(f, "  {why}"))?;
        writeln!(f, "  has {totals}; {} actors", self.record.actors)
    }
}

/// What became of an actor that somebody [watches](super::ClusterNode::watch).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ActorEvent {
    /// It lives there.
    Up { addr: ActorAddr },
    /// It has begun anew, there.
    Moved { addr: ActorAddr },
    /// It is no more; nothing comes after this.
    Over { why: String },
}

/// What a node has in all, by name.
pub(super) fn labels(totals: &Resources, facts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    totals.labels.iter().chain(facts).map(|(key, value)| (key.clone(), value.clone())).collect()
}
