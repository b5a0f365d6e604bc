//! Context bundles: what one agent may see.
//!
//! Flow: a [`BundleRequest`] names stream, role, phase and budget and brings the materials that only
//! the caller has (source text, a test's output). [`scope`] says which facts of the stream belong to
//! this role in this phase, [`pack()`] decides what fits, [`context`] is the result.
//! All of it is pure: same position and same request give the same bytes.

pub mod context;
pub mod pack;
pub mod request;
pub mod scope;

pub use context::{ContextBundle, Omitted, Section};
pub use pack::pack;
pub use request::{BundleRequest, Material};
