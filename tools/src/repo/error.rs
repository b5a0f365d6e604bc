//! What can go wrong with a repository, each with what the caller can do about it.

use std::path::PathBuf;

use crate::sandbox::SandboxError;

/// An operation on a repository failed.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The path isn't there.
    #[error("{}: no such directory; give the path of a git checkout", .0.display())]
    NoSuchPath(PathBuf),
    /// The path lies in no git repository.
    #[error("{}: not a git repository; run `git init` and commit, or give another path", .0.display())]
    NotARepository(PathBuf),
    /// The repository has no working tree.
    #[error("{}: a bare repository; give the path of a checkout (`git clone` it first)", .0.display())]
    Bare(PathBuf),
    /// The repository has no commit.
    #[error("{}: no commit yet; commit something first (`git add -A && git commit`)", .0.display())]
    Empty(PathBuf),
    /// The repository lacks a part of its history, so a bundle of it would be broken.
    #[error("{}: a shallow clone; run `git fetch --unshallow` first", .0.display())]
    Shallow(PathBuf),
    /// The repository is of a kind that isn't supported.
    #[error("{what} isn't supported; {remedy}")]
    Unsupported {
        /// What was found.
        what: String,
        /// What to do instead.
        remedy: String,
    },
    /// The repository has no such commit.
    #[error("{}: there is no commit {name:?}; `git log` shows those that there are", path.display())]
    NoSuchCommit {
        /// What was asked for.
        name: String,
        /// The repository.
        path: PathBuf,
    },
    /// Something is larger than the node allows.
    #[error("{what}: {actual} is more than the {limit} allowed")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large it is.
        actual: u64,
        /// The limit that it exceeds.
        limit: u64,
    },
    /// A bundle isn't one, or not one of the expected shape.
    #[error("the bundle is refused: {0}")]
    BadBundle(String),
    /// A name or id isn't well-formed.
    #[error("{what} {value:?} isn't well-formed")]
    BadName {
        /// What it should have been.
        what: &'static str,
        /// What it was.
        value: String,
    },
    /// A path of the tree would lead out of it, or into git's own files.
    #[error("the path {path:?} is refused: {why}")]
    UnsafePath {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The patch doesn't fit the base.
    #[error("the patch doesn't apply: {0}")]
    DoesNotApply(String),
    /// The key was used for a commit of other content.
    #[error("{key} has already been committed as {existing}, with other content")]
    KeyConflict {
        /// The key.
        key: String,
        /// What was committed under it.
        existing: String,
    },
    /// The branch exists and points elsewhere; it is never overwritten.
    #[error("the branch {branch} exists already, at {at}; rename or delete it, then fetch the result again")]
    BranchExists {
        /// The branch.
        branch: String,
        /// Where it points.
        at: String,
    },
    /// The commit doesn't descend from what was submitted, or that isn't in this repository.
    #[error(
        "{commit} doesn't descend from {base} in this repository; fetch the result into the checkout it was made for"
    )]
    NotDescended {
        /// The commit.
        commit: String,
        /// What it should descend from.
        base: String,
    },
    /// Git failed.
    #[error("git {command} failed: {detail}")]
    Git {
        /// The git command.
        command: String,
        /// What it said.
        detail: String,
    },
    /// Git didn't end in time and was killed.
    #[error("git {command} didn't end within {seconds} s")]
    GitTimeout {
        /// The git command.
        command: String,
        /// How long it was given.
        seconds: u64,
    },
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A file could not be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl RepoError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
