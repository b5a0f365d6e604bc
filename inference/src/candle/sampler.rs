//! Which token comes next: greedy, or drawn from what the filters leave, with a generator seeded by the request.

use std::collections::{HashMap, VecDeque};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::tokenizer::ModelTokenizer;
use crate::{Sampling, TokenLogprob};

/// How far back the repeat penalty looks.
const PENALTY_WINDOW: usize = 64;

/// Candidates are sorted only among those whose weight is at least this part of the likeliest one's, if they have the
/// mass that is asked for: the tail of a vocabulary is long.
const WORTH_SORTING: f32 = 1e-4;

/// The sampler of one request.
pub(super) struct Sampler {
    options: Sampling,
    bias: Vec<(u32, f32)>,
    rng: ChaCha8Rng,
    recent: VecDeque<u32>,
    /// How often each token came, where a penalty asks for it.
    counts: HashMap<u32, u32>,
}

impl Sampler {
    pub(super) fn new(options: Sampling, bias: &[(u32, f32)]) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(options.seed);
        Self { options, bias: bias.to_vec(), rng, recent: VecDeque::new(), counts: HashMap::new() }
    }

    /// Picks a token. Logits of minus infinity are out of the question; `None` if all are (or none is a number).
    pub(super) fn next(&mut self, logits: &mut [f32]) -> Option<u32> {
        self.penalise(logits);
        for (token, bias) in &self.bias {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
        let token = if self.options.temperature > 0.0 { self.draw(logits) } else { likeliest(logits) }?;
        self.saw(token);
        Some(token)
    }

    /// Takes note of a token that follows, chosen here or not.
    pub(super) fn saw(&mut self, token: u32) {
        if self.options.repeat_penalty != 1.0 {
            if self.recent.len() == PENALTY_WINDOW {
                self.recent.pop_front();
            }
            self.recent.push_back(token);
        }
        if self.options.presence_penalty != 0.0 || self.options.frequency_penalty != 0.0 {
            *self.counts.entry(token).or_insert(0) += 1;
        }
    }

    fn penalise(&self, logits: &mut [f32]) {
        let Sampling { repeat_penalty: penalty, presence_penalty, frequency_penalty, .. } = self.options;
        // Once each, however often a token occurred.
        let distinct = self.recent.iter().enumerate().filter(|(i, t)| !self.recent.iter().take(*i).any(|u| u == *t));
        for (_, token) in distinct.filter(|_| penalty > 0.0 && penalty != 1.0) {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
        for (token, count) in &self.counts {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit -= presence_penalty + frequency_penalty * *count as f32;
            }
        }
    }

    fn draw(&mut self, logits: &[f32]) -> Option<u32> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.options;
        let highest = logits.iter().copied().filter(|l| l.is_finite()).fold(f32::NEG_INFINITY, f32::max);
        if highest == f32::NEG_INFINITY {
            return None;
        }
        let weight = |logit: f32| ((logit - highest) / temperature).exp();
        let finite = (0..).zip(logits).filter(|(_, l)| l.is_finite());
        let all: Vec<(u32, f32)> = finite.map(|(id, l)| (id, weight(*l))).filter(|(_, w)| *w >= min_p).collect();
        if top_k == 0 && top_p >= 1.0 {
            return self.pick(&all);
        }
        let total: f32 = all.iter().map(|(_, w)| w).sum();
        // Of the mass of the k likeliest, where only those count; it is known once they are sorted.
        let enough = |kept: &[(u32, f32)]| kept.iter().map(|(_, w)| w).sum::<f32>() >= top_p.min(1.0) * total;
        let mut kept: Vec<(u32, f32)> = all.iter().copied().filter(|(_, w)| *w >= WORTH_SORTING).collect();
        let k = top_k as usize;
        if !(enough(&kept) || k > 0 && kept.len() >= k) {
            kept = all;
        }
        // Likeliest first; of equal ones the lowest id, so that order never depends on the sort.
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if k > 0 && k < kept.len() {
            kept.select_nth_unstable_by(k - 1, order);
            kept.truncate(k);
        }
        kept.sort_unstable_by(order);
        let of_these = if k > 0 { kept.iter().map(|(_, w)| w).sum() } else { total };
        let mut mass = 0.0;
        let nucleus = kept.iter().take_while(|(_, w)| {
            let before = mass;
            mass += w;
            before < top_p * of_these
        });
        let count = nucleus.count().max(1);
        kept.truncate(count);
        self.pick(&kept)
    }

    fn pick(&mut self, candidates: &[(u32, f32)]) -> Option<u32> {
        let total: f64 = candidates.iter().map(|(_, w)| f64::from(*w)).sum();
        // 24 bits: below 1, and the same wherever it is computed.
        let unit = f64::from(self.rng.next_u32() >> 8) / f64::from(1 << 24);
        let mut left = unit * total;
        for (id, weight) in candidates {
            left -= f64::from(*weight);
            if left < 0.0 {
                return Some(*id);
            }
        }
        candidates.last().map(|(id, _)| *id)
    }
}

/// How likely a token is by these logits, and which others are likeliest.
pub(super) fn logprob(logits: &[f32], token: u32, top: usize, words: &ModelTokenizer) -> TokenLogprob {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|l| f64::from(l - highest).exp()).sum();
    let rest = f64::from(highest) + total.ln();
    let of = |logit: f32| (f64::from(logit) - rest) as f32;
    let mut order: Vec<u32> = (0..logits.len().min(words.vocabulary()) as u32).collect();
    let likelier = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let top = top.min(order.len());
    if top > 0 && top < order.len() {
        order.select_nth_unstable_by(top - 1, likelier);
    }
    order.truncate(top);
    order.sort_unstable_by(likelier);
    let named = order.into_iter().map(|id| (words.name(id), of(logits[id as usize])));
    let own = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    TokenLogprob { bytes: words.name(token), logprob: of(own), top: named.collect() }
}

/// The highest logit; of equal ones the lowest id.
fn likeliest(logits: &[f32]) -> Option<u32> {
    // In two passes without branches, which the compiler makes vectors of: this runs over the whole vocabulary.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = logits.chunks_exact(16);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = if *logit > *lane { *logit } else { *lane };
        }
    }
    let highest = lanes.iter().copied().fold(rest, f32::max);
    let at = logits.iter().position(|l| *l == highest).filter(|_| highest > f32::NEG_INFINITY)?;
    u32::try_from(at).ok()
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
