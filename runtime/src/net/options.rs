//! What can be set about identity and links.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::NetError;

/// Limits of the links. Every wait and every queue has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetOptions {
    /// From a connection's first byte to its acceptance. Raise it for very slow or distant machines. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub handshake_deadline: Duration,
    /// For one TCP connect. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub connect_deadline: Duration,
    /// For a whole dial: name look-up, connect, handshake, and trying again where the peer had no
    /// room. Default 10 s.
    #[serde(with = "humantime_serde")]
    pub dial_deadline: Duration,
    /// For the whole exchange of a join, after the handshake. Default 10 s.
    #[serde(with = "humantime_serde")]
    pub join_deadline: Duration,
    /// Incoming connections that haven't shown who they are. Over it the one that has been silent
    /// longest is closed, or the newest when none is silent. Raise it for more than a few hundred
    /// nodes that start at once. Default 64.
    pub max_handshaking: usize,
    /// Incoming connections that one node may have at a time. Default 16.
    pub max_per_peer: usize,
    /// Connections on the join plane at a time. Default 16.
    pub max_joining: usize,
    /// Accepted connections that wait to be taken by the listener's owner. Default 64.
    pub accept_queue: usize,
    /// Silence on a connection after which TCP asks whether the peer is there, and the time between
    /// two such questions is a third of it; after 3 without an answer the connection ends. Default 15 s.
    #[serde(with = "humantime_serde")]
    pub keepalive: Duration,
    /// How long what was sent may stay unacknowledged before the connection ends (`TCP_USER_TIMEOUT`, on Linux; elsewhere the
    /// system's own time, which is minutes). It is how a cut link is noticed by whoever sends over it. Raise it for networks
    /// that lose packets for seconds. Default 10 s.
    #[serde(with = "humantime_serde")]
    pub unacknowledged: Duration,
    /// How long a node's certificate is good for. Shorter ones must be renewed more often. Default 365 days.
    #[serde(with = "humantime_serde")]
    pub certificate_lifetime: Duration,
    /// How long a join token is good for. Default 1 hour.
    #[serde(with = "humantime_serde")]
    pub token_lifetime: Duration,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            handshake_deadline: Duration::from_secs(5),
            connect_deadline: Duration::from_secs(5),
            dial_deadline: Duration::from_secs(10),
            join_deadline: Duration::from_secs(10),
            max_handshaking: 64,
            max_per_peer: 16,
            max_joining: 16,
            accept_queue: 64,
            keepalive: Duration::from_secs(15),
            unacknowledged: Duration::from_secs(10),
            certificate_lifetime: Duration::from_hours(24 * 365),
            token_lifetime: Duration::from_hours(1),
        }
    }
}

/// A certificate that ends sooner could end before it is renewed.
const SHORTEST: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_mins(1) };

impl NetOptions {
    /// Refuses values with which no link could ever come up.
    pub fn check(&self) -> Result<(), NetError> {
        let bad = |option, what| Err(NetError::BadOption { option, what });
        for (option, value) in [
            ("handshake_deadline", self.handshake_deadline),
            ("connect_deadline", self.connect_deadline),
            ("dial_deadline", self.dial_deadline),
            ("join_deadline", self.join_deadline),
        ] {
            if value.is_zero() {
                return bad(option, "must be more than 0: nothing is done in no time");
            }
        }
        for (option, value) in [
            ("max_handshaking", self.max_handshaking),
            ("max_per_peer", self.max_per_peer),
            ("max_joining", self.max_joining),
            ("accept_queue", self.accept_queue),
        ] {
            if !(1..=65_536).contains(&value) {
                return bad(option, "must be from 1 to 65536");
            }
        }
        if self.keepalive < Duration::from_secs(3) {
            return bad("keepalive", "must be at least 3s: TCP counts in whole seconds");
        }
        if self.unacknowledged < Duration::from_secs(1) {
            return bad(
                "unacknowledged",
                "must be at least 1s: a packet that is lost is sent again only after some time",
            );
        }
        let ten_years = Duration::from_hours(24 * 3650);
        if !(SHORTEST..=ten_years).contains(&self.certificate_lifetime) {
            return bad("certificate_lifetime", "must be from 1 minute to 3650 days");
        }
        if !(Duration::from_secs(1)..=ten_years).contains(&self.token_lifetime) {
            return bad("token_lifetime", "must be from 1 second to 3650 days");
        }
        Ok(())
    }
}
