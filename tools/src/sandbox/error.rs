//! What can go wrong with the sandbox itself; what goes wrong inside it is a [`super::RunResult`].

use std::path::PathBuf;

/// A run could not be started or its outcome could not be learnt.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A layer is missing on this machine, and commands don't run without it.
    #[error("the sandbox can't run here: {what}; remedy: {remedy}")]
    Unavailable {
        /// The missing layer and how that was noticed.
        what: String,
        /// What an operator can do.
        remedy: String,
    },
    /// The run asks for something that can't or mustn't be done.
    #[error("the run is refused: {0}")]
    Refused(String),
    /// The sandbox broke while it was being set up; the command didn't run.
    #[error("the sandbox could not be set up: {0}")]
    Setup(String),
    /// The helper ended without saying what came of the run. Its processes are gone; the command may have run.
    #[error("the sandbox helper ended without a result: {0}")]
    HelperLost(String),
    /// A file or directory of the host could not be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl SandboxError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
