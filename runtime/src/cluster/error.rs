//! What can go wrong between nodes.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::carrier::CarrierError;
use crate::actor::ActorError;
use crate::codec::CodecError;
use crate::control::ControlError;
use crate::id::NodeId;
use crate::net::NetError;

/// What can go wrong between nodes. Codes are stable.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// The link itself; the error says what to do.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The two programs are of versions that don't understand each other: bring both to one version.
    #[error("node {node} speaks version {theirs} of the lane, this one {ours}")]
    Version { node: NodeId, ours: u16, theirs: u16 },
    /// The other end isn't a Fleet node, or the connection was cut while the two introduced themselves.
    #[error("the other end didn't introduce itself: {0}")]
    Hello(String),
    /// The other half of the pair never came; the peer tries again by itself.
    #[error("the second connection of a lane didn't come within {0:?}")]
    HalfLane(Duration),
    /// Register the kind on every node that may be given such actors, then ask again.
    #[error("this node knows no actor kind {name} of version {version}; it knows {known}")]
    UnknownKind { name: String, version: u16, known: String },
    /// The arguments aren't what that version of the kind takes.
    #[error("the arguments of an actor of kind {name} can't be read: {source}")]
    BadArguments { name: String, source: CodecError },
    /// The actor's own start failed.
    #[error("an actor of kind {name} didn't start: {source}")]
    Start { name: String, source: ActorError },
    /// Two different actors were asked for under one key: use another key.
    #[error("the key {0:?} was used for another actor")]
    KeyTaken(String),
    /// The reason says what is missing, or which node refused; change what is asked for, or wait for a node that has it.
    #[error("the actor {key:?} runs nowhere: {why}")]
    NotPlaced { key: String, why: String },
    /// The control plane; the error says whether what was asked may have been done.
    #[error(transparent)]
    Plane(#[from] ControlError),
    /// Mend the disk or the file's rights. A damaged `member.json` may be deleted with the rest of the folder; the node
    /// then joins again with a new token.
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// Take another address, or stop what listens there.
    #[error("can't listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: io::Error },
    /// The control node wasn't reached, or gave no answer; the error says whether it may be asked again.
    #[error("the control node: {0}")]
    Call(#[from] CarrierError),
    /// Ask again: the control node was asked what it can't answer.
    #[error("the control node: {0}")]
    Control(String),
    /// The control node won't, and says why: change what is asked for.
    #[error("the control node refuses: {0}")]
    Refused(String),
}

impl ClusterError {
    /// Stable, for people and programs that look it up.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Net(e) => e.code(),
            Self::Version { .. } => "FLT-C001",
            Self::Hello(_) => "FLT-C002",
            Self::HalfLane(_) => "FLT-C003",
            Self::UnknownKind { .. } => "FLT-C004",
            Self::BadArguments { .. } => "FLT-C005",
            Self::Start { .. } => "FLT-C006",
            Self::KeyTaken(_) => "FLT-C007",
            Self::NotPlaced { .. } => "FLT-C008",
            Self::Control(_) => "FLT-C009",
            Self::Plane(e) => e.code(),
            Self::Call(e) => e.code(),
            Self::File { .. } => "FLT-C010",
            Self::Listen { .. } => "FLT-C012",
            Self::Refused(_) => "FLT-C013",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The codes that a source gives.
    fn codes(source: &'static str) -> Vec<&'static str> {
        let given = source.lines().filter(|line| line.trim_start().starts_with("Self::"));
        given.filter_map(|line| line.split('"').nth(1)).filter(|text| text.starts_with("FLT-")).collect()
    }

    #[test]
    fn every_code_of_calls_between_nodes_is_given_once_and_is_in_the_manual() {
        let manual = include_str!("../../../docs/errors.md");
        let sources = [include_str!("error.rs"), include_str!("carrier.rs"), include_str!("../control/error.rs")];
        let all: Vec<&str> = sources.into_iter().flat_map(codes).collect();
        assert!(all.len() >= 30, "{all:?}");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
        for code in all {
            assert!(manual.contains(&format!("| {code} | ")), "{code} isn't in docs/errors.md");
        }
    }
}
