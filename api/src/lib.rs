//! The one listener of a node: HTTP/JSON under `/api/v1`, event streams, health, and OpenAI's protocol under `/v1`.
//!
//! It translates and guards (bounds, host and origin, token, access level); what a job, an approval or an event *is* belongs
//! to the crates below. Every long answer is a stream that its reader pulls; nothing here keeps state of its own.

pub mod access;
mod approvals;
mod auth;
mod blobs;
mod cluster;
mod engines;
mod error;
mod events;
mod explain;
mod jobs;
pub mod metrics;
mod node;
pub mod openai;
mod origin;
pub mod plain;
mod results;
mod routes;
mod server;
mod state;
mod sweep;
mod timeline;
pub mod wire;

pub use access::Access;
pub use error::{ApiError, ErrorBody};
pub use metrics::Figures;
pub use origin::HostNames;
pub use routes::{OPENAPI, Route, routes};
pub use server::serve;
pub use state::{ApiOptions, ApiState, Forget, HEARTBEAT};
pub use sweep::digests_in;
