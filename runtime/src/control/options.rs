//! What can be set about the control plane.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::error::ControlError;

/// What ractor_cluster's envelope and the seal add to a message, with room to spare.
const ENVELOPE: u64 = 512;

/// Limits of the control plane. All nodes of a cluster use the same `max_frame`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlOptions {
    /// The largest frame. Messages and answers may be 512 bytes smaller. Default 4 MiB.
    pub max_frame: ByteSize,
    /// Silence on a link after which the peer is taken for gone; a peer that is well says something every 1 to
    /// 5 s. Default 15 s.
    #[serde(with = "humantime_serde")]
    pub read_deadline: Duration,
    /// From [`attach`](super::ControlPlane::attach) until the peer's gateway is known. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub attach_deadline: Duration,
    /// For a cast to be taken by the other node, until which it counts as under way. Default 15 s.
    #[serde(with = "humantime_serde")]
    pub cast_deadline: Duration,
    /// Calls and casts under way to one node. Default 1024.
    pub max_in_flight: usize,
    /// Bytes of the messages under way to one node. At least `max_frame`. Default 64 MiB.
    pub max_in_flight_bytes: ByteSize,
    /// Handlers that run at a time, for all peers together; over it a message is refused. Default 256.
    pub max_handlers: usize,
    /// What handlers that still run are given when the node stops. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub stop_grace: Duration,
}

impl Default for ControlOptions {
    fn default() -> Self {
        Self {
            max_frame: ByteSize::mib(4),
            read_deadline: Duration::from_secs(15),
            attach_deadline: Duration::from_secs(5),
            cast_deadline: Duration::from_secs(15),
            max_in_flight: 1024,
            max_in_flight_bytes: ByteSize::mib(64),
            max_handlers: 256,
            stop_grace: Duration::from_secs(5),
        }
    }
}

impl ControlOptions {
    /// The largest message or answer, in bytes.
    pub fn max_message(&self) -> usize {
        usize::try_from(self.max_frame.0.saturating_sub(ENVELOPE)).unwrap_or(usize::MAX)
    }

    /// Refuses values with which nothing could ever be said.
    pub fn check(&self) -> Result<(), ControlError> {
        let bad = |option, what| Err(ControlError::BadOption { option, what });
        if !(ByteSize::kib(64)..=ByteSize::gib(1)).contains(&self.max_frame) {
            return bad("max_frame", "must be from 64 KiB to 1 GiB");
        }
        if !(self.max_frame..=ByteSize::gib(3)).contains(&self.max_in_flight_bytes) {
            return bad("max_in_flight_bytes", "must be from max_frame to 3 GiB");
        }
        // A peer that is well may be silent for 5 s.
        if self.read_deadline < Duration::from_secs(6) {
            return bad("read_deadline", "must be at least 6s: a peer that is well may be silent for 5s");
        }
        for (option, value) in [("attach_deadline", self.attach_deadline), ("cast_deadline", self.cast_deadline)] {
            if value.is_zero() {
                return bad(option, "must be more than 0: nothing is done in no time");
            }
        }
        for (option, value) in [("max_in_flight", self.max_in_flight), ("max_handlers", self.max_handlers)] {
            if !(1..=65_536).contains(&value) {
                return bad(option, "must be from 1 to 65536");
            }
        }
        Ok(())
    }
}
