//! Where an actor is: an address that can be written down and sent.

use std::fmt;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::id::{ActorId, Generation, Incarnation, NodeId};

/// The address of one life of an actor.
///
/// A message to an old incarnation (of the node) or generation (of the actor) is refused,
/// never delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct ActorAddr {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub actor: ActorId,
    pub generation: Generation,
}

impl fmt::Display for ActorAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, incarnation, actor, generation } = self;
        write!(f, "{node}.{incarnation}/{actor}.{generation}")
    }
}
