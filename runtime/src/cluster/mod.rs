//! A node among others: members, lanes between them, actor kinds that any node can start, actors that outlive their node.
//!
//! The cores of [`membership`](crate::membership) and [`placement`](crate::placement) decide; the actors here carry it out.
//! The control node's actor has both cores and the list of the cluster's actors; every node's own actor keeps its lease and
//! its account of resources. They talk by calls that a [`Carrier`] brings; messages between actors go over [`Network`]'s lanes.

mod carrier;
mod clock;
mod control;
mod error;
mod hello;
mod kinds;
mod launch;
mod member;
mod message;
mod network;
mod node;
mod options;
mod records;

pub use carrier::{Carrier, CarrierError};
pub use error::ClusterError;
pub use kinds::{ActorKind, ActorKinds, KindName, KindsBuilder, SpawnOrder};
pub use launch::{Launch, LaunchOptions, RunningNode};
pub use member::Standing;
pub use network::{Network, NetworkOptions};
pub use node::{ClusterNode, ClusterSetup, Role};
pub use options::ClusterOptions;

#[cfg(test)]
mod tests;
