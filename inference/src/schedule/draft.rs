//! Guesses at how a text goes on: what followed the same words before. Prompt lookup, Saxena 2023; useful where a reply
//! repeats its prompt, as an edit of code does.
//!
//! A guess costs a row in a step that is small anyhow, and changes nothing: a row's result is what it would have been,
//! and the first token that is chosen otherwise ends the guess. Where guesses fail they become shorter, and pause.

use std::collections::HashMap;

/// The end of the text that is looked for: so many tokens, the longer first.
const WORDS: [usize; 2] = [3, 2];
/// Steps without a guess after one that failed entirely; doubled each time, up to that many.
const PAUSE: u32 = 4;
const LONGEST_PAUSE: u32 = 64;

#[derive(Debug)]
struct Text {
    tokens: Vec<u32>,
    /// Where each pair of tokens was last, and the one before: the place behind it.
    last: HashMap<(u32, u32), (usize, Option<usize>)>,
    length: usize,
    pause: u32,
    next_pause: u32,
}

/// The texts of an engine's sequences, for guessing.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    texts: HashMap<u64, Text>,
}

impl Drafts {
    pub(crate) fn begin(&mut self, id: u64, prompt: &[u32]) {
        let text = Text { tokens: Vec::new(), last: HashMap::new(), length: 4, pause: 0, next_pause: PAUSE };
        self.texts.insert(id, text);
        self.extend(id, prompt);
    }

    pub(crate) fn extend(&mut self, id: u64, tokens: &[u32]) {
        let Some(text) = self.texts.get_mut(&id) else { return };
        for token in tokens {
            text.tokens.push(*token);
            let n = text.tokens.len();
            if n >= 2 {
                let pair = (text.tokens[n - 2], text.tokens[n - 1]);
                let before = text.last.get(&pair).map(|(last, _)| *last);
                text.last.insert(pair, (n, before));
            }
        }
    }

    pub(crate) fn end(&mut self, id: u64) {
        self.texts.remove(&id);
    }

    /// What may follow, at most so many tokens.
    pub(super) fn of(&mut self, id: u64, longest: usize) -> Vec<u32> {
        let Some(text) = self.texts.get_mut(&id).filter(|_| longest > 0) else { return Vec::new() };
        if text.pause > 0 {
            text.pause -= 1;
            return Vec::new();
        }
        let n = text.tokens.len();
        let Some((_, Some(before))) = n.checked_sub(2).and_then(|at| {
            let pair = (text.tokens[at], text.tokens[at + 1]);
            text.last.get(&pair).copied()
        }) else {
            return Vec::new();
        };
        // Three words that agree are better than two; with two a shorter guess is made.
        let three = n >= WORDS[0] && before >= WORDS[0] && text.tokens[before - 3] == text.tokens[n - 3];
        let length = if three { text.length } else { text.length.min(WORDS[1]) };
        text.tokens[before..].iter().take(length.min(longest)).copied().collect()
    }

    /// How a guess did.
    pub(crate) fn judged(&mut self, id: u64, guessed: usize, right: usize, longest: usize) {
        let Some(text) = self.texts.get_mut(&id).filter(|_| guessed > 0) else { return };
        if right == guessed {
            text.length = (text.length * 2).min(longest.max(1));
            text.next_pause = PAUSE;
        } else if right == 0 {
            text.length = (text.length / 2).max(2);
            text.pause = text.next_pause;
            text.next_pause = (text.next_pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_the_same_words_is_guessed() {
        let mut drafts = Drafts::default();
        drafts.begin(1, &[1, 2, 3, 4, 5, 6, 7, 1, 2, 3]);
        assert_eq!(drafts.of(1, 8), [4, 5, 6, 7]);
        drafts.extend(1, &[4]);
        assert_eq!(drafts.of(1, 2), [5, 6]);
        assert_eq!(drafts.of(1, 0), [0_u32; 0]);
    }

    #[test]
    fn a_text_without_repetition_is_not_guessed_at() {
        let mut drafts = Drafts::default();
        drafts.begin(1, &[1, 2, 3, 4, 5]);
        assert!(drafts.of(1, 8).is_empty());
        assert!(drafts.of(2, 8).is_empty());
    }

    #[test]
    fn guesses_that_fail_pause_and_those_that_succeed_grow() {
        let mut drafts = Drafts::default();
        let text: Vec<u32> = (0..20).chain(0..5).collect();
        drafts.begin(1, &text);
        drafts.judged(1, 4, 4, 16);
        assert_eq!(drafts.of(1, 16).len(), 8);
        drafts.judged(1, 8, 0, 16);
        assert!((0..PAUSE).all(|_| drafts.of(1, 16).is_empty()));
        assert_eq!(drafts.of(1, 16).len(), 4);
    }
}
