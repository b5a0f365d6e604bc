//! What can go wrong with blobs.

use std::io;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;

use super::Digest;

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("a blob may have {limit}, this one has more")]
    TooLarge { limit: ByteSize },
    /// Upload it (again), or ask who has it.
    #[error("there is no blob {0}")]
    NotFound(Digest),
    /// Delete it and upload it again.
    #[error("blob {0} is damaged on disk")]
    Damaged(Digest),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// The sender broke off.
    #[error("the upload broke off: {0}")]
    Upload(String),
    /// It is too large to be held in memory as a whole: read it in place, by its path.
    #[error("blob {digest} has more than the {limit} that may be held in memory")]
    TooLargeForMemory { digest: Digest, limit: ByteSize },
    /// It may exist, but no node that has it could be reached before the deadline. Ask again later: what has come in so far
    /// is kept.
    #[error("blob {digest} could not be fetched: {why}")]
    Away { digest: Digest, why: String },
    /// What came in wasn't what the name says, several times over: the copies elsewhere are damaged. Upload it again.
    #[error("blob {0} comes in damaged from every node that has it")]
    DamagedElsewhere(Digest),
    /// It is stored here, but the node that keeps blobs has not acknowledged it: it would be lost with this node. Put it
    /// again; nothing is stored twice.
    #[error("blob {digest} is not kept yet: {why}")]
    NotKept { digest: Digest, why: String },
    /// Who needs which blobs is known to the node that keeps them, and it gave no answer. Safe to try again.
    #[error("the node that keeps blobs can't be asked: {0}")]
    NoKeeper(String),
    /// Too many blobs are being fetched at once. Try again later.
    #[error("too many blobs are being fetched at once")]
    Busy,
}

impl BlobError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// The same for another of those who wait for one result.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::TooLarge { limit } => Self::TooLarge { limit: *limit },
            Self::NotFound(digest) => Self::NotFound(*digest),
            Self::Damaged(digest) => Self::Damaged(*digest),
            Self::Io { path, source } => {
                Self::Io { path: path.clone(), source: io::Error::new(source.kind(), source.to_string()) }
            }
            Self::Upload(why) => Self::Upload(why.clone()),
            Self::TooLargeForMemory { digest, limit } => Self::TooLargeForMemory { digest: *digest, limit: *limit },
            Self::Away { digest, why } => Self::Away { digest: *digest, why: why.clone() },
            Self::DamagedElsewhere(digest) => Self::DamagedElsewhere(*digest),
            Self::NotKept { digest, why } => Self::NotKept { digest: *digest, why: why.clone() },
            Self::NoKeeper(why) => Self::NoKeeper(why.clone()),
            Self::Busy => Self::Busy,
        }
    }
}
