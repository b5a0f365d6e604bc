//! ractor_cluster as it comes: two processes, its own transport, plain or with its own mutual TLS.
//!
//! With its best settings: a hand-written [`Message`](ractor::Message) that moves its bytes and hands the reply's port
//! over as it is (no copy, no task between), calls without a deadline, isolated mode, frames of up to 256 MiB.

mod drive;
mod node;
mod sink;
mod tls;

pub use drive::drive;
pub use node::serve;
