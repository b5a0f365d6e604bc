//! The control plane: questions and notices between nodes, over ractor_cluster. The one module that names it.
//!
//! A node runs one ractor_cluster `NodeServer`, whose sessions run over [`Plane::Control`](crate::net::Plane)
//! streams that were dialled or accepted elsewhere and whose two ends know each other. Exactly one actor of a
//! node can be reached from another one, its *gateway*: ractor_cluster mirrors every remotable actor on every
//! node, so all else stays local. The gateway hands what comes to a [`ControlHandler`].
//!
//! ractor_cluster doesn't say over which link a message came, and lets a session claim any name. So each message
//! carries its sender and a MAC under a key that only the two ends of one TLS connection have.
//!
//! Delivery is at most once. [`ControlError`] tells what was certainly not handled from what may have been.
//! Everything that waits is bounded: calls and bytes of a link under way, handlers that run, silence on a link.
//!
//! ractor's registry and groups belong to the process, hence one [`ControlPlane`] a process.

mod desk;
mod error;
mod events;
mod gateway;
mod link;
mod options;
mod plane;
mod seal;
mod session;
mod table;
mod transport;

pub use desk::ControlHandler;
pub use error::ControlError;
pub use events::{LinkEvent, LinkEvents};
pub use link::{LinkInfo, Side};
pub use options::ControlOptions;
pub use plane::{ControlPlane, ControlStats};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What these locks guard is whole between any two statements, so a panic elsewhere doesn't spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
