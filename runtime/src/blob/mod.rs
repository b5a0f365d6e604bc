//! Large payloads, stored once under the hash of their content.
//!
//! A blob is a file `ab/cdef…` of mode 0600 below the store's folder. It is written to a temporary
//! file, fsynced, then renamed: a name that exists has all of its content. Reading checks the hash.
//!
//! [`BlobStore`] is one machine's disk. [`Blobs`] is what actors use: the disk, and the way to other nodes. One node of a
//! cluster *keeps* blobs: what is put anywhere is acknowledged when it is on the keeper's disk, and the keeper knows who
//! needs what (*holders*) and removes what nobody needs. The others *cache*: a blob that is asked for and isn't here is
//! fetched once, however many ask, in pieces, from the keeper or from another node that has it.
//!
//! Data flows so: [`Blobs`] → memory → disk → flight (one a blob) → pieces from a node's [`BlobActor`] → partial file →
//! hash → disk. `Books` decides what may go; `Shelf` does what the books say.

mod actor;
mod blobs;
mod books;
mod digest;
mod error;
mod fetch;
mod flights;
mod holder;
mod memory;
mod message;
mod options;
mod partial;
mod peers;
mod shelf;
mod stats;
mod store;
mod sweep;
mod write;

pub use actor::BlobActor;
pub use blobs::{BlobRole, Blobs, BlobsSetup, Clock};
pub use digest::Digest;
pub use error::BlobError;
pub use holder::Holder;
pub use message::BlobMsg;
pub use options::BlobsOptions;
pub use peers::{BlobPeers, NoPeers};
pub use shelf::InUse;
pub use stats::BlobStats;
pub use store::{BlobOptions, BlobStore};

#[cfg(test)]
mod tests;
