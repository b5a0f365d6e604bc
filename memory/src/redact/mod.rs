//! Secrets never reach a disk.
//!
//! Text flows through three steps: one Aho-Corasick pass finds the keywords of all rules ([`scan`]),
//! the regexes of the rules that were hinted at run in a window around the keyword, a gate
//! ([`gate`]) throws out what is no secret (low entropy, git hashes, uuids, examples). What remains
//! becomes a placeholder ([`placeholder`]).
//!
//! Not here: personal data, and secrets without any keyword nearby. An entropy test alone would
//! flag every hash of an agent's log.

pub mod gate;
pub mod key;
pub mod placeholder;
pub mod redactor;
pub mod restore;
pub mod rules;
pub mod scan;

pub use redactor::SecretRedactor;
pub use restore::{EditRefused, Placeholders};
