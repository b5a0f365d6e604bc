//! Model files: which are known, where they lie, how they get there, and the proof that they are what they should be.
//!
//! A file enters the store only after its SHA-256 equals the catalogue's, by an atomic rename. Wheels and files given by
//! the user are untrusted data until then: they are parsed, never executed. Of what is inside a model only the list of its
//! files is read here.

mod assembly;
mod catalogue;
mod error;
mod fetch;
mod folder;
mod hash;
mod hub;
mod pull;
mod store;
mod wheels;

pub use catalogue::{Catalogue, CatalogueEntry, HubSource, ModelFile, ModelTask, WheelSource};
pub use error::ModelError;
pub use hash::sha256_file;
pub use hub::HubRepo;
pub use pull::{PullProgress, PullStep, Source};
pub use store::{ModelStatus, ModelStore, NewModel, StoredModel};
