//! The order of proposals, by what was measured and nothing else.
//!
//! Lexicographic: not disqualified, applies, builds, target fixed, fewest newly failing tests, no case of
//! the tests written into the change, most tests passed. Where all of that is equal: the largest agreement on
//! further tests, the program that most attempts came to, fewest lines changed, lowest attempt. No clock has a say.
//!
//! Agreement is the number of attempts whose programs pass the same further tests, times the number of those tests.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Attempt, StoryCore};
use crate::event::{Measured, Place};

/// The order, the winner and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Best first.
    pub places: Vec<Place>,
    /// The first one, if it passed.
    pub winner: Option<u32>,
    /// Why this one, or why none.
    pub reason: String,
}

impl StoryCore {
    /// The order of all attempts so far.
    pub fn standing(&self) -> Standing {
        rank(&self.attempts)
    }
}

/// What is compared, the better the smaller. Names are those of the reasons below.
pub(super) type Key = (bool, bool, bool, bool, usize, bool, Reverse<u32>, Reverse<usize>, Reverse<usize>, u32, u32);

pub(super) fn order(attempt: u32, measured: &Measured, agreement: usize, votes: usize) -> Key {
    (
        !measured.touched_protected.is_empty(),
        !measured.applies,
        !measured.builds,
        !measured.target_fixed,
        measured.newly_failing.len(),
        !measured.special_cased.is_empty(),
        Reverse(measured.passed),
        Reverse(agreement),
        Reverse(votes),
        measured.lines_changed,
        attempt,
    )
}

/// Ranks attempts; those without a change come last, in their own order.
pub fn rank(attempts: &BTreeMap<u32, Attempt>) -> Standing {
    let votes = votes(attempts);
    let count = |a: &Attempt| a.proposal.patch().and_then(|p| votes.get(p.program())).copied().unwrap_or(1);
    let agreement = agreement(attempts, &votes);
    let agreed = |a: &Attempt| a.executed.and_then(|n| agreement.get(&n)).copied().unwrap_or(0);
    let place = |(n, a): (&u32, &'_ Attempt)| Some(order(*n, a.verdict.as_ref()?, agreed(a), count(a)));
    let mut executed: Vec<(Key, u32, &Measured)> =
        attempts.iter().filter_map(|(n, a)| Some((place((n, a))?, *n, a.verdict.as_ref()?))).collect();
    executed.sort_by_key(|(key, ..)| *key);
    let mut places = Vec::with_capacity(attempts.len());
    let mut before: Option<(&Key, u32, &Measured)> = None;
    for (key, n, measured) in &executed {
        let mut agreed = match key.8 {
            Reverse(..=1) => String::new(),
            Reverse(votes) => format!(", {votes} attempts came to it"),
        };
        if key.7.0 > 0 {
            agreed.push_str(&format!(", agreement on further tests {}", key.7.0));
        }
        let behind = before.map(|(k, m, b)| format!("; behind attempt {m}: {}", difference((k, b), (key, measured))));
        let reason = format!("{}{agreed}{}", describe(measured), behind.unwrap_or_default());
        places.push(Place { attempt: *n, reason });
        before = Some((key, *n, measured));
    }
    places.extend(
        attempts
            .iter()
            .filter(|(_, a)| a.verdict.is_none())
            .map(|(&attempt, a)| Place { attempt, reason: without_verdict(a) }),
    );
    let winner = executed.first().filter(|(_, _, m)| m.passes()).map(|(_, n, _)| *n);
    let reason = match (winner, places.first()) {
        (Some(n), Some(first)) => format!("attempt {n} stands first: {}", first.reason),
        (None, Some(first)) => format!("none passes; the best, attempt {}: {}", first.attempt, first.reason),
        (_, None) => "there is no proposal".into(),
    };
    Standing { places, winner, reason }
}

/// How many attempts came to each program.
fn votes(attempts: &BTreeMap<u32, Attempt>) -> BTreeMap<&str, usize> {
    let mut votes = BTreeMap::new();
    for patch in attempts.values().filter_map(|a| a.proposal.patch()) {
        *votes.entry(patch.program()).or_default() += 1;
    }
    votes
}

/// The agreement of each attempt that was run with further tests.
fn agreement(attempts: &BTreeMap<u32, Attempt>, votes: &BTreeMap<&str, usize>) -> BTreeMap<u32, usize> {
    let mut backed: BTreeMap<&BTreeSet<String>, usize> = BTreeMap::new();
    for attempt in attempts.values() {
        if let (Some(further), Some(patch)) = (&attempt.further, attempt.proposal.patch()) {
            *backed.entry(further).or_default() += votes.get(patch.program()).copied().unwrap_or(1);
        }
    }
    let of = |a: &Attempt| a.further.as_ref().map(|f| backed.get(f).copied().unwrap_or(0) * f.len());
    attempts.iter().filter_map(|(n, a)| Some((*n, of(a)?))).collect()
}

fn without_verdict(attempt: &Attempt) -> String {
    match &attempt.proposal.end {
        crate::event::ProposalEnd::Nothing { why } => format!("no change: {why}"),
        crate::event::ProposalEnd::Patch { .. } => "was never executed".into(),
    }
}

fn describe(m: &Measured) -> String {
    if !m.touched_protected.is_empty() {
        return format!("disqualified, it touched {}", m.touched_protected.join(", "));
    }
    if !m.applies {
        return "does not apply to the base".into();
    }
    if !m.builds {
        return "does not build".into();
    }
    let special = if m.special_cased.is_empty() {
        String::new()
    } else {
        format!(", special-cased for the tests' own {}", m.special_cased.join(", "))
    };
    let target = if m.target_fixed { "target fixed" } else { "target not fixed" };
    format!(
        "{target}, {} newly failing, {} passed, {} failed, {} lines changed{special}",
        m.newly_failing.len(),
        m.passed,
        m.failed,
        m.lines_changed
    )
}

/// The first measure in which two neighbours differ.
fn difference((b, better): (&Key, &Measured), (w, worse): (&Key, &Measured)) -> String {
    if b.0 != w.0 {
        "disqualified".into()
    } else if b.1 != w.1 {
        "does not apply".into()
    } else if b.2 != w.2 {
        "does not build".into()
    } else if b.3 != w.3 {
        "target not fixed".into()
    } else if b.4 != w.4 {
        format!("{} newly failing against {}", w.4, b.4)
    } else if b.5 != w.5 {
        "special-cased".into()
    } else if b.6 != w.6 {
        format!("{} tests passed against {}", worse.passed, better.passed)
    } else if b.7 != w.7 {
        format!("less agreement on further tests, {} against {}", w.7.0, b.7.0)
    } else if b.8 != w.8 {
        format!("fewer attempts came to it, {} against {}", w.8.0, b.8.0)
    } else if b.9 != w.9 {
        format!("{} lines changed against {}", w.9, b.9)
    } else {
        "equal in everything, and later".into()
    }
}
