//! What is kept of a stream that may be longer than anyone wants to read: its head and its tail.
//!
//! Compilers say what is wrong first, test runners say it last, so both ends are kept and the middle is counted.

use std::collections::VecDeque;

/// Head and tail of an output stream, with the size of what was left out between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clip {
    /// The first bytes, as written.
    pub head: Vec<u8>,
    /// The last bytes; empty when nothing was left out.
    pub tail: Vec<u8>,
    /// Bytes left out between head and tail.
    pub omitted_bytes: u64,
    /// Line ends among the bytes left out.
    pub omitted_lines: u64,
}

impl Clip {
    /// A whole stream, nothing left out.
    pub fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        Self { head: bytes.into(), ..Self::default() }
    }

    /// True when bytes were left out.
    pub fn is_truncated(&self) -> bool {
        self.omitted_bytes > 0
    }

    /// Bytes that the program wrote, kept or not.
    pub fn total_bytes(&self) -> u64 {
        self.head.len() as u64 + self.tail.len() as u64 + self.omitted_bytes
    }

    /// The exact bytes, if none were left out.
    pub fn bytes(&self) -> Option<&[u8]> {
        (!self.is_truncated()).then_some(self.head.as_slice())
    }

    /// The text for a reader: undecodable bytes replaced, a line that counts what was left out between the ends.
    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.is_truncated() {
            let gap = format!("[... {} bytes ({} lines) left out ...]", self.omitted_bytes, self.omitted_lines);
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&gap);
            text.push('\n');
            text.push_str(&String::from_utf8_lossy(&self.tail));
        }
        text
    }
}

/// Collects a stream into a [`Clip`] with bounded memory.
#[derive(Debug)]
pub(crate) struct Clipper {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_max: usize,
    tail_max: usize,
    omitted_bytes: u64,
    omitted_lines: u64,
}

impl Clipper {
    /// Keeps at most `keep` bytes, half from each end.
    pub(crate) fn new(keep: u64) -> Self {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let tail_max = keep / 2;
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_max: keep - tail_max,
            tail_max,
            omitted_bytes: 0,
            omitted_lines: 0,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.head_max - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.tail_max);
        for byte in self.tail.drain(..excess) {
            self.omitted_bytes += 1;
            self.omitted_lines += u64::from(byte == b'\n');
        }
    }

    pub(crate) fn finish(mut self) -> Clip {
        let mut tail: Vec<u8> = self.tail.into();
        if self.omitted_bytes == 0 {
            self.head.append(&mut tail);
        }
        Clip { head: self.head, tail, omitted_bytes: self.omitted_bytes, omitted_lines: self.omitted_lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_stream_is_kept_whole() {
        let mut clipper = Clipper::new(10);
        clipper.push(b"0123");
        clipper.push(b"456789");
        assert_eq!(clipper.finish().bytes(), Some(&b"0123456789"[..]));
    }

    #[test]
    fn a_long_stream_keeps_both_ends_and_counts_the_middle() {
        let mut clipper = Clipper::new(8);
        clipper.push(b"abcd1\n2\n3wxyz");
        let clip = clipper.finish();
        assert_eq!((clip.head.as_slice(), clip.tail.as_slice()), (&b"abcd"[..], &b"wxyz"[..]));
        assert_eq!((clip.omitted_bytes, clip.omitted_lines), (5, 2));
        assert_eq!(clip.text(), "abcd\n[... 5 bytes (2 lines) left out ...]\nwxyz");
    }

    proptest! {
        #[test]
        fn however_it_arrives_the_clip_is_the_same(data in proptest::collection::vec(any::<u8>(), 0..400), keep in 0u64..100, cuts in proptest::collection::vec(1usize..50, 0..20)) {
            let mut whole = Clipper::new(keep);
            whole.push(&data);
            let mut pieces = Clipper::new(keep);
            let mut rest = data.as_slice();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let clip = whole.finish();
            prop_assert_eq!(&clip, &pieces.finish());
            prop_assert_eq!(clip.total_bytes(), data.len() as u64);
            prop_assert!(clip.head.len() as u64 + clip.tail.len() as u64 <= keep);
        }
    }
}
