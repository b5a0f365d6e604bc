//! Putting originals back when a file is written, and refusing edits that touch a placeholder.
//!
//! Kept in memory only and bounded: whoever wants to write a file has redacted it just before, so
//! the originals are known again after a restart without ever having been stored.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::placeholder::{OPEN, placeholders};

/// Originals kept a project; the oldest give way, and an edit that needs one of those is refused.
const CAPACITY: usize = 4096;

/// The originals behind the placeholders of one project. Cheap to clone; clones share the map.
#[derive(Clone, Default)]
pub struct Placeholders(Arc<Mutex<Originals>>);

#[derive(Default)]
struct Originals {
    by_placeholder: BTreeMap<String, Original>,
    order: VecDeque<String>,
}

/// What a placeholder stands for.
enum Original {
    Known(String),
    /// Two secrets share this tag; which one is meant can't be told.
    Ambiguous,
}

/// Why an edit was refused. An edit must keep every placeholder of the text it changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditRefused {
    /// Keep the placeholder where it is.
    #[error("the edit drops {0}: keep every placeholder of the text you change")]
    Drops(String),
    /// Remove it: a placeholder can't be made up.
    #[error("the edit adds {0}: a placeholder stands for a secret that you can't see, don't add one")]
    Adds(String),
    /// Restore the placeholder exactly as it was.
    #[error("the edit alters a placeholder: copy each one exactly as it is")]
    Alters,
}

impl Placeholders {
    /// Remembers what a placeholder stands for.
    pub(super) fn remember(&self, placeholder: &str, original: &str) {
        let mut originals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match originals.by_placeholder.get_mut(placeholder) {
            Some(Original::Known(known)) if known == original => {}
            Some(entry) => *entry = Original::Ambiguous,
            None => originals.insert(placeholder, original),
        }
    }

    /// The text with its originals put back; `None` where one of them is not known for sure.
    #[must_use]
    pub fn originals(&self, text: &str) -> Option<String> {
        let originals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut restored = String::with_capacity(text.len());
        let mut done = 0;
        for range in placeholders(text) {
            let Some(Original::Known(original)) = originals.by_placeholder.get(&text[range.clone()]) else {
                return None;
            };
            restored.push_str(&text[done..range.start]);
            restored.push_str(original);
            done = range.end;
        }
        restored.push_str(&text[done..]);
        Some(restored)
    }

    /// Whether an edit of a redacted text leaves every placeholder as it was. They may move.
    pub fn check_edit(before: &str, after: &str) -> Result<(), EditRefused> {
        let (had, has) = (count(before), count(after));
        let fragments = |text: &str| text.matches(OPEN).count() - placeholders(text).count();
        if fragments(before) != fragments(after) {
            return Err(EditRefused::Alters);
        }
        for (placeholder, times) in &had {
            if has.get(placeholder).copied().unwrap_or(0) < *times {
                return Err(EditRefused::Drops((*placeholder).to_owned()));
            }
        }
        for (placeholder, times) in &has {
            if had.get(placeholder).copied().unwrap_or(0) < *times {
                return Err(EditRefused::Adds((*placeholder).to_owned()));
            }
        }
        Ok(())
    }
}

impl Originals {
    fn insert(&mut self, placeholder: &str, original: &str) {
        if self.order.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_placeholder.remove(&oldest);
        }
        self.order.push_back(placeholder.to_owned());
        self.by_placeholder.insert(placeholder.to_owned(), Original::Known(original.to_owned()));
    }
}

/// Says how many, never which.
impl fmt::Debug for Placeholders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let originals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Placeholders").field("known", &originals.order.len()).finish()
    }
}

fn count(text: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for range in placeholders(text) {
        *counts.entry(&text[range]).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const P: &str = "⟦secret:jwt:0123abcd⟧";
    const Q: &str = "⟦secret:jwt:89abcdef⟧";

    #[test]
    fn an_edit_that_keeps_its_placeholders_is_accepted() {
        assert_eq!(Placeholders::check_edit(&format!("a={P}\n"), &format!("b={P}\nc=1\n")), Ok(()));
        assert_eq!(Placeholders::check_edit("plain", "other"), Ok(()));
    }

    #[test]
    fn an_edit_that_drops_adds_or_alters_one_is_refused() {
        let drops = Placeholders::check_edit(&format!("{P} {Q}"), P);
        assert_eq!(drops, Err(EditRefused::Drops(Q.to_owned())));
        let adds = Placeholders::check_edit(P, &format!("{P} {P}"));
        assert_eq!(adds, Err(EditRefused::Adds(P.to_owned())));
        let alters = Placeholders::check_edit(P, "⟦secret:jwt:0123⟧");
        assert_eq!(alters, Err(EditRefused::Alters));
    }

    #[test]
    fn originals_come_back_only_when_all_are_known() {
        let map = Placeholders::default();
        map.remember(P, "first");
        assert_eq!(map.originals(&format!("x={P};")), Some("x=first;".to_owned()));
        assert_eq!(map.originals(&format!("{P}{Q}")), None);
        assert_eq!(map.originals("none"), Some("none".to_owned()));
    }

    #[test]
    fn a_tag_shared_by_two_secrets_is_never_guessed() {
        let map = Placeholders::default();
        map.remember(P, "first");
        map.remember(P, "second");
        assert_eq!(map.originals(P), None);
    }

    #[test]
    fn the_map_is_bounded_and_its_debug_form_tells_nothing() {
        let map = Placeholders::default();
        for n in 0..CAPACITY + 10 {
            map.remember(&format!("⟦secret:jwt:{n:08x}⟧"), "topsecret");
        }
        assert_eq!(map.originals("⟦secret:jwt:00000000⟧"), None);
        assert_eq!(format!("{map:?}"), format!("Placeholders {{ known: {CAPACITY} }}"));
    }
}
