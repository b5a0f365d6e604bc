//! A frame around an encoded value: says what it is, how long it is, and whether it is whole.
//!
//! `magic u16 | schema u16 | flags u8 | reserved u8 | len u32 | crc32c u32 | payload`, little
//! endian. The checksum covers header (with the checksum field as zero) and payload, so that a
//! flipped schema number doesn't decode as another type.

use super::{CodecError, MAX_ENCODED_BYTES, crc32c};

const MAGIC: u16 = 0xF1E7;
pub const FRAME_HEADER_BYTES: usize = 14;
const CRC_AT: usize = 10;

/// Wraps `payload`, which is of the given schema number, into a frame.
pub fn frame(schema: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&schema.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    // Saturates: a payload of 4 GiB is refused by every reader anyway.
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    let crc = checksum(&out, payload);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// The schema number and the payload of exactly one frame.
pub fn unframe(bytes: &[u8]) -> Result<(u16, &[u8]), CodecError> {
    let (header, payload) =
        bytes.split_first_chunk::<FRAME_HEADER_BYTES>().ok_or(CodecError::BadFrame("shorter than a header"))?;
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if u16_at(0) != MAGIC {
        return Err(CodecError::BadFrame("wrong magic"));
    }
    let len = u32_at(6) as usize;
    if len > MAX_ENCODED_BYTES {
        return Err(CodecError::TooLarge { bytes: len, limit: MAX_ENCODED_BYTES });
    }
    if len != payload.len() {
        return Err(CodecError::BadFrame("length doesn't match"));
    }
    let (expected, found) = (u32_at(CRC_AT), checksum(&header[..CRC_AT], payload));
    if expected != found {
        return Err(CodecError::Checksum { expected, found });
    }
    // Checked last: flags that this version doesn't know must not be skipped silently.
    if header[4] != 0 || header[5] != 0 {
        return Err(CodecError::BadFrame("flags of a newer version"));
    }
    Ok((u16_at(2), payload))
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c(crc32c(0, header), payload)
}
