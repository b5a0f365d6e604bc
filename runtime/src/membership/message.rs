//! What a node and the control node say to each other about the node's lease.
//!
//! These structs are the messages themselves, and every one names the incarnation it is about.
//! Times in them are of the *node's* clock: the control node only hands them back, so that no
//! two clocks are ever compared.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::id::Incarnation;

/// What a node says of itself when it joins. Membership only keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct NodeFacts {
    /// The configured name, for people.
    pub name: String,
    /// Where other nodes reach it, `host:port`.
    pub addr: String,
    pub labels: BTreeMap<String, String>,
}

/// How busy a node is, for people and for the order among equals. Placement keeps accounts of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct NodeLoad {
    /// Of all its cores together, in thousandths: 1000 is all of them busy.
    pub cpu_permille: u16,
    /// Memory in use, in bytes.
    pub memory_used: u64,
    /// Actors that live there.
    pub actors: u32,
}

/// "I am alive; give me the lease for another while."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Renewal {
    pub incarnation: Incarnation,
    /// Rises with each renewal of this incarnation, so that one that was overtaken is known as such.
    pub seq: u64,
    /// The node's clock when it was made, which is before it could wait anywhere.
    pub sent_at: Duration,
    /// `sent_at` of the latest renewal whose grant has arrived. Tells the control node whether the
    /// other direction works.
    pub acked: Option<Duration>,
}

/// "You have the lease, counted from when you sent that renewal."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Grant {
    pub incarnation: Incarnation,
    /// `sent_at` of the renewal that this answers.
    pub echo: Duration,
    pub valid_for: Duration,
}

/// "This incarnation is over; come back as one above `above`."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Refusal {
    /// The incarnation that is refused.
    pub incarnation: Incarnation,
    pub why: RefusalReason,
    /// The highest incarnation of that node that is used up.
    pub above: Incarnation,
}

/// Why a node has to rejoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub enum RefusalReason {
    /// A later incarnation has joined. A node that was a member and is told so shares its identity
    /// with another process: one of the two has to go.
    #[error("a later incarnation of this node has joined")]
    OldIncarnation,
    /// It hasn't joined, as far as the control node remembers.
    #[error("this incarnation has not joined")]
    Unknown,
    /// Somebody took it off the list.
    #[error("this node was taken off the list")]
    Forgotten,
    /// Its lease ran out; its actors may live elsewhere.
    #[error("its lease ran out and its actors may live elsewhere")]
    Dead,
    /// It said itself that it goes.
    #[error("it had left")]
    Left,
}
