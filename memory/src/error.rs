//! The one error type of this crate; each variant says what the caller can do.

use std::path::PathBuf;

/// Why memory could not answer.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The journal could not be read; retry once it answers again.
    #[error("the journal could not be read: {0}")]
    Journal(String),
    /// The memory actor did not answer in time or is gone; asking again is safe, a bundle changes nothing.
    #[error("memory did not answer: {0}")]
    Unanswered(String),
    /// The redaction key can't be used; the message names the file and the remedy.
    #[error("redaction key {}: {why}", path.display())]
    Key { path: PathBuf, why: String },
    /// A redaction rule is not a valid pattern: a fault of this program, not of its user.
    #[error("redaction rule {rule}: {why}")]
    Rule { rule: &'static str, why: String },
}
