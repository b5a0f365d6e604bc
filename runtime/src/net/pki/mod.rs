//! The cluster's own certificates.
//!
//! The control node makes a CA at its first start ([`Authority`]) and keeps it in its state folder.
//! Every node makes its own key, which never leaves it ([`NodeKey`]), and gets a certificate for it
//! from the CA; the two are its [`NodeCredentials`]. The CA alone decides what a certificate says.
//!
//! Key and certificates lie in one file, so that they are replaced together or not at all.

mod authority;
mod credentials;
mod pem;

pub use authority::Authority;
pub use credentials::{NodeCredentials, NodeKey};
pub(super) use pem::{certificate_from_pem, certificate_to_pem};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// In the control node's state folder: the CA's key and certificate.
pub(super) const AUTHORITY_FILE: &str = "authority.pem";
/// In the control node's state folder: what join tokens are authenticated with.
pub(super) const SECRET_FILE: &str = "join.secret";
/// In every node's state folder: its key, its certificate, the CA's certificate.
pub(super) const NODE_FILE: &str = "node.pem";

/// The one crypto provider. Given everywhere by hand: nothing depends on a process-wide default.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
