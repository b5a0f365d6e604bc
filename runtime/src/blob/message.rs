//! What the blobs of different nodes say to each other.

use wincode::{SchemaRead, SchemaWrite};

use super::{Digest, Holder};
use crate::actor::{Message, Payload, Ref, ReplyTo};

/// What a node's [`BlobActor`](super::BlobActor) is told.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum BlobMsg {
    /// A piece of a blob; whoever asks decides how many are on their way, and so how many bytes.
    #[doc(hidden)]
    Read { digest: Digest, offset: u64, len: u32, reply: ReplyTo<Piece> },
    /// To the keeper: fetch this blob from `from` and keep it. Answered when it is on disk.
    #[doc(hidden)]
    Keep { digest: Digest, from: Ref<BlobMsg>, within_ms: u64, reply: ReplyTo<Done> },
    /// To the keeper.
    #[doc(hidden)]
    Hold { digest: Digest, holder: Holder, reply: ReplyTo<Done> },
    /// To the keeper.
    #[doc(hidden)]
    Release { digest: Digest, holder: Holder, reply: ReplyTo<Done> },
    /// To the keeper: release all that it holds, and delete what nobody else does.
    #[doc(hidden)]
    Forget { holder: Holder, reply: ReplyTo<Done> },
    /// From the keeper to a cache: these were deleted.
    #[doc(hidden)]
    Deleted { digests: Vec<Digest> },
}

impl Message for BlobMsg {
    const KIND: &'static str = "fleet.blobs";
}

/// An answer to [`BlobMsg::Read`].
#[doc(hidden)]
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum Piece {
    /// `whole`: bytes of the whole blob.
    Bytes { whole: u64, bytes: Payload },
    /// This node doesn't have it.
    NotHere,
    /// It has it and can't read it.
    Unreadable(String),
}

/// An answer to what the keeper is told.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Done {
    Yes,
    /// There is no such blob.
    NotFound,
    /// Trying again may help.
    NotNow(String),
    /// Trying again won't help.
    Refused(String),
}
