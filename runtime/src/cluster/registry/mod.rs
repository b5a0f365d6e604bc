//! The control node's decisions: who is a member, which actor lives where, and what follows when a node is gone.
//!
//! [`Registry`] joins the cores of [`membership`](crate::membership) and [`placement`](crate::placement) with the cluster's
//! actors. Like them it is pure: inputs and times come in, [`Act`]s come out, and the actor beside it carries them out.
//!
//! ```text
//!   inputs ──► Registry ──► records ──► journal ─┐
//!                  │                             ▼
//!                  └──────► acts, held back until the records before them are on disk ──► nodes, answers
//! ```
//!
//! What must survive is a [`ClusterEvent`]; they add up to the [`Book`], from which a restarted control node begins. Two
//! kinds of act don't wait for the disk: a grant for a life whose joining is on disk (a lease must never wait for an fsync),
//! and a reservation, which runs out by itself.
//!
//! After a restart nothing is placed for one lease. Meanwhile each node is asked what runs there: that is taken up as it is.

mod actors;
mod book;
mod core;
mod event;
mod members;
mod outbox;
mod questions;
mod recovery;

pub(super) use book::Book;
pub(super) use core::{About, Act, Now, Registry, Ticket};
pub(super) use event::ClusterEvent;

#[cfg(test)]
pub(super) use core::Bug;
