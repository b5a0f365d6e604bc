//! Who proposes what in a round.
//!
//! The first proposal on each suspect is the model's most likely answer; the others are sampled,
//! because identical questions at temperature 0 get identical answers. A round of repair has one
//! slot for each slot of the round before: it answers what the run said, or, where nothing could be
//! run or an earlier attempt had the same idea, begins afresh with the next suspect.

use super::StoryCore;
use crate::event::Candidate;

/// One proposal to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Index over all rounds.
    pub attempt: u32,
    /// The round.
    pub round: u32,
    /// Index of the suspect.
    pub candidate: u32,
    /// The most likely answer is asked for, not a sampled one.
    pub greedy: bool,
    /// The attempt whose failure is answered.
    pub repairs: Option<u32>,
}

/// How many suspects there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suspects {
    pub(super) all: u32,
    /// Those that much speaks against, compared with the first.
    pub(super) strong: u32,
}

/// A suspect with less than this part of the first one's points isn't worth a proposal at first.
const STRONG_PART: u32 = 4;

impl Suspects {
    pub(super) fn of(candidates: &[Candidate]) -> Self {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let first = candidates.first().map_or(0, |c| c.score);
        let strong = candidates.iter().take_while(|c| c.score.saturating_mul(STRONG_PART) >= first).count();
        Self { all: count(candidates.len()), strong: count(strong) }
    }
}

impl StoryCore {
    /// Suspects that a round is spread over: the strong ones at first, then more, in case the
    /// evidence misleads.
    fn spread(&self, round: u32) -> u32 {
        let Some(suspects) = self.suspects else { return 1 };
        let wanted = if round == 0 { suspects.strong } else { suspects.all };
        wanted.clamp(1, self.limits.candidates)
    }

    /// The slots of a round, in order. Rounds before it must be complete.
    pub fn slots(&self, round: u32) -> Vec<Slot> {
        let n = self.limits.proposals;
        let k = self.spread(round);
        (0..n)
            .map(|i| {
                let attempt = round * n + i;
                if round == 0 {
                    return Slot { attempt, round, candidate: i % k, greedy: i < k, repairs: None };
                }
                let before = attempt - n;
                if self.repairable(before) {
                    let candidate = self.candidate_of(before);
                    Slot { attempt, round, candidate, greedy: false, repairs: Some(before) }
                } else {
                    Slot { attempt, round, candidate: (i + round) % k, greedy: false, repairs: None }
                }
            })
            .collect()
    }

    /// Whether a run said something about this attempt that was not said about an earlier one.
    fn repairable(&self, attempt: u32) -> bool {
        let Some(state) = self.attempts.get(&attempt) else { return false };
        let Some(patch) = state.proposal.patch() else { return false };
        let executed = state.verdict.as_ref().is_some_and(|v| v.applies && v.touched_protected.is_empty());
        executed
            && !self
                .attempts
                .range(..attempt)
                .any(|(_, other)| other.proposal.patch().is_some_and(|p| p.digest == patch.digest))
    }

    /// The suspect that an attempt was about.
    fn candidate_of(&self, attempt: u32) -> u32 {
        let round = attempt / self.limits.proposals;
        let i = attempt % self.limits.proposals;
        let k = self.spread(round);
        if round == 0 {
            return i % k;
        }
        match self.attempts.get(&attempt).and_then(|a| a.proposal.repairs) {
            Some(before) if before < attempt => self.candidate_of(before),
            _ => (i + round) % k,
        }
    }
}
