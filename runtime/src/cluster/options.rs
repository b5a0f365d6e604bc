//! What a cluster is set up with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::membership::MembershipOptions;
use crate::placement::PlacementOptions;

/// How the nodes of a cluster keep together. The same on all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterOptions {
    /// Leases and suspicion.
    pub membership: MembershipOptions,
    /// Where actors go.
    pub placement: PlacementOptions,
    /// Longest time for a call between a node and the control node. Default 5 s. A start that takes longer is asked for
    /// again, and found done.
    #[serde(with = "humantime_serde")]
    pub call_deadline: Duration,
    /// How often an actor that lost its node is tried elsewhere before it is given up. Default 5.
    pub start_attempts: u32,
    /// How often both sides look at their clocks. Default 100 ms; a fifth of the renewal interval or less.
    #[serde(with = "humantime_serde")]
    pub tick: Duration,
    /// How long a node that is dead or has left stays on the list of nodes; zero: for ever. Default 24 h. A matter of the
    /// control node alone, so no bound that all nodes share.
    #[serde(skip, default = "a_day")]
    pub forget_after: Duration,
}

fn a_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            membership: MembershipOptions::default(),
            placement: PlacementOptions::default(),
            call_deadline: Duration::from_secs(5),
            start_attempts: 5,
            tick: Duration::from_millis(100),
            forget_after: a_day(),
        }
    }
}
