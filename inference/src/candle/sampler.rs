//! Which token comes next: greedy, or drawn from what the filters leave, with a generator seeded by the request.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::Sampling;

/// How far back the repeat penalty looks.
const PENALTY_WINDOW: usize = 64;

/// The sampler of one request.
pub(super) struct Sampler {
    options: Sampling,
    rng: ChaCha8Rng,
    recent: VecDeque<u32>,
}

impl Sampler {
    pub(super) fn new(options: Sampling) -> Self {
        Self { options, rng: ChaCha8Rng::seed_from_u64(options.seed), recent: VecDeque::new() }
    }

    /// Picks a token. Logits of minus infinity are out of the question; `None` if all are (or none is a number).
    pub(super) fn next(&mut self, logits: &mut [f32]) -> Option<u32> {
        self.penalise(logits);
        let token = if self.options.temperature > 0.0 { self.draw(logits) } else { likeliest(logits) }?;
        if self.recent.len() == PENALTY_WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(token);
        Some(token)
    }

    fn penalise(&self, logits: &mut [f32]) {
        let penalty = self.options.repeat_penalty;
        // Once each, however often a token occurred.
        let distinct = self.recent.iter().enumerate().filter(|(i, t)| !self.recent.iter().take(*i).any(|u| u == *t));
        for (_, token) in distinct.filter(|_| penalty > 0.0 && penalty != 1.0) {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }

    fn draw(&mut self, logits: &[f32]) -> Option<u32> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.options;
        let finite = (0..).zip(logits).filter(|(_, l)| l.is_finite());
        let mut candidates: Vec<(u32, f32)> = finite.map(|(id, l)| (id, l / temperature)).collect();
        // Likeliest first; of equal ones the lowest id, so that order never depends on the sort.
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let k = top_k as usize;
        if k > 0 && k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, order);
            candidates.truncate(k);
        }
        candidates.sort_unstable_by(order);
        let highest = candidates.first()?.1;
        for (_, weight) in &mut candidates {
            *weight = (*weight - highest).exp();
        }
        candidates.retain(|(_, w)| *w >= min_p);
        let total: f32 = candidates.iter().map(|(_, w)| w).sum();
        let mut mass = 0.0;
        let nucleus = candidates.iter().take_while(|(_, w)| {
            let before = mass;
            mass += w;
            before < top_p * total
        });
        let kept = nucleus.count().max(1);
        candidates.truncate(kept);
        self.pick(&candidates)
    }

    fn pick(&mut self, candidates: &[(u32, f32)]) -> Option<u32> {
        let total: f32 = candidates.iter().map(|(_, w)| w).sum();
        // 24 bits: what a f32 holds exactly, so the draw is below 1.
        let unit = (self.rng.next_u32() >> 8) as f32 / (1 << 24) as f32;
        let mut left = unit * total;
        for (id, weight) in candidates {
            left -= weight;
            if left < 0.0 {
                return Some(*id);
            }
        }
        candidates.last().map(|(id, _)| *id)
    }
}

/// The highest logit; of equal ones the lowest id.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let finite = (0..).zip(logits).filter(|(_, l)| l.is_finite());
    finite.min_by(|a, b| b.1.total_cmp(a.1)).map(|(id, _)| id)
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
