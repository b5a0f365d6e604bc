//! What is written down of the cluster: the `cluster.*` events of its stream.
//!
//! Whatever these don't say is learnt anew after a restart of the control node: from renewals, and from what each node
//! reports to be running. An event that was written twice, because nobody could tell whether it had been, means the same
//! as once.

use serde::{Deserialize, Serialize};

use crate::cluster::message::SpawnRequest;
use crate::id::{ActorId, Generation, Incarnation, NodeId};
use crate::journal::{Author, Envelope, NewEvent};
use crate::membership::{KnownMember, MemberEvent, NodeFacts};
use crate::placement::{Amounts, ReservationId, Resources};
use crate::time::Timestamp;

use super::book::{ActorEntry, MemberEntry, OverEntry};

/// Something that must survive the control node's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload")]
pub(in crate::cluster) enum ClusterEvent {
    /// A control node has taken the cluster over. `life` rises each time.
    #[serde(rename = "cluster.opened")]
    Opened { life: u64, node: NodeId, incarnation: Incarnation },
    /// A node asks to be a member; on disk before it gets its first lease.
    #[serde(rename = "cluster.joined")]
    Joined { node: NodeId, incarnation: Incarnation, facts: NodeFacts, totals: Resources },
    /// A later step of that life of a node. Suspicion isn't among them: it is found again.
    #[serde(rename = "cluster.member")]
    Member { node: NodeId, incarnation: Incarnation, event: MemberEvent },
    /// An actor was asked for, and is the cluster's from now on.
    #[serde(rename = "cluster.actor_spawned")]
    Spawned { actor: ActorId, request: Box<SpawnRequest> },
    /// It begins to live there as this generation; on disk before that node is told.
    #[serde(rename = "cluster.actor_placed")]
    Placed { actor: ActorId, generation: Generation, place: Place },
    /// It certainly doesn't live there (any more), and is to begin elsewhere.
    #[serde(rename = "cluster.actor_vacated")]
    Vacated { actor: ActorId, generation: Generation, why: String, failed: bool },
    /// It is no more.
    #[serde(rename = "cluster.actor_over")]
    Over { actor: ActorId, why: String },
    /// All that the events before it add up to, in parts.
    #[serde(rename = "cluster.snapshot")]
    Snapshot(Part),
}

/// Where an actor lives, and what it holds there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Place {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub reservation: ReservationId,
    pub amounts: Amounts,
}

impl Place {
    pub fn is_on(&self, node: NodeId, incarnation: Incarnation) -> bool {
        (self.node, self.incarnation) == (node, incarnation)
    }
}

/// One of `of` parts of a snapshot, counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::cluster) struct Part {
    pub part: usize,
    pub of: usize,
    pub life: u64,
    pub arrivals: u64,
    pub members: Vec<(KnownMember, MemberEntry)>,
    pub actors: Vec<(ActorId, ActorEntry)>,
    pub over: Vec<OverEntry>,
}

const VERSION: u16 = 1;
const PREFIX: &str = "cluster.";

impl ClusterEvent {
    /// The event of an envelope; `None` for what isn't of the cluster.
    pub fn read(envelope: &Envelope) -> Option<Result<(Self, Timestamp), serde_json::Error>> {
        if !envelope.kind.starts_with(PREFIX) {
            return None;
        }
        let tagged = serde_json::json!({ "kind": envelope.kind, "payload": envelope.payload });
        let recorded = serde_json::from_value::<Recorded>(tagged);
        Some(recorded.map(|Recorded { event, at }| (event, at.unwrap_or(envelope.at))))
    }

    /// As something to append; `at` is when it happened, which may be a little before it is on disk.
    pub fn write(&self, at: Timestamp, by: Author) -> Result<NewEvent, serde_json::Error> {
        let mut tagged = serde_json::to_value(self)?;
        let kind = tagged["kind"].as_str().unwrap_or_default().to_owned();
        let mut payload = tagged["payload"].take();
        payload["at"] = serde_json::to_value(at)?;
        Ok(NewEvent { by, kind, version: VERSION, caused_by: None, facts: Vec::new(), payload })
    }
}

struct Recorded {
    event: ClusterEvent,
    at: Option<Timestamp>,
}

impl<'de> Deserialize<'de> for Recorded {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut tagged = serde_json::Value::deserialize(from)?;
        let at = tagged["payload"].as_object_mut().and_then(|payload| payload.remove("at"));
        let at = at.map(serde_json::from_value).transpose().map_err(serde::de::Error::custom)?;
        let event = serde_json::from_value(tagged).map_err(serde::de::Error::custom)?;
        Ok(Self { event, at })
    }
}
