//! The choices that placement is given.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::supervise::Backoff;

/// How the control node places actors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlacementOptions {
    /// How long a node keeps a reservation for an actor that hasn't started. Longer than
    /// `reserve_timeout` plus the slowest start, since a gang waits for all its answers. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub reservation_ttl: Duration,
    /// How long a node may take to answer a reservation before another node is tried. Default 2 s.
    #[serde(with = "humantime_serde")]
    pub reserve_timeout: Duration,
    /// How long a request that was refused and fits nowhere else waits before it is tried again,
    /// doubled with each refusal. There is no jitter: one core tries them one after another.
    /// Default 100 ms to 5 s.
    pub retry: Backoff,
    /// How long a request waits before its best node is held back for it. Lower it where large
    /// requests wait too long, raise it where nodes stand idle for them. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub hold_after: Duration,
    /// How long a node is held back at most; then the request has to wait `hold_after` anew, so
    /// that one which waits for something endless doesn't block a node for ever. Default 10 min.
    #[serde(with = "humantime_serde")]
    pub hold_for: Duration,
    /// How many requests or gangs may have nodes held back at a time. Default 4.
    pub max_holds: usize,
    /// Differences in local data below this many bytes don't matter. Default 1 MiB; 0 counts as 1.
    pub locality_step: u64,
}

impl Default for PlacementOptions {
    fn default() -> Self {
        Self {
            reservation_ttl: Duration::from_secs(30),
            reserve_timeout: Duration::from_secs(2),
            retry: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5), jitter: 0.0 },
            hold_after: Duration::from_secs(30),
            hold_for: Duration::from_secs(600),
            max_holds: 4,
            locality_step: 1 << 20,
        }
    }
}
