//! Fleet: a control node that asks and a worker node that has the actors, each a process; mutual TLS, all bounds as by
//! default.

mod actors;
mod pair;

pub use pair::{WORKER, WORKER_APART, drive, worker};
