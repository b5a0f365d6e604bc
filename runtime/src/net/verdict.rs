//! The listener's last word on a connection.
//!
//! In TLS 1.3 the dialling side is done before its certificate has been looked at. So the listener
//! says with one byte behind the handshake whether the connection stands: a dial that succeeded did.

use std::fmt;

/// The byte of a connection that stands.
pub(super) const WELCOME: u8 = 1;

/// Why a listener that trusts the certificate still refuses the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// The node was removed, or its lease was given up for good. It must join anew.
    NotAllowed = 2,
    /// It has its share of connections. Close some.
    TooManyConnections = 3,
    /// Overloaded. Try again.
    Busy = 4,
    /// Going down.
    Stopping = 5,
    /// The certificate is good but names no node.
    NoIdentity = 6,
    /// The connection named no plane.
    NoPlane = 7,
    /// A reason that this version doesn't know.
    Unknown = 255,
}

impl Verdict {
    pub(super) fn from_byte(byte: u8) -> Self {
        use Verdict as V;
        let known = [V::NotAllowed, V::TooManyConnections, V::Busy, V::Stopping, V::NoIdentity, V::NoPlane];
        known.into_iter().find(|verdict| *verdict as u8 == byte).unwrap_or(V::Unknown)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllowed => "this node isn't part of the cluster any more; join again with a new token",
            Self::TooManyConnections => "this node has too many connections there already; close some (max_per_peer)",
            Self::Busy => "it can't take more connections at the moment; try again",
            Self::Stopping => "it is stopping; try again when it is back",
            Self::NoIdentity => "this node's certificate names no node; join again with a new token",
            Self::NoPlane => "no plane was named; both nodes must have the same version",
            Self::Unknown => "for a reason that this version doesn't know; bring both nodes to the same version",
        })
    }
}
