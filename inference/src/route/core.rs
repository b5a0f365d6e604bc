//! Which engine of several gets a request: the one where it is likely to be done first.
//!
//! ```text
//! time(engine) = (prompt tokens that wait there + those of this prompt that it has not seen) / its prefill speed
//!              + (reply tokens that wait there + those of this reply) / its decoding speed
//! ```
//! What waits is what went through this router and isn't answered yet. Speeds are measured on what came back; an engine that
//! nobody has asked yet is taken to be as fast as the others. Pure: time is an argument, nothing is asked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::Usage;

/// Beginnings of prompts whose engines are remembered.
const PREFIXES: usize = 4096;
/// How much of the speed is that of the last reply.
const NEW: f64 = 0.2;
/// How long an engine that failed isn't asked, the first time and at most.
const DOWN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Tokens a millisecond while no engine has answered.
const SPEED: f64 = 1.0;

/// One engine of one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) node: String,
    pub(crate) name: String,
}

/// What a request will cost, about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) prompt: u64,
    pub(crate) reply: u64,
    /// Hashes of the prompt's beginnings, shorter ones first, and how many tokens each has. A collision costs time, no more.
    pub(crate) prefixes: Vec<(u64, u64)>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Done(Usage),
    /// The engine isn't there.
    Lost,
    /// Cancelled or refused: it says nothing of the engine.
    Other,
}

#[derive(Clone, Debug, Default)]
struct Known {
    prompt: u64,
    reply: u64,
    /// Tokens a millisecond.
    prefill: Option<f64>,
    decode: Option<f64>,
    failures: u32,
    down_until: Option<Instant>,
}

/// What is known of the engines.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    known: BTreeMap<Key, Known>,
    seen: HashMap<u64, Key>,
    /// In the order in which they were seen first.
    order: VecDeque<u64>,
}

impl Routes {
    /// The best of these engines, and the request counted as waiting there. Of equals the first.
    pub(crate) fn pick(&mut self, cost: &Cost, among: &[Key], now: Instant) -> Option<usize> {
        let is_up = |key: &Key| self.known.get(key).and_then(|k| k.down_until).is_none_or(|until| until <= now);
        let up: Vec<usize> = (0..among.len()).filter(|n| is_up(&among[*n])).collect();
        // Where none is up, the one that has been down longest may be back.
        let down = || (0..among.len()).min_by_key(|n| self.known.get(&among[*n]).and_then(|k| k.down_until));
        let time = |n: &usize| self.time(&among[*n], cost);
        let best = up.into_iter().min_by(|a, b| time(a).total_cmp(&time(b))).or_else(down)?;
        self.begin(&among[best], cost);
        Some(best)
    }

    fn time(&self, key: &Key, cost: &Cost) -> f64 {
        let nothing = Known::default();
        let known = self.known.get(key).unwrap_or(&nothing);
        let mine = |(hash, _): &&(u64, u64)| self.seen.get(hash) == Some(key);
        let has = cost.prefixes.iter().rev().find(mine).map_or(0, |(_, tokens)| *tokens);
        let prefill = known.prefill.or_else(|| self.mean(|k| k.prefill)).unwrap_or(SPEED);
        let decode = known.decode.or_else(|| self.mean(|k| k.decode)).unwrap_or(SPEED);
        (known.prompt + cost.prompt.saturating_sub(has)) as f64 / prefill + (known.reply + cost.reply) as f64 / decode
    }

    fn mean(&self, of: impl Fn(&Known) -> Option<f64>) -> Option<f64> {
        let all: Vec<f64> = self.known.values().filter_map(of).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    }

    fn begin(&mut self, key: &Key, cost: &Cost) {
        let known = self.known.entry(key.clone()).or_default();
        known.prompt += cost.prompt;
        known.reply += cost.reply;
        for (hash, _) in &cost.prefixes {
            if self.seen.insert(*hash, key.clone()).is_none() {
                self.order.push_back(*hash);
            }
        }
        while self.order.len() > PREFIXES {
            self.order.pop_front().map(|hash| self.seen.remove(&hash));
        }
    }

    /// Takes back what [`pick`](Self::pick) counted, and learns.
    pub(crate) fn end(&mut self, key: &Key, cost: &Cost, outcome: Outcome, now: Instant) {
        let known = self.known.entry(key.clone()).or_default();
        known.prompt = known.prompt.saturating_sub(cost.prompt);
        known.reply = known.reply.saturating_sub(cost.reply);
        match outcome {
            Outcome::Other => {}
            Outcome::Lost => {
                let pause = DOWN.0.saturating_mul(1 << known.failures.min(8)).min(DOWN.1);
                known.failures += 1;
                known.down_until = Some(now + pause);
            }
            Outcome::Done(usage) => {
                (known.failures, known.down_until) = (0, None);
                let fresh = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
                learn(&mut known.prefill, fresh, usage.prefill_ms);
                learn(&mut known.decode, usage.completion_tokens, usage.decode_ms);
            }
        }
    }

    /// Forgets the engines that aren't there any more and have nothing waiting.
    pub(crate) fn keep(&mut self, there: &[Key]) {
        self.known.retain(|key, known| known.prompt + known.reply > 0 || there.contains(key));
    }
}

/// A handful of tokens says nothing: most of their time is spent on something else.
fn learn(speed: &mut Option<f64>, tokens: u32, ms: u64) {
    if tokens >= 16 && ms > 0 {
        let new = f64::from(tokens) / ms as f64;
        *speed = Some(speed.map_or(new, |old| old + (new - old) * NEW));
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
