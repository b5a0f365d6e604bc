//! Finding secrets in a text: keywords, then patterns in windows, then the gate.
//!
//! Time is linear in the text: windows of one rule that overlap become one, so that a text full of
//! keywords costs one run of each pattern and no more.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aho_corasick::AhoCorasick;
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::gate;
use super::rules::{self, Rule};
use crate::error::MemoryError;

/// Bytes before a keyword in which a match may begin: the longest name of an assigned variable, or
/// what stands in front of a keyword in the middle of a token.
const BACK: usize = 240;

/// A stretch of the text that is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name of the rule.
    pub rule: &'static str,
    /// Bytes; on character boundaries.
    pub range: Range<usize>,
}

/// All rules, compiled.
pub struct Scanner {
    keywords: AhoCorasick,
    /// Rule indices by keyword index.
    rules_of: Vec<Vec<usize>>,
    rules: Vec<Compiled>,
}

struct Compiled {
    rule: &'static Rule,
    pattern: Regex,
}

/// Compiled once a process: it takes tens of milliseconds.
static SHARED: LazyLock<Result<Arc<Scanner>, (&'static str, String)>> =
    LazyLock::new(|| Scanner::compile().map(Arc::new));

impl Scanner {
    /// The scanner of this process.
    pub fn shared() -> Result<Arc<Self>, MemoryError> {
        match &*SHARED {
            Ok(scanner) => Ok(Arc::clone(scanner)),
            Err((rule, why)) => Err(MemoryError::Rule { rule, why: why.clone() }),
        }
    }

    fn compile() -> Result<Self, (&'static str, String)> {
        let rules: Vec<Compiled> = rules::all().map(Compiled::new).collect::<Result<_, _>>()?;
        let mut words: Vec<&str> = rules.iter().flat_map(|compiled| compiled.rule.keywords).copied().collect();
        words.sort_unstable();
        words.dedup();
        let wants = |word: &str| {
            let wanting = rules.iter().enumerate().filter(|(_, c)| c.rule.keywords.contains(&word));
            wanting.map(|(index, _)| index).collect()
        };
        let rules_of = words.iter().map(|word| wants(word)).collect();
        let keywords = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&words)
            .map_err(|error| ("keywords", error.to_string()))?;
        Ok(Self { keywords, rules_of, rules })
    }

    /// All secrets in a text: in order, not overlapping.
    #[must_use]
    pub fn scan(&self, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        for (index, windows) in self.windows(text) {
            if let Some(compiled) = self.rules.get(index) {
                for window in windows {
                    compiled.scan(text, window, |range| found.push((range, index)));
                }
            }
        }
        self.resolve(text, found)
    }

    /// Where each rule has to look. A rule that no keyword hints at is absent.
    fn windows(&self, text: &str) -> Vec<(usize, Vec<Range<usize>>)> {
        let mut by_rule: Vec<Vec<Range<usize>>> = vec![Vec::new(); self.rules.len()];
        for hit in self.keywords.find_overlapping_iter(text) {
            for &index in self.rules_of.get(hit.pattern().as_usize()).into_iter().flatten() {
                let (Some(windows), Some(compiled)) = (by_rule.get_mut(index), self.rules.get(index)) else { continue };
                let start = hit.start().saturating_sub(BACK);
                let end = (hit.end() + compiled.rule.reach).min(text.len());
                match windows.last_mut() {
                    Some(last) if start <= last.end => last.end = last.end.max(end),
                    _ => windows.push(start..end),
                }
            }
        }
        by_rule.into_iter().enumerate().filter(|(_, windows)| !windows.is_empty()).collect()
    }

    /// Overlapping findings become one, named by the rule that comes first in the list.
    fn resolve(&self, text: &str, mut found: Vec<(Range<usize>, usize)>) -> Vec<Finding> {
        found.sort_by_key(|(range, index)| (range.start, range.end, *index));
        let mut merged: Vec<(Range<usize>, usize)> = Vec::new();
        for (range, index) in found {
            match merged.last_mut() {
                Some((last, first)) if range.start < last.end => {
                    last.end = last.end.max(range.end);
                    *first = (*first).min(index);
                }
                _ => merged.push((range, index)),
            }
        }
        let named = |(range, index): (Range<usize>, usize)| {
            let rule = self.rules.get(index)?.rule.id;
            Some(Finding { rule, range: on_boundaries(text, range) })
        };
        merged.into_iter().filter_map(named).collect()
    }
}

impl Compiled {
    fn new(rule: &'static Rule) -> Result<Self, (&'static str, String)> {
        let pattern =
            RegexBuilder::new(rule.pattern).unicode(false).build().map_err(|error| (rule.id, error.to_string()))?;
        Ok(Self { rule, pattern })
    }

    /// Reports every match in the window that passes the gate. The haystack begins at the text's
    /// first byte, so that `^` and `\b` see what stands before the window.
    fn scan(&self, text: &str, window: Range<usize>, mut report: impl FnMut(Range<usize>)) {
        let mut end = window.end;
        let mut at = window.start;
        while let Some(found) = text.as_bytes().get(..end).and_then(|bytes| self.pattern.find_at(bytes, at)) {
            if found.end() == end && end < text.len() {
                // It may go on: look again with twice the window.
                end = (end + (end - window.start)).min(text.len());
                at = found.start();
                continue;
            }
            let Some(captures) = self.pattern.captures_at(&text.as_bytes()[..end], found.start()) else { break };
            let secret = captures.name("secret").map_or(found.range(), |group| group.range());
            if self.passes(&captures, text, &secret) {
                report(secret);
                at = found.end().max(at + 1);
            } else {
                // What was refused may have covered the beginning of another match.
                at = secret.start.max(found.start() + 1);
            }
        }
    }

    fn passes(&self, captures: &Captures<'_>, text: &str, secret: &Range<usize>) -> bool {
        let value = &text[on_boundaries(text, secret.clone())];
        let key = captures.name("key").map(|group| String::from_utf8_lossy(group.as_bytes()).into_owned());
        gate::passes(self.rule.gate, key.as_deref(), value)
    }
}

/// Widens a range of bytes to whole characters.
fn on_boundaries(text: &str, range: Range<usize>) -> Range<usize> {
    let mut start = range.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = range.end.min(text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_secret_longer_than_the_window_is_found_whole() {
        let body = "q7Rk2Zp9".repeat(200);
        let text = format!("id eyJ{body}.eyJ{body}.{body} end");
        let found = Scanner::shared().unwrap().scan(&text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rule, "jwt");
        assert_eq!(found[0].range, 3..text.len() - 4);
    }

    #[test]
    fn overlapping_findings_become_one_named_by_the_more_telling_rule() {
        let text = format!("api_token = \"ghp_{}\"", "a1B2c3D4e5".repeat(4));
        let found = Scanner::shared().unwrap().scan(&text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rule, "github-pat");
    }

    #[test]
    fn a_finding_never_cuts_a_character() {
        let text = format!("{} = \"gеhеim7ö!ß\" // ключ", "password");
        let found = Scanner::shared().unwrap().scan(&text);
        assert_eq!(found.len(), 1);
        for finding in found {
            assert!(text.is_char_boundary(finding.range.start) && text.is_char_boundary(finding.range.end));
        }
    }
}
