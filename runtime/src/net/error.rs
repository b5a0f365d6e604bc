//! What can go wrong between nodes, said so that a person knows what to do next.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::identity::{ClusterId, Fingerprint};
use super::plane::Plane;
use crate::id::NodeId;

/// Why identity or a link failed. Every text names a remedy; [`NetError::code`] is for looking it up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NetError {
    /// The disk or its rights. Nothing was changed, or the old file is still whole.
    #[error("{path}: {source}; check that the folder exists and that this user may write to it")]
    File { path: PathBuf, source: Arc<io::Error> },
    /// The file can't be what was written. Restore it from a backup, or start anew.
    #[error("{path} is damaged: {what}; restore it from a backup, or remove it and {instead}", instead = instead(path))]
    Damaged { path: PathBuf, what: Arc<str> },
    /// A private key that others could have read. Close the file; if others did use the machine, make a new key.
    #[error("{path} may be read by others (mode {mode:04o}); run: chmod 600 {path}")]
    Exposed { path: PathBuf, mode: u32 },
    /// There is an identity already. Use it, or remove it to take on another.
    #[error("{0} exists already: this node belongs to a cluster; remove the file first to leave that cluster")]
    Exists(PathBuf),
    /// The node hasn't joined yet, or the path is wrong.
    #[error("{0} doesn't exist: join a cluster first (fleetd --join HOST:PORT --token …), or check the state folder")]
    NotJoined(PathBuf),
    /// The crypto library refused. A fault of this program or machine, not of the caller.
    #[error("cryptography failed: {0}; run it again, and report it if it stays")]
    Crypto(Arc<str>),
    /// The node must send a request made by [`super::NodeKey::csr`].
    #[error("the certificate request is refused: {0}; the node must send a signed request with an ECDSA P-256 key")]
    BadRequest(Arc<str>),
    /// The certificate isn't one of a Fleet node. Join again.
    #[error("the certificate names no Fleet node: {0}; join the node again with a new token")]
    NoIdentity(Arc<str>),
    /// Choose a name of the form that the text says.
    #[error("{0:?} is not a valid node name: 1 to 63 of A-Z a-z 0-9 . _ -, not starting with . or -")]
    BadName(String),
    /// An option has a value that nothing can work with.
    #[error("option {option}: {what}")]
    BadOption { option: &'static str, what: &'static str },

    /// Cut or mistyped. Copy it again, whole.
    #[error("this is not a whole join token ({0}); copy the whole line that `fleet node invite` printed")]
    TokenMalformed(&'static str),
    /// Made by a newer or older Fleet.
    #[error("the join token has version {0}, this Fleet reads version 1; bring both nodes to the same version")]
    TokenVersion(u8),
    /// Ask the right control node for a token.
    #[error("the join token is for cluster {token}, this is {ours}; make one here with `fleet node invite`")]
    TokenOtherCluster { token: ClusterId, ours: ClusterId },
    /// Not made by this control node, or changed, or made before its secret was replaced.
    #[error("the join token wasn't made by this control node; make a new one with `fleet node invite`")]
    TokenForged,
    #[error("the join token expired {seconds_ago} s ago; make a new one with `fleet node invite`")]
    TokenExpired { seconds_ago: u64 },
    /// One token, one node.
    #[error("the join token was used already; make a new one with `fleet node invite`, one for each node")]
    TokenUsed,
    /// So many unexpired tokens were used that no more are remembered. Wait until some expire.
    #[error("{limit} used tokens haven't expired yet; wait, or give tokens a shorter life")]
    TokenBookFull { limit: usize },
    /// The use couldn't be recorded, so the token isn't taken. Try again.
    #[error("the use of the join token couldn't be recorded: {0}; try again with the same token")]
    TokenBook(Arc<str>),

    /// Nobody listens there, or the network is in between.
    #[error(
        "no connection to {addr}: {source}; check the address, that fleetd runs there and that no firewall is between"
    )]
    Connect { addr: String, source: Arc<io::Error> },
    #[error(
        "{addr} didn't finish {what} in time; check the network and that fleetd (not something else) listens there"
    )]
    Deadline { addr: String, what: &'static str },
    /// The address or port can't be listened on.
    #[error("can't listen on {addr}: {source}; choose another port or stop what uses it")]
    Bind { addr: String, source: Arc<io::Error> },
    /// The other side went away in the middle.
    #[error("{addr} broke off the connection: {why}; it is overloaded, stopping, or not a fleetd: see its log")]
    Broken { addr: String, why: Arc<str> },
    /// What came isn't Fleet's protocol.
    #[error("{addr} doesn't speak Fleet's protocol: {why}; check the address and port")]
    Protocol { addr: String, why: Arc<str> },
    /// No plane or version in common.
    #[error("{addr} doesn't serve {plane}; it is no node for that, or has another version: bring both to the same")]
    NoSharedPlane { addr: String, plane: Plane },
    /// The peer's certificate isn't one of this cluster's, or its time is over.
    #[error(
        "the certificate of {addr} is refused: {why}; check that it is of this cluster, its expiry and both clocks"
    )]
    PeerCertificate { addr: String, why: Arc<str> },
    /// The peer doesn't take our certificate.
    #[error(
        "{addr} refuses this node's certificate: {why}; check the cluster, the expiry and both clocks, or join again"
    )]
    OurCertificate { addr: String, why: Arc<str> },
    /// The address leads elsewhere than the directory says.
    #[error("{found} answers instead of {expected}; the address belongs to another node now: ask the directory again")]
    OtherNode { expected: NodeId, found: NodeId },
    #[error("the peer belongs to cluster {found}, not to {expected}; check the address")]
    OtherCluster { expected: ClusterId, found: ClusterId },
    /// Somebody else answers at the control node's address, or the cluster was made anew.
    #[error(
        "the server's CA isn't the one of the token ({expected}); check the address, or make a new token: \
         if both are right, someone is in between"
    )]
    OtherAuthority { expected: Fingerprint },
    /// The peer took the certificate and then said no.
    #[error("{addr} refuses the connection: {reason}")]
    Refused { addr: String, reason: super::Verdict },
    /// The listener has been stopped.
    #[error("the listener is stopped")]
    Stopped,

    /// The control node refused the join; `code` is the code of its reason, if it has one.
    #[error("the control node refuses the join ({code}): {text}")]
    JoinRefused { code: String, text: String },
    #[error("the name {0:?} belongs to another node; choose another one, or have that node removed first")]
    NameTaken(String),
    /// The id is known already, as a node that the token holder may not speak for.
    #[error("the node id {0} is in use; remove the node's state folder and join as a new node")]
    NodeTaken(NodeId),
    /// One of the two is older.
    #[error("the join protocol has version {theirs} there and {ours} here; bring both nodes to the same version")]
    JoinVersion { ours: u16, theirs: u16 },
    #[error("{0:?} is no address that other nodes could reach; give HOST:PORT with a real host and port")]
    BadAddress(String),
    #[error("a frame of {bytes} bytes is over the limit of {limit}; is this a Fleet node?")]
    FrameTooLarge { bytes: usize, limit: usize },
}

