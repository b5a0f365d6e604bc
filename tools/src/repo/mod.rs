//! The code of a job: a base that a bundle brought, patches on top of it, and a commit in the end.
//!
//! ```text
//! client::make_pack ─▶ bundle ─▶ BaseRepo::import ─▶ checkout (plain files) ─▶ an agent's edits
//!        user's branch ◀─ client::import_result ◀─ bundle ◀─ commit ◀─ patch ◀─ diff ◀─┘
//! ```
//!
//! A [`BaseRepo`] is a bare repository that only the node reads; a [`Workspace`] is plain files without any git in it.
//! What is true of a job's code is base plus patches; a workspace can be made again at any time.
//!
//! All functions but the import block on files and processes: call them where blocking is allowed.

mod base;
pub(crate) mod beneath;
pub(crate) mod bundle;
mod checkout;
pub mod client;
mod commit;
mod diff;
mod error;
pub(crate) mod git;
mod id;
mod ignore;
pub mod path;
mod tree;
mod workspace;

pub use base::{BaseRepo, Caps};
pub use commit::{Commit, Person};
pub use diff::{Change, ChangeKind, Patch};
pub use error::RepoError;
pub use id::CommitId;
pub use path::{PathClass, PathRules};
pub use tree::{Entry, Kind, TreeId};
pub use workspace::Workspace;
pub(crate) use workspace::remove_tree;

#[cfg(test)]
pub(crate) mod tests;
