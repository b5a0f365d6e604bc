//! Who proposes what in a wave.
//!
//! Each suspect has a weight: the points of the evidence against it, more where a change there got
//! somewhere when it was executed, less where nothing came of several tries. The proposals of a wave
//! are dealt out by Webster's method (the next one goes to the suspect with the largest weight /
//! (2 × tries + 1)), so that the tries are in proportion to the weights as they grow.
//! Source: F. Pukelsheim, Proportional Representation, 2nd edition, Springer 2017, chapter 4.
//!
//! The first try on a suspect is the model's most likely answer; the others are sampled, because
//! identical questions at temperature 0 get identical answers. Every second try on a suspect answers
//! what the run of the best earlier one said, if there is one that has not been answered yet. Every third
//! is written in the suspect's other form, where it has one. And where a change got somewhere without
//! arriving, tries on the other suspects keep that change and add to it: some faults have two places.
//!
//! Only waves that are complete have a say, so the slots of a wave are the same whenever they are asked for.

use std::collections::BTreeSet;

use super::StoryCore;
use super::rank::order;
use crate::event::{Candidate, Form, Measured};

/// One proposal to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Index over all waves.
    pub attempt: u32,
    /// The wave.
    pub round: u32,
    /// Index within the wave.
    pub place: u32,
    /// Index of the suspect.
    pub candidate: u32,
    /// How many tries on this suspect came before; the first asks for the most likely answer.
    pub nth: u32,
    /// The attempt whose failure is answered.
    pub repairs: Option<u32>,
    /// The attempt whose change is kept and added to.
    pub builds_on: Option<u32>,
    /// How the change is to be written.
    pub form: Form,
}

/// A function that is suspected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspect {
    /// What proposals about it name as their target.
    target: String,
    /// Points against it, at least 1.
    score: u32,
    /// At least one.
    forms: Vec<Form>,
}

impl Suspect {
    fn form(&self, nth: u32) -> Form {
        let other = nth % 3 == 2;
        let form = self.forms.get(usize::from(other)).or(self.forms.first());
        form.copied().unwrap_or_default()
    }
}

/// A suspect with less than this part of the first one's points isn't worth a proposal at first.
const STRONG_PART: u32 = 4;
/// Tries on a suspect without any change that builds, after which it counts least.
const BARREN_TRIES: usize = 3;
/// Proposals in a row that came to programs known already, after which no more are made.
const STALE: u32 = 16;

/// What a suspect's points are multiplied by.
const BARREN: u64 = 1;
const DOUBTFUL: u64 = 2;
const USUAL: u64 = 4;
const PROMISING: u64 = 12;

pub(super) fn suspects(candidates: &[Candidate]) -> Vec<Suspect> {
    let suspect = |c: &Candidate| Suspect { target: c.target(), score: c.score.max(1), forms: c.forms.clone() };
    candidates.iter().map(suspect).collect()
}

/// What is dealt out from.
struct Deal {
    weights: Vec<u64>,
    tries: Vec<u32>,
}

impl Deal {
    /// The suspect that has the largest claim to the next try.
    fn next(&mut self) -> usize {
        let quotient = |i: usize| (self.weights[i], 2 * u64::from(self.tries[i]) + 1);
        let mut first = 0;
        for i in 1..self.weights.len() {
            let ((w, d), (best, by)) = (quotient(i), quotient(first));
            if w.saturating_mul(by) > best.saturating_mul(d) {
                first = i;
            }
        }
        self.tries[first] += 1;
        first
    }
}

impl StoryCore {
    /// How many proposals a wave has. Zero: there are none left.
    pub(super) fn size(&self, wave: u32) -> u32 {
        let all = self.limits.proposals.saturating_mul(self.went_on + 1);
        let left = all.saturating_sub(self.begin(wave));
        left.min(self.full(wave))
    }

    /// The first attempt of a wave.
    fn begin(&self, wave: u32) -> u32 {
        let first = u32::try_from(self.limits.first.len()).unwrap_or(u32::MAX);
        let early: u32 = (0..wave.min(first)).map(|w| self.full(w)).fold(0, u32::saturating_add);
        early.saturating_add(wave.saturating_sub(first).saturating_mul(self.limits.wave))
    }

    fn full(&self, wave: u32) -> u32 {
        if self.limits.pool {
            return self.limits.proposals;
        }
        self.limits.first.get(wave as usize).map_or(self.limits.wave, |n| (*n).max(1))
    }

