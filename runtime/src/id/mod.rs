//! Names of things, each a type of its own so that none is taken for another.
//!
//! Text ids are checked wherever they come from (parsing, JSON, the wire), since they become
//! branch names, file names and query keys.

mod number;
mod text;

pub use number::{Generation, Incarnation, Position, Seq};
pub use text::{JobId, ProjectId, StreamId};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wincode::{SchemaRead, SchemaWrite};

/// Text that isn't a valid id of that kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {rule}")]
pub struct IdError {
    pub kind: &'static str,
    pub text: String,
    pub rule: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            SchemaWrite, SchemaRead,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            pub fn new_random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::from_str(text).map(Self).map_err(|_| IdError {
                    kind: $kind,
                    text: text.to_owned(),
                    rule: "a UUID",
                })
            }
        }
    };
}

uuid_id!(
    /// A node: one fleetd process, over its restarts.
    NodeId,
    "node id"
);
uuid_id!(
    /// An actor, over its restarts.
    ActorId,
    "actor id"
);

impl ActorId {
    /// The id of the service with that name: the same on every node, so that it needn't be told.
    pub fn of_service(name: &str) -> Self {
        let hash = blake3::derive_key("fleet 2026-11 actor id of a service", name.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests;
