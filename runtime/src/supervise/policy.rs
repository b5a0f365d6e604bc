//! The choices that a supervisor is given.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

/// Which children are restarted when one has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Only that one. For children that don't depend on each other.
    #[default]
    OneForOne,
    /// All of them. For children that make sense only together.
    OneForAll,
    /// That one and those started after it. For a chain of dependence.
    RestForOne,
    /// Only that one, whose restarts are counted for itself: when they are used up it ends for good, and its siblings
    /// go on. For children that have nothing to do with each other, such as those that other nodes ask for.
    EachForItself,
}

/// When a child is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub enum Restart {
    /// Whatever ended it. For services.
    #[default]
    Permanent,
    /// Only if it failed. For work that has an end.
    Transient,
    /// Never. For work that somebody else will see to.
    Temporary,
}

/// How many restarts within what time are still worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts allowed within the period; one more ends the supervisor. Default 5.
    pub max_restarts: u32,
    /// The period. A child that has been up for so long starts its backoff anew. Default 30 s.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { max_restarts: 5, within: Duration::from_secs(30) }
    }
}

/// How long to wait before a restart: doubled with each failure in a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// Before the first restart. Default 50 ms.
    #[serde(with = "humantime_serde")]
    pub initial: Duration,
    /// Never longer than this. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub max: Duration,
    /// Part of the delay that chance decides, 0 to 1, so that what failed together doesn't
    /// come back together. Default 0.2.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(50), max: Duration::from_secs(5), jitter: 0.2 }
    }
}

impl Backoff {
    /// The delay after that many failures in a row (from 1), without jitter.
    pub fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }

    /// Spreads a delay; `roll` is chance, 0 to 1.
    pub fn spread(&self, delay: Duration, roll: f64) -> Duration {
        let jitter = self.jitter.clamp(0.0, 1.0);
        delay.mul_f64(1.0 - jitter + jitter * roll.clamp(0.0, 1.0))
    }
}

/// How the children of one parent are supervised.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SupervisorOptions {
    pub strategy: Strategy,
    pub intensity: Intensity,
    pub backoff: Backoff,
}

/// How one child is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildOptions {
    pub restart: Restart,
    /// How many messages may wait for it; then senders wait or are told `Busy`. Default 1024.
    pub mailbox: usize,
    /// How long its orderly end may take before it is killed. Default 5 s.
    pub grace: Duration,
}

impl Default for ChildOptions {
    fn default() -> Self {
        Self { restart: Restart::default(), mailbox: crate::actor::MAILBOX, grace: Duration::from_secs(5) }
    }
}
