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

impl ActorAddr {
    /// The address of a service of that node, by name: good for whichever life the node and the service are in. For what
    /// every node must find without having been told, such as the journal. Who may write what is fenced by the journal's
    /// generations, not by this address.
    pub fn service(node: NodeId, name: &str) -> Self {
        Self { node, incarnation: ANY_LIFE, actor: ActorId::of_service(name), generation: Generation(0) }
    }

    /// Whether it names a service instead of one life of an actor.
    pub fn is_service(&self) -> bool {
        self.incarnation == ANY_LIFE
    }

    /// Whether it is a later life of the same actor.
    pub(crate) fn follows(&self, earlier: &Self) -> bool {
        self.actor == earlier.actor && self.generation > earlier.generation
    }

    /// Whether a message to this address is for the actor that lives at `now`.
    pub(crate) fn means(&self, now: &Self) -> bool {
        self == now || (self.is_service() && (self.node, self.actor) == (now.node, now.actor))
    }
}

/// Incarnations count from 1.
const ANY_LIFE: Incarnation = Incarnation(0);

impl fmt::Display for ActorAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, incarnation, actor, generation } = self;
        write!(f, "{node}.{incarnation}/{actor}.{generation}")
    }
}
