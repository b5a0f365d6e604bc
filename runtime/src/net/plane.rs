//! What a connection is for. Told by ALPN, so that one port serves all.

use std::fmt;

/// The kinds of connection between nodes, each with its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Plane {
    /// A machine without a certificate asks for one. The only plane that needs none.
    Join,
    /// ractor_cluster, between the nodes' gateway actors.
    Control,
    /// Actor messages.
    Lane,
    /// Large payloads, so that they don't stand in a message's way.
    Bulk,
}

impl Plane {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Join, Self::Control, Self::Lane, Self::Bulk];
    /// What a node serves that isn't the control node.
    pub const MEMBER: [Self; 3] = [Self::Control, Self::Lane, Self::Bulk];

    /// The name in TLS' handshake (ALPN).
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Join => "fleet-join/1",
            Self::Control => "fleet-control/1",
            Self::Lane => "fleet-lane/1",
            Self::Bulk => "fleet-bulk/1",
        }
    }

    /// The plane of that ALPN name, if this version has it.
    pub fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|plane| plane.alpn().as_bytes() == name)
    }
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.alpn())
    }
}
