//! Who belongs to the cluster, and who may act: heartbeats, leases, suspicion, incarnations, drain.
//!
//! Two pure cores, no I/O and no clock. [`NodeCore`] is a node's view of itself: it asks for its lease
//! every 500 ms and knows at any moment whether it may still start an effect. [`ControlCore`] is the
//! control node's view of all nodes: it grants leases, suspects, and calls a node dead when, and only
//! when, no grant of its own can still be in force. Whoever carries out their commands moves the messages
//! ([`Renewal`], [`Grant`], [`Refusal`]) and writes down the events ([`KnownMember`] is what they add up to).
//!
//! ```text
//!   node                                   control node
//!   SendRenewal{sent_at, acked} ─────────► on_renewal ──► lease ends at: arrival + 3 s
//!   on_grant ◄──────────────────────────── GrantLease{echo = sent_at}
//!   may act until: sent_at + 2.5 s         Dead: when that has passed, never before
//! ```
//!
//! What it rests on: a renewal arrives after it was sent, so the control node's count starts later *and*
//! lasts longer than the node's; the clocks (CLOCK_BOOTTIME: it goes on while a machine sleeps) are never
//! compared, they only have to run at the same speed within 20 %. Suspicion only keeps new work away; it
//! never ends a lease, and no probe prolongs one. What isn't here: which process is the control node (there
//! is one), links, placement.

mod control;
mod known;
mod life;
mod message;
mod node;
mod options;
mod phi;

#[cfg(test)]
mod control_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod node_tests;
#[cfg(test)]
mod options_tests;
#[cfg(test)]
mod phi_tests;
#[cfg(test)]
mod properties_tests;
#[cfg(test)]
mod simulation;

pub use control::{ControlCommand, ControlCore};
pub use known::{KnownMember, MemberEvent, Standing, SuspicionReason};
pub use life::{Member, MemberState, Suspicion};
pub use message::{Grant, NodeFacts, NodeLoad, Refusal, RefusalReason, Renewal};
pub use node::{NodeCommand, NodeCore};
pub use options::{MembershipOptions, MembershipOptionsError};
