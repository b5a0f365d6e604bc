//! The actors of the software team.
//!
//! ```text
//! StoryJob (job kind "story")
//!   └─ StoryActor      folds the journal, asks the core what is next, records what came of it
//!        ├─ Council     hands proposals to agents, begins them again when an agent crashed
//!        │    └─ Agent  one a proposal: think, act through the gateway, observe
//!        └─ HumanGate   one open question to a person
//! ```
//!
//! Nothing that matters is kept in an actor: each of them may crash at any time and finds in the
//! journal, or asks its parent, what it has to do. A child that (re)starts says so to its parent,
//! and the parent hands it its work (again): that is the whole protocol of recovery. In a cluster the
//! agents are spread over its nodes; one that lost its node begins anew on another, just so.

mod agent;
mod council;
mod grounds;
mod job;
mod material;
mod placed;
mod services;
mod steps;
mod story;
mod think;
mod turns;
mod work;

pub use agent::AgentMsg;
pub use council::{Assignment, CouncilMsg, Finding, Finished};
pub use grounds::NodeGrounds;
pub use job::StoryJob;
pub use placed::{PlacedAgent, PlacedAgentArgs};
pub use services::{SecretGuard, Services};
pub use story::StoryMsg;

#[cfg(test)]
mod tests;