    /// The slots of a wave, in order. Waves before it must be complete.
    pub fn slots(&self, wave: u32) -> Vec<Slot> {
        let suspects = self.suspects.as_deref().unwrap_or_default();
        if suspects.is_empty() {
            return Vec::new();
        }
        let begin = self.begin(wave);
        let mut answered: BTreeSet<u32> = self.before(begin).filter_map(|(_, a)| a.proposal.repairs).collect();
        let mut added: BTreeSet<(u32, &str)> =
            self.before(begin).filter_map(|(_, a)| Some((a.proposal.builds_on?, a.proposal.target.as_str()))).collect();
        let mut deal = self.deal(suspects, wave, begin, &added);
        let mut slots = Vec::new();
        for place in 0..self.size(wave) {
            let i = deal.next();
            let (suspect, nth) = (&suspects[i], deal.tries[i] - 1);
            let builds_on = self.extensible(suspect, begin, &added);
            added.extend(builds_on.map(|n| (n, suspect.target.as_str())));
            let repairs = (builds_on.is_none() && nth % 2 == 1 && !self.limits.pool)
                .then(|| self.repairable(suspect, begin, &answered))
                .flatten();
            answered.extend(repairs);
            slots.push(Slot {
                attempt: begin + place,
                round: wave,
                place,
                candidate: u32::try_from(i).unwrap_or(u32::MAX),
                nth,
                repairs,
                builds_on,
                form: suspect.form(nth),
            });
        }
        slots
    }

    /// The best attempt about another suspect that got somewhere and that this one has not added to.
    fn extensible(&self, suspect: &Suspect, begin: u32, added: &BTreeSet<(u32, &str)>) -> Option<u32> {
        if self.limits.pool {
            return None;
        }
        self.before(begin)
            .filter(|(n, a)| a.proposal.target != suspect.target && a.executed == Some(*n))
            .filter_map(|(n, a)| Some((n, a.verdict.as_ref()?)))
            .filter(|(n, m)| m.gets_somewhere() && !m.passes() && !added.contains(&(*n, suspect.target.as_str())))
            .min_by_key(|(n, m)| order(*n, m, 0, 1))
            .map(|(n, _)| n)
    }

    fn before(&self, begin: u32) -> impl Iterator<Item = (u32, &super::Attempt)> {
        self.attempts.range(..begin).map(|(n, a)| (*n, a))
    }

    fn about<'a>(&'a self, suspect: &'a Suspect, begin: u32) -> impl Iterator<Item = (u32, &'a super::Attempt)> {
        self.before(begin).filter(|(_, a)| a.proposal.target == suspect.target)
    }

    /// The strong suspects at first, then more, in case the evidence misleads.
    fn deal(&self, suspects: &[Suspect], wave: u32, begin: u32, added: &BTreeSet<(u32, &str)>) -> Deal {
        let first = suspects.first().map_or(0, |s| s.score);
        let strong = |s: &&Suspect| s.score.saturating_mul(STRONG_PART) >= first;
        let cautious = !self.limits.pool && (wave as usize) < self.limits.first.len().max(1);
        let shown = if cautious { suspects.iter().take_while(strong).count() } else { suspects.len() };
        let shown = shown.clamp(1, self.limits.candidates as usize).min(suspects.len());
        let used = &suspects[..shown];
        let tries = used.iter().map(|s| u32::try_from(self.about(s, begin).count()).unwrap_or(u32::MAX)).collect();
        let weights = used.iter().map(|s| u64::from(s.score) * self.progress(s, begin, added)).collect();
        Deal { weights, tries }
    }

    /// What became of the tries on a suspect so far.
    fn progress(&self, suspect: &Suspect, begin: u32, added: &BTreeSet<(u32, &str)>) -> u64 {
        if self.limits.pool {
            return USUAL;
        }
        let tries = self.about(suspect, begin).count();
        let seen: Vec<&Measured> = self.about(suspect, begin).filter_map(|(_, a)| a.verdict.as_ref()).collect();
        // A model that gives a function back as it was sees nothing wrong with it.
        let changes = seen.iter().any(|m| m.builds && m.touched_protected.is_empty());
        match tries {
            _ if seen.iter().any(|m| m.gets_somewhere()) => PROMISING,
            0 => USUAL,
            _ if changes || self.extensible(suspect, begin, added).is_some() => USUAL,
            BARREN_TRIES.. => BARREN,
            _ => DOUBTFUL,
        }
    }

    /// The best attempt about a suspect whose run said something and has not been answered.
    fn repairable(&self, suspect: &Suspect, begin: u32, answered: &BTreeSet<u32>) -> Option<u32> {
        self.about(suspect, begin)
            .filter(|(n, a)| a.executed == Some(*n) && !answered.contains(n))
            .filter_map(|(n, a)| Some((n, a.verdict.as_ref()?)))
            .filter(|(_, m)| m.applies && m.touched_protected.is_empty() && !m.passes())
            .min_by_key(|(n, m)| order(*n, m, 0, 1))
            .map(|(n, _)| n)
    }

    /// Whether many proposals in a row came to nothing that wasn't known.
    pub(super) fn exhausted(&self, wave: u32) -> bool {
        let begin = self.begin(wave);
        let since = u32::try_from(self.went_on_at).unwrap_or(u32::MAX);
        if self.limits.pool || begin < since.saturating_add(STALE) {
            return false;
        }
        self.attempts.range(begin - STALE..begin).all(|(n, a)| a.executed != Some(*n))
    }
}
