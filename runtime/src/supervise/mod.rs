//! Supervision: what happens when an actor ends.
//!
//! [`SupervisorCore`] decides and knows no time, no actor and no task. `Supervisor` is the
//! ractor actor that owns the children of one parent, tells the core what happened and does what
//! it says. It isn't the parent itself, so that children are restarted while the parent is busy.

mod core;
mod driver;
mod policy;
mod supervisor;

#[cfg(test)]
mod core_tests;

pub use core::{ChildKey, Command, Exit, SupervisorCore};
pub(crate) use driver::{Fate, Follower};
pub use policy::{Backoff, ChildOptions, Intensity, Restart, Strategy, SupervisorOptions};
pub(crate) use supervisor::Supervisor;
