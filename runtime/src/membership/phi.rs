//! How suspicious a silence is: the φ of an accrual failure detector.
//!
//! φ(t) = −log₁₀ P_later(t), where P_later(t) is the probability that the next renewal comes more than
//! t after the last one, its interval taken as normal with mean and deviation of a window of the past:
//! N. Hayashibara, X. Défago, R. Yared, T. Katayama, *The φ accrual failure detector*, SRDS 2004.
//! φ = 8 means that such a silence is a matter of one in 10⁸. The normal tail is
//! 1 / (1 + e^(y·(1.5976 + 0.070566·y²))) for a deviation y: S. Bowling et al., *A logistic approximation
//! to the cumulative normal distribution*, JIEM 2009 (off by less than 1.4·10⁻⁴; in the far tail, where
//! it matters here, it only has to rise).
//!
//! The level decides nothing alone. A machine that stalls for a second and a half now and then would be
//! suspected after a calm minute, so there is a floor; one whose intervals vary wildly would never be
//! suspected, so there is a ceiling: `fence_after` after its last renewal came it has fenced itself,
//! whatever its habits.

use std::collections::VecDeque;
use std::time::Duration;

use super::options::MembershipOptions;

/// The highest level: beyond, numbers would say nothing more to anybody.
pub const MAX_LEVEL: f64 = 100.0;

/// The rhythm of one node's renewals, as they arrive. Times are of the clock of who listens.
#[derive(Clone, Debug)]
pub struct Rhythm {
    /// In seconds.
    intervals: VecDeque<f64>,
    window: usize,
    last: Duration,
    expected: f64,
    floor: Duration,
    ceiling: Duration,
    threshold: f64,
}

impl Rhythm {
    /// A rhythm of which nothing is known but what the options expect.
    pub fn new(options: &MembershipOptions, now: Duration) -> Self {
        Self {
            intervals: VecDeque::new(),
            window: options.window,
            last: now,
            expected: options.renew_every.as_secs_f64(),
            floor: options.suspect_after,
            ceiling: options.fence_after,
            threshold: options.suspect_level,
        }
    }

    /// A renewal has arrived.
    pub fn beat(&mut self, now: Duration) {
        let silence = self.silence(now);
        self.last = self.last.max(now);
        // A gap up to the ceiling is rhythm, a longer one was a fault and says nothing about the next.
        if silence < self.ceiling {
            self.intervals.push_back(silence.as_secs_f64());
        }
        if self.intervals.len() > self.window {
            self.intervals.pop_front();
        }
    }

    /// That much time doesn't count, because nobody could listen.
    pub fn skip(&mut self, pause: Duration) {
        self.last += pause;
    }

    /// Time since the last renewal.
    pub fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last)
    }

    /// When the last renewal arrived.
    pub fn last(&self) -> Duration {
        self.last
    }

    /// φ of the present silence, 0 to [`MAX_LEVEL`].
    pub fn level(&self, now: Duration) -> f64 {
        let (mean, deviation) = self.mean_and_deviation();
        let y = (self.silence(now).as_secs_f64() - mean) / deviation;
        let exponent = y * (1.5976 + 0.070_566 * y * y);
        // log10(1 + e^x), which is x / ln 10 where e^x would overflow.
        let level = if exponent > 500.0 {
            exponent / std::f64::consts::LN_10
        } else {
            exponent.exp().ln_1p() / std::f64::consts::LN_10
        };
        level.clamp(0.0, MAX_LEVEL)
    }

    /// Whether the present silence is to be acted on.
    pub fn is_suspicious(&self, now: Duration) -> bool {
        let silence = self.silence(now);
        silence >= self.ceiling || (silence >= self.floor && self.level(now) >= self.threshold)
    }

    fn mean_and_deviation(&self) -> (f64, f64) {
        // Two intervals that were not observed, so that a new member is neither suspected at once nor never.
        let seeds = [self.expected * 0.75, self.expected * 1.25];
        let all = || self.intervals.iter().chain(&seeds);
        let count = (self.intervals.len() + seeds.len()) as f64;
        let mean = all().sum::<f64>() / count;
        let variance = all().map(|interval| (interval - mean).powi(2)).sum::<f64>() / count;
        // A clockwork still meets a scheduler: never surer than a fifth of an interval.
        (mean, variance.sqrt().max(self.expected / 5.0))
    }
}
