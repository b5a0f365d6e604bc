//! Fleet's two programs: `fleetd`, a node, and `fleet`, its client. Wiring only: what a node can do is in the crates below.

// The futures of actors hold those of all they call, and which of them the compiler lays out first is chance.
#![recursion_limit = "256"]

pub mod cli;
pub mod config;
pub mod daemon;
pub mod node;
pub mod state;
