//! Bytes in a message that aren't copied on their way.

use bytes::Bytes;
use wincode::adapter::FromInto;
use wincode::{SchemaRead, SchemaWrite};

use super::crossing;

/// Up to this many bytes are written among the others: a copy is cheaper than a piece of its own.
const INLINE: usize = 1024;

/// A field for large bytes. Between nodes it travels beside the encoded message and arrives as a
/// slice of what was received; locally it moves.
#[derive(Clone, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Payload {
    #[wincode(with = "FromInto<Carried, Bytes>")]
    bytes: Bytes,
}

impl Payload {
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into() }
    }

    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl std::ops::Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(SchemaWrite, SchemaRead)]
enum Carried {
    Inline(Vec<u8>),
    /// A piece of what is attached.
    Attached {
        at: u64,
        len: u64,
    },
}

impl From<&Bytes> for Carried {
    fn from(bytes: &Bytes) -> Self {
        let attached = if bytes.len() > INLINE { crossing::attach(bytes) } else { None };
        match attached {
            Some(at) => Self::Attached { at, len: bytes.len() as u64 },
            None => Self::Inline(bytes.to_vec()),
        }
    }
}

impl From<Carried> for Bytes {
    fn from(carried: Carried) -> Self {
        match carried {
            Carried::Inline(bytes) => bytes.into(),
            Carried::Attached { at, len } => crossing::detach(at, len),
        }
    }
}
