//! The rules, one family a file.
//!
//! A rule is data: keywords that must be near, a pattern, and the gate its finding must pass. The
//! secret is the capture group `secret`, or the whole match. Patterns run on bytes without Unicode;
//! `\w` is ASCII. Formats are the issuers' published ones. Distinctive prefixes carry no leading
//! `\b`: a secret pasted into the middle of a word is still one.

mod cloud;
mod generic;
mod service;
mod source;

/// What a finding has to be, beyond matching, to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The format is proof enough; only a minimum of entropy is asked for (`xxxxxxxx` is no key).
    Format,
    /// Found by the name it is assigned to: must look random.
    Random,
    /// A password by its name: may be weak, but not a word like `password` nor an expression.
    Password,
}

/// One kind of secret.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Name in the placeholder: lower-case letters, digits and `-`.
    pub id: &'static str,
    /// Any of these, without regard to case, makes the rule run around it.
    pub keywords: &'static [&'static str],
    /// The pattern, on bytes.
    pub pattern: &'static str,
    /// What a match has to be.
    pub gate: Gate,
    /// Bytes after the keyword within which the match must end; one that reaches this far is
    /// followed to its end.
    pub reach: usize,
}

/// Enough for what stands on one line.
const LINE: usize = 400;
/// Enough for an armoured key block.
const BLOCK: usize = 64 * 1024;

/// A rule whose format is proof enough.
const fn format(id: &'static str, keywords: &'static [&'static str], pattern: &'static str) -> Rule {
    Rule { id, keywords, pattern, gate: Gate::Format, reach: LINE }
}

/// A rule for text of many lines.
const fn block(id: &'static str, keywords: &'static [&'static str], pattern: &'static str) -> Rule {
    Rule { id, keywords, pattern, gate: Gate::Format, reach: BLOCK }
}

/// A rule that needs more than its format.
const fn gated(id: &'static str, gate: Gate, keywords: &'static [&'static str], pattern: &'static str) -> Rule {
    Rule { id, keywords, pattern, gate, reach: LINE }
}

/// All rules; where two find the same text, the earlier one names it.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [cloud::RULES, source::RULES, service::RULES, generic::RULES].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_that_a_placeholder_can_carry() {
        let mut names: Vec<&str> = all().map(|rule| rule.id).collect();
        let count = names.len();
        assert!(count >= 60, "{count} rules");
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_rule_has_keywords_that_are_selective() {
        for rule in all() {
            assert!(!rule.keywords.is_empty(), "{}", rule.id);
            assert!(rule.keywords.iter().all(|word| word.len() >= 2), "{}", rule.id);
        }
    }
}
