//! Fleet's two programs: `fleetd`, a node, and `fleet`, its client. Wiring only: what a node can do is in the crates below.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod node;
pub mod state;
