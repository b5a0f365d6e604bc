//! From tokens to readable text: whole characters only, and nothing of a stop text.

/// Collects the bytes of tokens and lets out what is certainly part of the reply.
pub(crate) struct TextOut {
    stops: Vec<String>,
    /// Bytes that may still become a character.
    bytes: Vec<u8>,
    /// Text that may still become a stop text.
    held: String,
}

impl TextOut {
    pub(crate) fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        Self { stops, bytes: Vec::new(), held: String::new() }
    }

    /// Takes a token's bytes; gives the text that can be shown, and true if a stop text came (nothing follows then).
    pub(crate) fn push(&mut self, bytes: &[u8]) -> (String, bool) {
        self.bytes.extend_from_slice(bytes);
        let whole = whole_characters(&self.bytes);
        let text: Vec<u8> = self.bytes.drain(..whole).collect();
        self.held.push_str(&String::from_utf8_lossy(&text));
        let stop = self.stops.iter().filter_map(|s| self.held.find(s.as_str())).min();
        if let Some(at) = stop {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let ready = self.held.len() - self.possible_stop();
        (self.held.drain(..ready).collect(), false)
    }

    /// The rest, when nothing follows. Half a character becomes the replacement character.
    pub(crate) fn finish(&mut self) -> String {
        let bytes = std::mem::take(&mut self.bytes);
        std::mem::take(&mut self.held) + &String::from_utf8_lossy(&bytes)
    }

    /// Length of the longest end of the held text that a stop text begins with.
    fn possible_stop(&self) -> usize {
        let begins = |n: usize| {
            self.stops.iter().any(|s| s.as_bytes().starts_with(&self.held.as_bytes()[self.held.len() - n..]))
        };
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        (1..longest.min(self.held.len() + 1)).rev().find(|n| begins(*n)).unwrap_or(0)
    }
}

/// How many of these bytes are whole characters; bytes that can't become one count as such.
fn whole_characters(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match std::str::from_utf8(&bytes[at..]) {
            Ok(_) => return bytes.len(),
            Err(e) => match e.error_len() {
                Some(bad) => at += e.valid_up_to() + bad,
                None => return at + e.valid_up_to(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn all(stops: &[&str], pieces: &[&[u8]]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|s| (*s).to_owned()).collect();
        let mut out = TextOut::new(&stops);
        let mut text = String::new();
        for piece in pieces {
            let (more, stopped) = out.push(piece);
            text.push_str(&more);
            if stopped {
                return (text, true);
            }
        }
        (text + &out.finish(), false)
    }

    #[test]
    fn a_character_spread_over_tokens_comes_out_whole() {
        let mut out = TextOut::new(&[]);
        assert_eq!(out.push(&[b'a', 0xE6]), ("a".into(), false));
        assert_eq!(out.push(&[0x97]), (String::new(), false));
        assert_eq!(out.push(&[0xA5, b'!']), ("日!".into(), false));
    }

    #[test]
    fn a_stop_text_is_cut_even_if_it_comes_in_pieces() {
        assert_eq!(all(&["```"], &[b"x = 1\n", b"`", b"``", b"rest"]), ("x = 1\n".into(), true));
        assert_eq!(all(&["END", "\n\n"], &[b"a\nb\n", b"\nEND"]), ("a\nb".into(), true));
    }

    #[test]
    fn the_beginning_of_a_stop_text_that_does_not_come_is_kept() {
        assert_eq!(all(&["```"], &[b"``", b"x`"]), ("``x`".into(), false));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_shown_of_a_stop(text in "[ab日]{0,20}", stop in "[ab]{1,3}", cut in 1_usize..5) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            let (shown, stopped) = all(&[&stop], &pieces);
            match text.find(&stop) {
                Some(at) => prop_assert_eq!((shown.as_str(), stopped), (&text[..at], true)),
                None => prop_assert_eq!((shown.as_str(), stopped), (text.as_str(), false)),
            }
        }
    }
}
