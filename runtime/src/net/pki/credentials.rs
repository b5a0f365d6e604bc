//! What a node proves itself with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::ParsedCertificate;

use super::pem::Bundle;
use super::{NODE_FILE, provider};
use crate::net::error::NetError;
use crate::net::identity::{ClusterIdentity, PeerIdentity};
use crate::net::private_file;
use crate::time::Timestamp;

/// A node's private key (ECDSA P-256), made on the node.
#[derive(Clone)]
pub struct NodeKey(Arc<KeyPair>);

impl NodeKey {
    /// Makes a new one.
    pub fn generate() -> Result<Self, NetError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(NetError::crypto)?;
        Ok(Self(Arc::new(pair)))
    }

    /// A request for a certificate (PKCS #10, DER). It names nobody: the CA decides that.
    pub fn csr(&self) -> Result<Vec<u8>, NetError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&*self.0).map_err(NetError::crypto)?;
        Ok(request.der().to_vec())
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(…)")
    }
}

/// A node's key and certificate, with the CA's certificate. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeCredentials {
    key: NodeKey,
    certificate: CertificateDer<'static>,
    cluster: Arc<ClusterIdentity>,
    identity: PeerIdentity,
    expires: Timestamp,
}

impl NodeCredentials {
    /// Puts together what belongs together; refused where the certificate isn't for the key or isn't
    /// from the CA. It may have expired: whoever loads it decides what to do then.
    pub fn assemble(
        key: NodeKey,
        certificate: CertificateDer<'static>,
        ca: CertificateDer<'static>,
    ) -> Result<Self, NetError> {
        let cluster = ClusterIdentity::of_ca(ca)?;
        let identity = PeerIdentity::from_certificate(&certificate)?;
        if identity.cluster != cluster.cluster {
            return Err(NetError::OtherCluster { expected: cluster.cluster, found: identity.cluster });
        }
        let expires = check(&key, &certificate, &cluster)?;
        Ok(Self { key, certificate, cluster: Arc::new(cluster), identity, expires })
    }

    /// Loads them from the node's state folder. Blocks on the disk.
    pub fn load(dir: &Path) -> Result<Self, NetError> {
        let path = dir.join(NODE_FILE);
        let content = private_file::read(&path)?.ok_or_else(|| NetError::NotJoined(path.clone()))?;
        let damaged = |what: String| NetError::damaged(&path, what);
        let bundle = Bundle::parse(&content, 2).map_err(damaged)?;
        let key = NodeKey(Arc::new(parse_key(bundle.key).map_err(damaged)?));
        let certificates: Result<[_; 2], _> = bundle.certificates.try_into();
        let [certificate, ca] = certificates.map_err(|_| damaged("it must hold two certificates".to_owned()))?;
        Self::assemble(key, certificate, ca).map_err(|e| damaged(e.to_string()))
    }

    /// Keeps new credentials in the state folder (file 0600, folder 0700); refused where the folder
    /// has some already. Blocks on the disk.
    pub fn store(&self, dir: &Path) -> Result<(), NetError> {
        private_file::make_dir(dir)?;
        let path = dir.join(NODE_FILE);
        if private_file::create(&path, self.to_pem().as_bytes())? { Ok(()) } else { Err(NetError::Exists(path)) }
    }

    /// Keeps renewed credentials in place of the old ones, in one step. Blocks on the disk.
    pub fn replace(&self, dir: &Path) -> Result<(), NetError> {
        private_file::make_dir(dir)?;
        private_file::replace(&dir.join(NODE_FILE), self.to_pem().as_bytes())
    }

    /// The node's key: for renewing the certificate ([`NodeKey::csr`], then [`Self::assemble`]).
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Who this node is.
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// The cluster and its CA.
    pub fn cluster(&self) -> &ClusterIdentity {
        &self.cluster
    }

    /// When the certificate stops being good. Renew it before.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The certificate, then the CA's: who joins looks for the latter.
    pub(in crate::net) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone(), self.cluster.ca.clone()]
    }

    pub(in crate::net) fn private_key(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.0.serialized_der().to_vec())
    }

    fn to_pem(&self) -> String {
        Bundle::write(self.key.0.serialized_der(), &[&self.certificate, &self.cluster.ca])
    }
}

/// A P-256 key from PKCS #8.
pub(super) fn parse_key(der: Vec<u8>) -> Result<KeyPair, String> {
    let der = PrivatePkcs8KeyDer::from(der);
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(|e| format!("its key: {e}"))
}

/// Checks key and issuer; gives the end of the certificate's time.
fn check(
    key: &NodeKey,
    certificate: &CertificateDer<'static>,
    cluster: &ClusterIdentity,
) -> Result<Timestamp, NetError> {
    let unfit = |why: String| NetError::NoIdentity(why.into());
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|e| unfit(e.to_string()))?;
    if parsed.public_key().raw != key.0.subject_public_key_info() {
        return Err(unfit("its certificate is for another key".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    roots.add(cluster.ca.clone()).map_err(|e| unfit(e.to_string()))?;
    // As of its own first second: whether it has expired isn't the question here.
    let first = u64::try_from(parsed.validity().not_before.timestamp()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(first));
    let leaf = ParsedCertificate::try_from(certificate).map_err(|e| unfit(e.to_string()))?;
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], at, algorithms).map_err(|e| unfit(e.to_string()))?;
    Ok(Timestamp(parsed.validity().not_after.timestamp().saturating_mul(1000)))
}
