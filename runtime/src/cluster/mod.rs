//! A node among others: the lanes to its peers, and actor kinds that any node can start.

mod error;
mod hello;
mod kinds;
mod network;

pub use error::ClusterError;
pub use kinds::{ActorKind, ActorKinds, KindName, KindsBuilder, SpawnOrder};
pub use network::{Network, NetworkOptions};

#[cfg(test)]
mod tests;
