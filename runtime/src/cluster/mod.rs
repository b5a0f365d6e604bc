//! A node among others: members, lanes between them, actor kinds that any node can start, actors that outlive their node.
//!
//! The cores of [`membership`](crate::membership) and [`placement`](crate::placement) decide; the actors here carry it out.
//! The control node's actor has both, with the list of the cluster's actors, in a `Registry` whose changes are on disk before
//! anybody sees them; every node's own actor keeps its lease and its account of resources. They talk by calls that a
//! [`Carrier`] brings; messages between actors go over [`Network`]'s lanes.

mod archive;
mod carrier;
mod clock;
mod control;
mod error;
mod hello;
mod kinds;
mod launch;
mod load;
mod member;
mod message;
mod network;
mod node;
mod nursery;
mod options;
mod records;
mod registry;
mod renewal;
mod view;
mod watching;

pub use archive::ControlPorts;
pub use carrier::{Carrier, CarrierError};
pub use error::ClusterError;
pub use kinds::{ActorKind, ActorKinds, KindName, KindsBuilder, SpawnOrder};
pub use launch::{Launch, LaunchOptions, RunningNode};
pub use member::Standing;
pub use network::{Network, NetworkOptions};
pub use node::{ClusterNode, ClusterSetup, Role};
pub use options::ClusterOptions;
pub use view::{
    ActorCounts, ActorEvent, ActorExplanation, ActorFilter, ActorRecord, ActorState, NodeExplanation, NodeRecord,
};
pub use watching::ActorWatch;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod simulation;
#[cfg(test)]
mod tests;
