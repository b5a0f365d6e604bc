//! The wire: how messages and blobs of state become bytes.
//!
//! The bytes are those of bincode 2 `standard()` (little endian, varints), written by `wincode`,
//! which is maintained; a test holds the two equal. Journals don't use this: what must be readable
//! in ten years is JSON there.
//!
//! Enum variants and struct fields are append-only. What is hashed uses `BTreeMap`, since the order
//! of a `HashMap` is no one's.

mod checked;
mod checksum;
mod frame;

pub use checked::{CheckedText, TextRule};
pub(crate) use checksum::crc32c;
pub use frame::{FRAME_HEADER_BYTES, frame, unframe};

use wincode::config::Configuration;
use wincode::int_encoding::{LittleEndian, VarInt};
use wincode::len::BincodeLen;
use wincode::{SchemaRead, SchemaWrite};

/// The largest encoded value: what is larger is a blob.
pub const MAX_ENCODED_BYTES: usize = 8 << 20;

/// The one configuration of the codec.
pub type WireConfig = Configuration<true, MAX_ENCODED_BYTES, BincodeLen, LittleEndian, VarInt, u32, MAX_ENCODED_BYTES>;

const WIRE: WireConfig = Configuration::default()
    .with_varint_encoding()
    .with_preallocation_size_limit::<MAX_ENCODED_BYTES>()
    .with_deserialization_size_limit::<MAX_ENCODED_BYTES>();

/// A type that can travel. Never implemented by hand: derive `SchemaWrite` and `SchemaRead`.
pub trait Wire: SchemaWrite<WireConfig, Src = Self> + for<'de> SchemaRead<'de, WireConfig, Dst = Self> + Sized {}

impl<T> Wire for T where T: SchemaWrite<WireConfig, Src = T> + for<'de> SchemaRead<'de, WireConfig, Dst = T> + Sized {}

/// Why bytes could not be made or read. Retrying the same bytes never helps.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("could not encode: {0}")]
    Encode(#[from] wincode::error::WriteError),
    #[error("could not decode: {0}")]
    Decode(#[from] wincode::error::ReadError),
    #[error("{bytes} bytes are more than the {limit} that a message may have; send a blob instead")]
    TooLarge { bytes: usize, limit: usize },
    #[error("not a frame: {0}")]
    BadFrame(&'static str),
    #[error("frame damaged: checksum is {found:08x}, should be {expected:08x}")]
    Checksum { expected: u32, found: u32 },
}

/// The bytes of `value`.
pub fn encode<T: Wire>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = usize::try_from(wincode::config::serialized_size(value, WIRE)?).unwrap_or(usize::MAX);
    if bytes > MAX_ENCODED_BYTES {
        return Err(CodecError::TooLarge { bytes, limit: MAX_ENCODED_BYTES });
    }
    Ok(wincode::config::serialize(value, WIRE)?)
}

/// The value that exactly these bytes hold; leftover bytes are an error.
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MAX_ENCODED_BYTES {
        return Err(CodecError::TooLarge { bytes: bytes.len(), limit: MAX_ENCODED_BYTES });
    }
    Ok(wincode::config::deserialize_exact(bytes, WIRE)?)
}

#[cfg(test)]
mod tests;
