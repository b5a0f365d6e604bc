//! What nodes and the control node say to each other. Every one of these is a call with an answer and a deadline.

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use super::kinds::SpawnOrder;
use super::view::{ActorCounts, ActorExplanation, ActorFilter, ActorPage, NodeExplanation, NodeRecord};
use crate::actor::{ActorAddr, Json, Life};
use crate::id::{ActorId, Incarnation, NodeId};
use crate::membership::{Grant, NodeFacts, NodeLoad, Refusal, Renewal};
use crate::placement::{Demand, NodeView, Request, ReservationId, ReserveResult, Resources};

/// From a node to the control node.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum ToControl {
    Join {
        renewal: Renewal,
        facts: NodeFacts,
        totals: Resources,
        view: NodeView,
    },
    Renew {
        renewal: Renewal,
        load: NodeLoad,
        view: NodeView,
    },
    Left {
        incarnation: Incarnation,
    },
    Probed {
        target: NodeId,
        reached: bool,
    },
    /// What became of actors there by itself. Repeated until it is answered, which is after it is on disk.
    News {
        incarnation: Incarnation,
        restarted: Vec<(Life, ActorAddr)>,
        exits: Vec<ExitNotice>,
    },
    Spawn(SpawnRequest),
    Stop {
        key: String,
    },
    Find {
        key: String,
    },
    /// How these stand.
    Follow {
        keys: Vec<String>,
    },
    Nodes,
    /// A page of the actors behind that key.
    Actors {
        filter: ActorFilter,
        after: Option<String>,
    },
    ExplainActor {
        key: String,
    },
    /// By name or id.
    ExplainNode {
        node: String,
    },
    Drain {
        node: String,
    },
    Invite,
    /// Sign this request for a certificate (PKCS #10, DER) in the name of the node that asks.
    Certify {
        request: Vec<u8>,
    },
    /// How many actors are in each state?
    Count,
}

/// An actor has ended on its node and isn't started again there.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(super) struct ExitNotice {
    pub life: Life,
    pub why: String,
}

/// An actor that some node is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub(super) struct SpawnRequest {
    pub order: SpawnOrder,
    pub demand: Demand,
    /// The key of the actor that it belongs to: it doesn't outlive that one.
    #[serde(default)]
    pub owner: Option<String>,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum ControlAnswer {
    Granted(Grant),
    Refused(Refusal),
    /// Where the actor runs, or why it doesn't.
    Spawned(Result<ActorAddr, String>),
    Found(Option<ActorAddr>),
    /// In the order of the keys.
    Followed(Vec<Followed>),
    Nodes(Json<Vec<NodeRecord>>),
    Actors(Json<ActorPage>),
    Actor(Json<Option<ActorExplanation>>),
    Node(Json<Option<NodeExplanation>>),
    /// A join token: a secret.
    Invited(String),
    /// It isn't done, and why.
    No(String),
    Done,
    /// A certificate, DER.
    Certified(Vec<u8>),
    Counts(Json<ActorCounts>),
}

/// How an actor stands that somebody follows.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(super) enum Followed {
    /// It is the cluster's; where it lives, unless it is on its way.
    Is(Option<ActorAddr>),
    Over(String),
    /// Nobody asked for it, or it is over for long.
    Unknown,
}

/// From the control node to a node.
#[derive(Clone, Debug, SchemaWrite, SchemaRead)]
pub(super) enum ToNode {
    /// All members; whoever isn't among them is gone.
    Members(Vec<MemberAddr>),
    /// Actors that began anew elsewhere.
    Moved(Vec<ActorAddr>),
    Reserve {
        incarnation: Incarnation,
        reservation: ReservationId,
        request: Request,
        ttl_ms: u64,
    },
    Release {
        reservation: ReservationId,
    },
    Start {
        incarnation: Incarnation,
        reservation: ReservationId,
        life: Life,
        order: SpawnOrder,
    },
    /// Answered when that life of it has ended.
    Stop {
        incarnation: Incarnation,
        reservation: ReservationId,
        life: Life,
        key: String,
    },
    /// What runs there?
    Report {
        incarnation: Incarnation,
    },
    /// An actor that had moved is over.
    Ended(ActorId),
    Probe {
        target: NodeId,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(super) struct MemberAddr {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub addr: String,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum NodeAnswer {
    Reserved(ReserveResult),
    Started(Result<ActorAddr, String>),
    /// That reservation isn't held any more; nothing was started.
    NotHeld,
    Report(NodeReport),
    /// It is for another life of this node.
    NotMe,
    Done,
    /// Nothing was started: this node's lease is over, and the actor may live elsewhere.
    Fenced,
}

/// What a node has.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(super) struct NodeReport {
    pub view: NodeView,
    pub running: Vec<Running>,
    /// Not acknowledged yet.
    pub exits: Vec<ExitNotice>,
}

/// An actor that a node has started, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(super) struct Running {
    pub key: String,
    pub life: Life,
    pub reservation: ReservationId,
    /// Its present address, once it is up.
    pub addr: Option<ActorAddr>,
}

/// What a call carries.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum Said {
    ToControl(ToControl),
    ToNode(ToNode),
    /// From any node to any: are you there?
    AreYouThere,
}

/// What comes back.
#[derive(Debug, SchemaWrite, SchemaRead)]
#[expect(clippy::large_enum_variant, reason = "each is encoded as soon as it is made")]
pub(super) enum Answer {
    Control(ControlAnswer),
    Node(NodeAnswer),
    Here,
}
