//! The choices that the jobs service is given.

use std::time::Duration;

use crate::supervise::Backoff;

/// How jobs are queued and run.
#[derive(Clone, Debug, PartialEq)]
pub struct JobsOptions {
    /// Jobs that run at the same time; one that waits for a person doesn't count. Default 2.
    pub max_running: usize,
    /// Jobs that have not ended; a submit beyond is told `Busy`. Default 1000.
    pub max_open: usize,
    /// How often a job that crashed is tried again before it counts as failed. Default 3.
    pub max_restarts: u32,
    /// How long to wait before that.
    pub backoff: Backoff,
    /// How long a job may take to end when it is stopped, before it is killed. Default 10 s.
    pub stop_grace: Duration,
}

impl Default for JobsOptions {
    fn default() -> Self {
        Self {
            max_running: 2,
            max_open: 1000,
            max_restarts: 3,
            backoff: Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(30), jitter: 0.0 },
            stop_grace: Duration::from_secs(10),
        }
    }
}
