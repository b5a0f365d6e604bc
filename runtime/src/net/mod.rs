//! Who the nodes are, and the encrypted links between them.
//!
//! [`pki`] makes certificates: the control node has the cluster's CA, each node its own key. A machine
//! without a certificate gets one by a one-time [`token`] over the [`join`] plane. All else runs over
//! TLS 1.3 with certificates on both sides: an [`Endpoint`] dials and listens, on one port for all
//! [`Plane`]s. The [`Listener`] keeps strangers from costing much: nothing that they do, or leave
//! undone, holds up anyone else.
//!
//! Nothing here knows actors, membership or what flows over a link. A peer is who its certificate
//! says, never who it claims to be.

mod dial;
mod endpoint;
mod error;
mod identity;
pub mod join;
mod listener;
mod options;
pub mod pki;
mod plane;
mod private_file;
mod slots;
mod stats;
mod stream;
mod tls;
pub mod token;
mod verdict;
mod verifier;

pub use endpoint::Endpoint;
pub use error::NetError;
pub use identity::{ClusterId, ClusterIdentity, Fingerprint, NodeName, PeerIdentity};
pub use join::{Admission, Applicant, JoinDesk, JoinServer, Joined, Newcomer, join_cluster};
pub use listener::{Accepted, Gate, Listener};
pub use options::NetOptions;
pub use pki::{Authority, NodeCredentials, NodeKey};
pub use plane::Plane;
pub use stats::{NetStats, RefusedBecause};
pub use stream::PlaneStream;
pub use tls::install_crypto;
pub use token::{JoinToken, TokenBook, TokenNonce, TokenSecret, UsedTokens};
pub use verdict::Verdict;

#[cfg(test)]
mod tests;
