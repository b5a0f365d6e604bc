//! The choices that membership is given. All nodes of a cluster use the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How leases are kept and when a node is suspected.
///
/// The times hold together: renewals well below `fence_after`, that below `lease`. To make a cluster
/// calmer (a bad network, machines that stall), raise all of them by one factor, and know that actors
/// of a dead node come back later by the same factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MembershipOptions {
    /// How often a node asks for its lease again. Raise it above 100 nodes, where messages begin to
    /// cost something. Default 500 ms.
    #[serde(with = "humantime_serde")]
    pub renew_every: Duration,
    /// How long the control node waits after its last grant before the node counts as dead and its
    /// actors start elsewhere. Default 3 s.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How long after the *sending* of its last granted renewal a node still starts effects. What is
    /// left up to `lease` (by default 0.5 s in 2.5 s, or 20 %) is what two clocks may differ in speed
    /// and a check may be late. Default 2.5 s.
    #[serde(with = "humantime_serde")]
    pub fence_after: Duration,
    /// Silence (in either direction) that is never called suspicious, however regular the node was.
    /// Lower it where a false suspicion costs little: it only keeps new work away. Default 2 s.
    #[serde(with = "humantime_serde")]
    pub suspect_after: Duration,
    /// Level of suspicion from which a silence longer than `suspect_after` counts: 8 means that a
    /// renewal so late was a matter of one in 10^8. Default 8.
    pub suspect_level: f64,
    /// How many intervals between renewals the level is computed from. Default 100, which is 50 s.
    pub window: usize,
    /// How many other members are asked to look for a node that is suspected. Default 3.
    pub probes: usize,
    /// How long a member waits for the answer to such a probe. Default 500 ms.
    #[serde(with = "humantime_serde")]
    pub probe_timeout: Duration,
    /// A pause of the control node itself longer than this isn't held against the nodes, whose
    /// renewals it couldn't hear meanwhile. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub max_pause: Duration,
}

/// Choices that don't hold together. Each says which key to change.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum MembershipOptionsError {
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// Two nodes might act for one actor.
    #[error("fence_after ({fence_after:?}) must be at most nine tenths of lease ({lease:?})")]
    FenceTooLate { fence_after: Duration, lease: Duration },
    /// A single lost renewal would stop a node.
    #[error("renew_every ({renew_every:?}) must be at most a third of fence_after ({fence_after:?})")]
    RenewalsTooRare { renew_every: Duration, fence_after: Duration },
    /// Every renewal that is a little late would be suspicious, or none before the node has stopped.
    #[error(
        "suspect_after ({suspect_after:?}) must be from twice renew_every ({renew_every:?}) to fence_after ({fence_after:?})"
    )]
    SuspicionOutOfRange { suspect_after: Duration, renew_every: Duration, fence_after: Duration },
    #[error("suspect_level ({0}) must be more than 0 and at most 100")]
    LevelOutOfRange(f64),
    #[error("window ({0}) must be from 2 to 10000 intervals")]
    WindowOutOfRange(usize),
    #[error("probe_timeout ({probe_timeout:?}) must be less than lease ({lease:?})")]
    ProbeTooLong { probe_timeout: Duration, lease: Duration },
    /// Every tick would count as a pause, or a pause as long as a lease as none.
    #[error("max_pause ({max_pause:?}) must be from renew_every ({renew_every:?}) to lease ({lease:?})")]
    PauseOutOfRange { max_pause: Duration, renew_every: Duration, lease: Duration },
}

impl Default for MembershipOptions {
    fn default() -> Self {
        Self {
            renew_every: Duration::from_millis(500),
            lease: Duration::from_secs(3),
            fence_after: Duration::from_millis(2500),
            suspect_after: Duration::from_secs(2),
            suspect_level: 8.0,
            window: 100,
            probes: 3,
            probe_timeout: Duration::from_millis(500),
            max_pause: Duration::from_secs(1),
        }
    }
}

impl MembershipOptions {
    /// How often `tick` of either core is to be called: a fifth of `renew_every`.
    pub fn tick_every(&self) -> Duration {
        self.renew_every / 5
    }

    /// What a lease is longer than the time for which the node may use it.
    pub(super) fn margin(&self) -> Duration {
        self.lease.saturating_sub(self.fence_after)
    }

    /// Refuses choices with which the cluster would be unsafe or never quiet.
    pub fn validate(&self) -> Result<(), MembershipOptionsError> {
        use MembershipOptionsError as Error;
        let Self { renew_every, lease, fence_after, suspect_after, probe_timeout, max_pause, .. } = *self;
        let times = [("renew_every", renew_every), ("lease", lease), ("fence_after", fence_after)];
        for (name, time) in times.into_iter().chain([("probe_timeout", probe_timeout)]) {
            if time.is_zero() {
                return Err(Error::Zero(name));
            }
        }
        if fence_after > lease * 9 / 10 {
            return Err(Error::FenceTooLate { fence_after, lease });
        }
        if renew_every > fence_after / 3 {
            return Err(Error::RenewalsTooRare { renew_every, fence_after });
        }
        if !(renew_every * 2..=fence_after).contains(&suspect_after) {
            return Err(Error::SuspicionOutOfRange { suspect_after, renew_every, fence_after });
        }
        if !(self.suspect_level > 0.0 && self.suspect_level <= 100.0) {
            return Err(Error::LevelOutOfRange(self.suspect_level));
        }
        if !(2..=10_000).contains(&self.window) {
            return Err(Error::WindowOutOfRange(self.window));
        }
        if probe_timeout >= lease {
            return Err(Error::ProbeTooLong { probe_timeout, lease });
        }
        if !(renew_every..=lease).contains(&max_pause) {
            return Err(Error::PauseOutOfRange { max_pause, renew_every, lease });
        }
        Ok(())
    }
}
