//! The one listener of a node: HTTP/JSON under `/api/v1`, event streams, health.
//!
//! It translates and guards (bounds, host and origin, token, access level); what a job, an approval or an event *is* belongs
//! to the crates below. Every long answer is a stream that its reader pulls; nothing here keeps state of its own.

mod approvals;
mod auth;
mod blobs;
mod cluster;
mod error;
mod events;
mod jobs;
mod node;
mod origin;
pub mod plain;
mod results;
mod server;
mod state;
mod sweep;
pub mod wire;

pub use auth::Tokens;
pub use error::{ApiError, ErrorBody};
pub use origin::HostNames;
pub use server::serve;
pub use state::{ApiOptions, ApiState, Forget, HEARTBEAT};
pub use sweep::digests_in;
