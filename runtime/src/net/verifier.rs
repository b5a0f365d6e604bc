//! How the dialling side knows whom it reached.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, PeerMisbehaved, RootCertStore, SignatureScheme};

use super::error::NetError;
use super::identity::{ClusterId, ClusterIdentity, Fingerprint, PeerIdentity, control_server_name};
use super::pki::provider;
use crate::id::NodeId;

/// Whom the server must be.
#[derive(Debug)]
enum Expects {
    /// A node of the cluster whose CA is known; which one, if it matters.
    Node { ca: CertificateDer<'static>, cluster: ClusterId, node: Option<NodeId> },
    /// The control node of the cluster whose CA has the fingerprint.
    Control { cluster: ClusterId, fingerprint: Fingerprint },
}

/// Checks a server's certificate by chain and by identity.
#[derive(Debug)]
pub(super) struct ServerCheck {
    expects: Expects,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCheck {
    pub fn node(cluster: &ClusterIdentity, node: Option<NodeId>) -> Arc<Self> {
        Self::new(Expects::Node { ca: cluster.ca.clone(), cluster: cluster.cluster, node })
    }

    pub fn control(cluster: ClusterId, fingerprint: Fingerprint) -> Arc<Self> {
        Self::new(Expects::Control { cluster, fingerprint })
    }

    fn new(expects: Expects) -> Arc<Self> {
        Arc::new(Self { expects, algorithms: provider().signature_verification_algorithms })
    }

    /// The CA to trust: known, or found in what the server sent by its fingerprint.
    fn authority<'a>(&'a self, sent: &'a [CertificateDer<'_>]) -> Result<CertificateDer<'a>, NetError> {
        match &self.expects {
            Expects::Node { ca, .. } => Ok(ca.clone()),
            Expects::Control { fingerprint, .. } => {
                let found = sent.iter().find(|certificate| Fingerprint::of(certificate) == *fingerprint);
                found.cloned().ok_or(NetError::OtherAuthority { expected: *fingerprint })
            }
        }
    }

    fn check_identity(&self, leaf: &CertificateDer<'_>) -> Result<(), NetError> {
        let found = PeerIdentity::from_certificate(leaf)?;
        let (Expects::Node { cluster, .. } | Expects::Control { cluster, .. }) = &self.expects;
        if found.cluster != *cluster {
            return Err(NetError::OtherCluster { expected: *cluster, found: found.cluster });
        }
        match self.expects {
            Expects::Node { node: Some(expected), .. } if expected != found.node => {
                Err(NetError::OtherNode { expected, found: found.node })
            }
            _ => Ok(()),
        }
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority(intermediates).map_err(refusal)?.into_owned())?;
        let leaf = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], now, self.algorithms.all)?;
        if matches!(self.expects, Expects::Control { .. }) {
            // A member of the cluster must not collect other machines' tokens.
            verify_server_name(&leaf, &control_server_name().map_err(refusal)?)?;
        }
        self.check_identity(end_entity).map_err(refusal)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // TLS 1.2 is not offered.
        Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Carries our own reason through rustls; [`carried`] takes it out again.
fn refusal(why: NetError) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

/// The reason that [`refusal`] put in, if that is where the error came from.
pub(super) fn carried(error: &CertificateError) -> Option<NetError> {
    match error {
        CertificateError::Other(OtherError(inner)) => inner.downcast_ref::<NetError>().cloned(),
        _ => None,
    }
}

/// A certificate error for people.
pub(super) struct Plainly<'a>(pub &'a CertificateError);

impl fmt::Display for Plainly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => f.write_str("it has expired"),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                f.write_str("it isn't valid yet")
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                f.write_str("it isn't from this cluster's CA")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                f.write_str("it isn't the control node's")
            }
            other => write!(f, "{other:?}"),
        }
    }
}
