//! The runtime's errors under one roof, for callers that only pass them on.

use crate::blob::BlobError;
use crate::codec::CodecError;
use crate::effect::EffectError;
use crate::id::IdError;
use crate::journal::JournalError;

/// Anything that the storage side of the runtime can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Effect(#[from] EffectError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Id(#[from] IdError),
}
