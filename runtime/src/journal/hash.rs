//! The hash of an envelope, over an encoding that is fixed for good.
//!
//! Two steps, so that the expensive one can be taken before the place in the stream is known:
//! `content = blake3(by, kind, version, caused_by, facts, payload)` by whoever appends, then
//! `hash = blake3(position, at, project, stream, seq, generation, prev_hash, content)` by the
//! single writer. Facts and payload enter as the JSON text that is stored; every field is
//! preceded by its length, so that no two envelopes have the same encoding.
//!
//! The chain shows damage and careless edits. It has no key: who can write the file can also
//! compute new hashes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::id::{Generation, IdError, Position, Seq};
use crate::time::Timestamp;

/// 32 bytes of BLAKE3, written as hex.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead,
)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What comes before the first event of a stream.
    pub const ZERO: Self = Self([0; 32]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        match blake3::Hash::from_hex(text) {
            Ok(hash) if lower => Ok(Self(*hash.as_bytes())),
            _ => Err(IdError { kind: "hash", text: text.to_owned(), rule: "64 lowercase hex digits" }),
        }
    }
}

impl TryFrom<String> for Hash {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> String {
        hash.to_string()
    }
}

/// What an event says, wherever it ends up.
pub(super) struct HashedContent<'a> {
    pub by: &'a str,
    pub kind: &'a str,
    pub version: u16,
    pub caused_by: Option<Position>,
    /// JSON text.
    pub facts: &'a str,
    /// JSON text.
    pub payload: &'a str,
}

impl HashedContent<'_> {
    pub fn hash(&self) -> Hash {
        let mut fields = Fields::new("fleet event content 1");
        fields.text(self.by);
        fields.text(self.kind);
        fields.number(u64::from(self.version));
        // Positions start at 1, so 0 is free to mean "nothing".
        fields.number(self.caused_by.map_or(0, Position::get));
        fields.text(self.facts);
        fields.text(self.payload);
        fields.finish()
    }
}

/// Where an event stands.
pub(super) struct HashedEnvelope<'a> {
    pub position: Position,
    pub at: Timestamp,
    pub project: &'a str,
    pub stream: &'a str,
    pub seq: Seq,
    pub generation: Generation,
    pub prev_hash: Hash,
}

impl HashedEnvelope<'_> {
    pub fn hash(&self, content: Hash) -> Hash {
        let mut fields = Fields::new("fleet event envelope 1");
        fields.number(self.position.0);
        fields.number(self.at.0.cast_unsigned());
        fields.text(self.project);
        fields.text(self.stream);
        fields.number(self.seq.0);
        fields.number(self.generation.0);
        fields.bytes(&self.prev_hash.0);
        fields.bytes(&content.0);
        fields.finish()
    }
}

struct Fields(blake3::Hasher);

impl Fields {
    fn new(domain: &str) -> Self {
        let mut fields = Self(blake3::Hasher::new());
        fields.text(domain);
        fields
    }

    fn number(&mut self, n: u64) {
        self.0.update(&n.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn finish(&self) -> Hash {
        Hash(*self.0.finalize().as_bytes())
    }
}
