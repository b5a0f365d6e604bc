//! The placeholder that stands where a secret stood: `⟦secret:RULE:TAG⟧`.
//!
//! The tag is a keyed hash of the secret: the same secret has the same tag within a project, so
//! that two places can be seen to hold the same one; it can't be reversed, nor joined across
//! projects.

use std::ops::Range;

use fleet_runtime::ProjectId;

/// How every placeholder begins.
pub const OPEN: &str = "⟦secret:";
/// How it ends.
const CLOSE: char = '⟧';
/// Hexadecimal digits of the tag: enough to tell the secrets of one project apart.
const TAG: usize = 8;

/// The placeholder of a secret.
#[must_use]
pub fn placeholder(key: &[u8; 32], project: &ProjectId, rule: &str, secret: &str) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    let project = project.to_string();
    hasher.update(&(project.len() as u64).to_le_bytes());
    hasher.update(project.as_bytes());
    hasher.update(secret.as_bytes());
    let tag = hasher.finalize().to_hex();
    format!("{OPEN}{rule}:{}{CLOSE}", &tag.as_str()[..TAG])
}

/// The places of all well-formed placeholders, in order.
pub fn placeholders(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    text.match_indices(OPEN).filter_map(|(start, _)| {
        let length = well_formed(&text[start..])?;
        Some(start..start + length)
    })
}

/// Length of the placeholder at the beginning of this text.
fn well_formed(text: &str) -> Option<usize> {
    let rest = text.strip_prefix(OPEN)?;
    let (inner, _) = rest.split_once(CLOSE)?;
    let (rule, tag) = inner.rsplit_once(':')?;
    let names_a_rule =
        !rule.is_empty() && rule.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let is_tag = tag.len() == TAG && tag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (names_a_rule && is_tag).then(|| OPEN.len() + inner.len() + CLOSE.len_utf8())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_tag_depends_on_secret_project_and_key() {
        let (one, two): (ProjectId, ProjectId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let base = placeholder(&[1; 32], &one, "jwt", "s");
        assert_eq!(base, placeholder(&[1; 32], &one, "jwt", "s"));
        assert_ne!(base, placeholder(&[1; 32], &one, "jwt", "t"));
        assert_ne!(base, placeholder(&[1; 32], &two, "jwt", "s"));
        assert_ne!(base, placeholder(&[2; 32], &one, "jwt", "s"));
    }

    #[test]
    fn only_well_formed_placeholders_count() {
        let text = "a ⟦secret:jwt:0123abcd⟧ b ⟦secret:jwt:0123abc⟧ ⟦secret:JWT:0123abcd⟧ ⟦secret::0123abcd⟧ ⟦secret:x";
        let found: Vec<&str> = placeholders(text).map(|range| &text[range]).collect();
        assert_eq!(found, ["⟦secret:jwt:0123abcd⟧"]);
    }
}
