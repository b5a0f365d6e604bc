//! Names and words in text, without knowing its language.
//!
//! Failure output, stories and source are all searched for the same thing: names. What counts as a
//! name is the same in the three languages that Fleet reads, so one scanner serves them all.

use std::collections::BTreeSet;

/// The names in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Each name.
    pub all: BTreeSet<String>,
    /// Those followed by `(`.
    pub called: BTreeSet<String>,
}

impl Names {
    /// Scans a text.
    pub fn of(text: &str) -> Self {
        let mut names = Self::default();
        names.add(text);
        names
    }

    /// Scans one more text.
    pub fn add(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if !starts_name(bytes[at]) {
                at += 1;
                continue;
            }
            let end = (at..bytes.len()).find(|&i| !continues_name(bytes[i])).unwrap_or(bytes.len());
            let name = text.get(at..end).unwrap_or_default().to_owned();
            if bytes.get(end) == Some(&b'(') {
                self.called.insert(name.clone());
            }
            self.all.insert(name);
            at = end;
        }
    }
}

fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn continues_name(byte: u8) -> bool {
    starts_name(byte) || byte.is_ascii_digit()
}

/// The parts of a name: `parseLine_2` → `parse`, `line`, `2`; lower case.
pub fn parts(name: &str) -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    let mut part = String::new();
    let mut lower_before = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower_before) {
            parts.insert(std::mem::take(&mut part));
        }
        lower_before = c.is_lowercase() || c.is_numeric();
        if c.is_alphanumeric() {
            part.extend(c.to_lowercase());
        }
    }
    parts.insert(part);
    parts.remove("");
    parts
}

/// The words of prose, lower case, without their plural `s`, and without those that say nothing.
pub fn prose(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .flat_map(parts)
        .map(|w| stem(&w))
        .filter(|w| w.len() > 2 && !STOP_WORDS.contains(&w.as_str()))
        .collect()
}

/// The plural's end is cut, so that `items` meets `item`.
pub fn stem(word: &str) -> String {
    match word.strip_suffix('s') {
        Some(stem) if stem.len() > 2 && !stem.ends_with('s') => stem.to_owned(),
        _ => word.to_owned(),
    }
}

const STOP_WORDS: &[&str] = &[
    "the", "and", "for", "not", "but", "with", "that", "thi", "when", "then", "must", "should", "are", "was", "has",
    "have", "from", "into", "than", "only", "all", "any", "each", "one", "two", "get", "set", "test", "use", "used",
    "its", "there", "what", "which", "who", "does", "will", "can", "may", "more", "less",
];

/// The texts in quotes that failure output shows, such as expected and actual values.
pub fn quoted(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for quote in ['\'', '"', '`'] {
        for line in text.lines() {
            let pieces: Vec<&str> = line.split(quote).collect();
            let inside = pieces.iter().skip(1).step_by(2).take(pieces.len().saturating_sub(1) / 2);
            found.extend(inside.filter(|s| (3..60).contains(&s.trim().len())).map(|s| (*s).to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn calls_are_told_from_mentions() {
        let names = Names::of("cart.total(items) == Price.zero");
        assert_eq!(names.called, set(&["total"]));
        assert_eq!(names.all, set(&["cart", "total", "items", "Price", "zero"]));
    }

    #[test]
    fn snake_and_camel_names_fall_into_the_same_parts() {
        assert_eq!(parts("parse_line2"), set(&["parse", "line2"]));
        assert_eq!(parts("parseLine"), set(&["parse", "line"]));
        assert_eq!(parts("__init__"), set(&["init"]));
    }

    #[test]
    fn prose_keeps_what_means_something() {
        assert_eq!(prose("The total must count all items."), set(&["total", "count", "item"]));
    }

    #[test]
    fn values_in_quotes_are_found_on_each_line() {
        assert_eq!(quoted("AssertionError: 'a, b' != 'a;b'\nisn't it"), set(&["a, b", "a;b"]));
    }
}