fn instead(path: &std::path::Path) -> &'static str {
    if path.ends_with(super::pki::AUTHORITY_FILE) {
        "start a new cluster, which all nodes must then join"
    } else if path.ends_with(super::pki::SECRET_FILE) {
        "start again, which voids the tokens that are out"
    } else {
        "join again"
    }
}

impl NetError {
    pub(super) fn file(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source: Arc::new(source) }
    }

    pub(super) fn damaged(path: &std::path::Path, what: impl fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.to_string().into() }
    }

    pub(super) fn crypto(what: impl fmt::Display) -> Self {
        Self::Crypto(what.to_string().into())
    }

    /// For a person to look up. Codes are never given a new meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "FLT-L001",
            Self::Damaged { .. } => "FLT-L002",
            Self::Exposed { .. } => "FLT-L003",
            Self::Exists(_) => "FLT-L004",
            Self::NotJoined(_) => "FLT-L005",
            Self::Crypto(_) => "FLT-L006",
            Self::BadRequest(_) => "FLT-L007",
            Self::NoIdentity(_) => "FLT-L008",
            Self::BadName(_) => "FLT-L009",
            Self::BadOption { .. } => "FLT-L010",
            Self::TokenMalformed(_) => "FLT-L020",
            Self::TokenVersion(_) => "FLT-L021",
            Self::TokenOtherCluster { .. } => "FLT-L022",
            Self::TokenForged => "FLT-L023",
            Self::TokenExpired { .. } => "FLT-L024",
            Self::TokenUsed => "FLT-L025",
            Self::TokenBookFull { .. } => "FLT-L026",
            Self::TokenBook(_) => "FLT-L027",
            Self::Connect { .. } => "FLT-L040",
            Self::Deadline { .. } => "FLT-L041",
            Self::Bind { .. } => "FLT-L042",
            Self::Broken { .. } => "FLT-L043",
            Self::Protocol { .. } => "FLT-L044",
            Self::NoSharedPlane { .. } => "FLT-L045",
            Self::PeerCertificate { .. } => "FLT-L046",
            Self::OurCertificate { .. } => "FLT-L047",
            Self::OtherNode { .. } => "FLT-L048",
            Self::OtherCluster { .. } => "FLT-L049",
            Self::OtherAuthority { .. } => "FLT-L050",
            Self::Refused { .. } => "FLT-L051",
            Self::Stopped => "FLT-L052",
            Self::JoinRefused { .. } => "FLT-L060",
            Self::NameTaken(_) => "FLT-L061",
            Self::NodeTaken(_) => "FLT-L062",
            Self::JoinVersion { .. } => "FLT-L063",
            Self::BadAddress(_) => "FLT-L064",
            Self::FrameTooLarge { .. } => "FLT-L065",
        }
    }
}
