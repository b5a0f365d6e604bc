//! What nodes and the control node say to each other. Every one of these is a call with an answer and a deadline.

use wincode::{SchemaRead, SchemaWrite};

use super::kinds::SpawnOrder;
use crate::actor::{ActorAddr, Life};
use crate::id::{Incarnation, NodeId};
use crate::membership::{Grant, NodeFacts, NodeLoad, Refusal, Renewal};
use crate::placement::{Demand, NodeView, Request, ReservationId, ReserveResult, Resources};

/// From a node to the control node.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum ToControl {
    Join { renewal: Renewal, facts: NodeFacts, totals: Resources, view: NodeView },
    Renew { renewal: Renewal, load: NodeLoad, view: NodeView },
    Left { incarnation: Incarnation },
    Probed { target: NodeId, reached: bool },
    Spawn(SpawnRequest),
    Stop { key: String },
    Find { key: String },
}

/// An actor that some node is to run.
#[derive(Clone, Debug, PartialEq, SchemaWrite, SchemaRead)]
pub(super) struct SpawnRequest {
    pub order: SpawnOrder,
    pub demand: Demand,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum ControlAnswer {
    Granted(Grant),
    Refused(Refusal),
    /// Where the actor runs, or why it doesn't.
    Spawned(Result<ActorAddr, String>),
    Found(Option<ActorAddr>),
    Done,
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
    Stop {
        key: String,
        reservation: ReservationId,
    },
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
    /// It is for another life of this node.
    NotMe,
    Done,
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
pub(super) enum Answer {
    Control(ControlAnswer),
    Node(NodeAnswer),
    Here,
}
