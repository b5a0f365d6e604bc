//! Checks that streams are unbroken chains of whole events.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::Envelope;
use super::hash::Hash;
use crate::id::{Position, Seq};

/// A place where a stream isn't what was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainBreak {
    pub position: Position,
    /// As it stands there, which may itself be damaged.
    pub stream: String,
    pub seq: Seq,
    pub what: String,
}

impl fmt::Display for ChainBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, stream, seq, what } = self;
        write!(f, "position {position}, stream {stream:?}, seq {seq}: {what}")
    }
}

/// What a whole check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    pub events: u64,
    pub streams: u64,
    /// What the store says of its own structure, where it is damaged.
    pub structure: Vec<String>,
    pub breaks: Vec<ChainBreak>,
    /// Breaks beyond those listed.
    pub more_breaks: u64,
}

impl VerifyReport {
    /// A journal with more breaks than this isn't worth listing line by line.
    const MAX_LISTED: usize = 1_000;

    pub fn is_whole(&self) -> bool {
        self.breaks.is_empty() && self.structure.is_empty()
    }

    fn add(&mut self, found: ChainBreak) {
        if self.breaks.len() < Self::MAX_LISTED {
            self.breaks.push(found);
        } else {
            self.more_breaks += 1;
        }
    }
}

/// Checks events one after the other; they may come from many streams, each in its order.
///
/// After a break a stream is checked on from what stands there, so that one flipped bit is
/// reported once.
#[derive(Default)]
pub struct ChainCheck {
    ends: HashMap<String, (Seq, Hash)>,
    report: VerifyReport,
}

/// An event as a member of its chain.
pub(super) struct Link<'a> {
    pub position: Position,
    pub stream: &'a str,
    pub seq: Seq,
    pub prev_hash: Hash,
    pub hash: Hash,
    /// Whether the content is what was hashed.
    pub whole: bool,
}

impl ChainCheck {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn check(&mut self, envelope: &Envelope) {
        self.check_link(&Link {
            position: envelope.position,
            stream: envelope.stream.as_str(),
            seq: envelope.seq,
            prev_hash: envelope.prev_hash,
            hash: envelope.hash,
            whole: envelope.compute_hash().is_ok_and(|hash| hash == envelope.hash),
        });
    }

    pub fn finish(self) -> VerifyReport {
        VerifyReport { streams: self.ends.len() as u64, ..self.report }
    }

    pub(super) fn check_link(&mut self, link: &Link<'_>) {
        self.report.events += 1;
        if let Some(what) = fault(link, self.end(link.stream)) {
            self.report.add(ChainBreak {
                position: link.position,
                stream: link.stream.to_owned(),
                seq: link.seq,
                what,
            });
        }
        self.start_at(link.stream, link.seq, link.hash);
    }

    /// Whether the event is whole and links to what is known of its stream.
    pub(super) fn follows(&self, link: &Link<'_>) -> bool {
        fault(link, self.end(link.stream)).is_none()
    }

    fn end(&self, stream: &str) -> (Seq, Hash) {
        self.ends.get(stream).copied().unwrap_or((Seq(0), Hash::ZERO))
    }

    pub(super) fn knows(&self, stream: &str) -> bool {
        self.ends.contains_key(stream)
    }

    /// Says where the stream's chain is known to stand.
    pub(super) fn start_at(&mut self, stream: &str, seq: Seq, hash: Hash) {
        match self.ends.get_mut(stream) {
            Some(end) => *end = (seq, hash),
            None => drop(self.ends.insert(stream.to_owned(), (seq, hash))),
        }
    }
}

fn fault(link: &Link<'_>, (seq, hash): (Seq, Hash)) -> Option<String> {
    if !link.whole {
        Some("its content doesn't match its hash".into())
    } else if link.seq != seq.next() {
        Some(format!("it follows seq {seq}"))
    } else if link.prev_hash != hash {
        Some("it doesn't link to the event before it".into())
    } else {
        None
    }
}
