//! Placement: which node an actor runs on.
//!
//! Two pure cores, driven by what happened and when. [`PlacementCore`] on the control node plans by
//! what it last heard of the nodes and says what to reserve. [`NodeLedger`] on each node has the last
//! word: it grants or refuses, and a refusal carries what is really free, so that the next plan is
//! better (spill-back). An actor is started under its reservation; what isn't started in time is
//! given back.
//!
//! A *gang* is placed whole or not at all: all its members are reserved at once, and one refusal
//! releases the others before it is tried again later. It never holds one half while it waits for
//! the other, so two gangs can't wait for each other.
//!
//! No I/O, no clock, no actor is in here. `NodeId`s come from membership, GPUs from [`crate::probe`].

mod core;
mod demand;
mod error;
mod explain;
mod hold;
mod ledger;
mod options;
mod plan;
mod queue;
mod request;
mod resources;
mod state;
mod text;

#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod ledger_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod text_tests;
#[cfg(test)]
mod world;

pub use core::{Command, NodeUp, PlacementCore};
pub use demand::{Anchor, Demand, ReservationId, Strategy};
pub use error::PlacementError;
pub use explain::{Explanation, NodeVerdict, PlaceState, WhyNot};
pub use ledger::{NodeLedger, NodeView, Refusal, ReserveResult};
pub use options::PlacementOptions;
pub use request::{GpuRequest, Request, Selector, Short};
pub use resources::{Amounts, Resources};
pub use state::{Accepts, WaitReason};
