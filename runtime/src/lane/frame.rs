//! What goes over a lane's connections: a header of 32 bytes and a body.
//!
//! `len u32 | crc32c u32 | kind u8 | flags u8 | 0 u16 | channel u32 | seq u32 | head u32 | port u64 | body`, little endian.
//! The checksum is over all but itself. What `seq`, `head` and `port` mean depends on the kind.

use bytes::BufMut;

use super::LaneError;
use crate::codec::crc32c;

pub(super) const HEADER: usize = 32;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A channel begins: the body says which actor it leads to and what it takes.
    Open = 1,
    /// Message `seq` of a channel; `head` bytes of the body are encoded, the rest is attached.
    Deliver = 2,
    /// The answer to a question; `port` says which.
    Answer = 3,
    /// There will be no answer.
    NoAnswer = 4,
    /// Message `seq` of a channel was refused; the body says why, `port` which question was in it. No credit is given for it.
    Refused = 5,
    /// `seq` messages of a channel were taken, of `port` bytes together.
    Credit = 6,
    /// A message or answer of more than one chunk begins; the body is its length, and it follows in chunks.
    Begin = 7,
    Chunk = 8,
    /// A channel that nothing is on the way in ends.
    Close = 9,
    /// What has been taken is to be reported now.
    Settle = 10,
    /// Memory for large messages, number `seq`; the body says where it is found.
    Lend = 11,
    /// It is open; or, where `port` is 0, it can't be had.
    Opened = 12,
    /// What was in memory `seq` has been read.
    Return = 13,
    /// Memory `seq` will not be used any more.
    Recall = 14,
}

/// Of [`Kind::Begin`]: it is an answer.
pub(super) const ANSWER: u8 = 1;
/// Of [`Kind::Deliver`] and [`Kind::Answer`]: the body says in which memory the message lies.
pub(super) const LENT: u8 = 2;
/// Of [`Kind::Deliver`]: the encoded part begins with the trace that the message was sent in.
pub(super) const TRACED: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    pub flags: u8,
    pub channel: u32,
    pub seq: u32,
    pub head: u32,
    pub port: u64,
}

impl Header {
    pub fn new(kind: Kind) -> Self {
        Self { kind, flags: 0, channel: 0, seq: 0, head: 0, port: 0 }
    }

    /// Appends the header of a frame with this body.
    pub fn put(&self, out: &mut impl BufMut, body: &[&[u8]]) {
        let len: usize = body.iter().map(|part| part.len()).sum();
        let mut fields = [0; HEADER];
        let mut rest = &mut fields[..];
        // Bodies are bounded by the largest message, which is far below 4 GiB.
        rest.put_u32_le(u32::try_from(len).unwrap_or(u32::MAX));
        rest.put_u32_le(0);
        rest.put_slice(&[self.kind as u8, self.flags, 0, 0]);
        rest.put_u32_le(self.channel);
        rest.put_u32_le(self.seq);
        rest.put_u32_le(self.head);
        rest.put_u64_le(self.port);
        let sum = body.iter().fold(checksum(&fields), |sum, part| crc32c(sum, part));
        fields[4..8].copy_from_slice(&sum.to_le_bytes());
        out.put_slice(&fields);
    }
}

/// A header as it arrived; its body is still to come.
pub(super) struct Announced {
    pub header: Header,
    pub len: usize,
    expected: u32,
    sum: u32,
}

impl Announced {
    pub fn read(bytes: &[u8; HEADER]) -> Result<Self, LaneError> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let header = Header {
            kind: kind(bytes[8])?,
            flags: bytes[9],
            channel: word(12),
            seq: word(16),
            head: word(20),
            port: u64::from(word(24)) | u64::from(word(28)) << 32,
        };
        let mut fields = *bytes;
        fields[4..8].fill(0);
        Ok(Self { header, len: word(0) as usize, expected: word(4), sum: checksum(&fields) })
    }

    /// Whether the frame is as it was sent; the body is given once, in one piece or several.
    pub fn check(&self, body: &[u8]) -> Result<(), LaneError> {
        match crc32c(self.sum, body) == self.expected {
            true => Ok(()),
            false => Err(LaneError::Protocol("a frame was altered on its way: its checksum doesn't hold")),
        }
    }
}

fn checksum(fields: &[u8; HEADER]) -> u32 {
    crc32c(0, fields)
}

fn kind(byte: u8) -> Result<Kind, LaneError> {
    use Kind::{Answer, Begin, Chunk, Close, Credit, Deliver, NoAnswer, Open, Refused, Settle};
    use Kind::{Lend, Opened, Recall, Return};
    let all =
        [Open, Deliver, Answer, NoAnswer, Refused, Credit, Begin, Chunk, Close, Settle, Lend, Opened, Return, Recall];
    all.into_iter().find(|kind| *kind as u8 == byte).ok_or(LaneError::Protocol("a frame of an unknown kind"))
}
