//! The cluster's CA, on its control node.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;

use super::credentials::{NodeCredentials, NodeKey, parse_key};
use super::pem::Bundle;
use super::{AUTHORITY_FILE, SECRET_FILE};
use crate::id::NodeId;
use crate::net::error::NetError;
use crate::net::identity::{CONTROL_NAME, ClusterId, ClusterIdentity, NodeName, ca_uri, node_dns_name, node_uri};
use crate::net::private_file;
use crate::net::token::TokenSecret;
use crate::time::Timestamp;

/// A new cluster outlives its hardware with this; nothing renews a CA.
const CA_LIFETIME: Duration = Duration::from_hours(24 * 365 * 20);
/// Certificates are good from this long before they were made: clocks differ between machines.
const CLOCK_SKEW: Duration = Duration::from_hours(1);
/// An uncompressed point of P-256.
const P256_POINT_BYTES: usize = 65;

/// Signs the certificates of a cluster's nodes and authenticates its join tokens.
pub struct Authority {
    identity: ClusterIdentity,
    issuer: Issuer<'static, KeyPair>,
    tokens: TokenSecret,
}

impl Authority {
    /// Loads the CA from the state folder, or makes one (a new cluster) if there is none. Blocks on the disk.
    pub fn open_or_create(dir: &Path) -> Result<Self, NetError> {
        private_file::make_dir(dir)?;
        let path = dir.join(AUTHORITY_FILE);
        let content = match private_file::read(&path)? {
            Some(content) => content,
            None => {
                // Of two processes one is the first; both then read its file.
                private_file::create(&path, generate(ClusterId::new_random())?.as_bytes())?;
                private_file::read(&path)?.ok_or_else(|| NetError::damaged(&path, "it went away"))?
            }
        };
        let (identity, issuer) = load(&content).map_err(|what| NetError::damaged(&path, what))?;
        let tokens = TokenSecret::open_or_create(&dir.join(SECRET_FILE))?;
        Ok(Self { identity, issuer, tokens })
    }

    /// The cluster and its CA's certificate.
    pub fn identity(&self) -> &ClusterIdentity {
        &self.identity
    }

    /// Issues and verifies join tokens.
    pub fn tokens(&self) -> &TokenSecret {
        &self.tokens
    }

    /// Signs a certificate for the key of a request (PKCS #10, DER), whose owner proves with the
    /// request's signature that it has the key. Nothing else in the request counts: node and name are
    /// what the caller says. Valid from now for `lifetime`.
    pub fn sign(
        &self,
        request: &[u8],
        node: NodeId,
        name: &NodeName,
        lifetime: Duration,
    ) -> Result<CertificateDer<'static>, NetError> {
        let request = CertificateSigningRequestParams::from_der(&request.into())
            .map_err(|e| NetError::BadRequest(e.to_string().into()))?;
        let key = request.public_key;
        if key.algorithm() != &PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != P256_POINT_BYTES {
            return Err(NetError::BadRequest("its key is of another kind".into()));
        }
        self.certify(&key, node, name, &[], lifetime)
    }

    /// Makes the control node's own key and certificate. Only these say that they are the control
    /// node's, which whoever joins insists on.
    pub fn control_credentials(
        &self,
        node: NodeId,
        name: &NodeName,
        lifetime: Duration,
    ) -> Result<NodeCredentials, NetError> {
        let key = NodeKey::generate()?;
        let certificate = self.certify(key.pair(), node, name, &[CONTROL_NAME], lifetime)?;
        NodeCredentials::assemble(key, certificate, self.identity.ca.clone())
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        node: NodeId,
        name: &NodeName,
        more_names: &[&str],
        lifetime: Duration,
    ) -> Result<CertificateDer<'static>, NetError> {
        let mut params = base_params(name.as_str(), &node_uri(self.identity.cluster, node), lifetime)?;
        let own_name = node_dns_name(node);
        for name in more_names.iter().copied().chain([own_name.as_str()]) {
            params.subject_alt_names.push(SanType::DnsName(name.try_into().map_err(NetError::crypto)?));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer).map_err(NetError::crypto)?;
        Ok(certificate.der().clone())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.identity.cluster).finish_non_exhaustive()
    }
}

/// A new CA: the content of its file.
fn generate(cluster: ClusterId) -> Result<String, NetError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(NetError::crypto)?;
    let mut params = base_params(&format!("Fleet cluster {cluster}"), &ca_uri(cluster), CA_LIFETIME)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(NetError::crypto)?;
    Ok(Bundle::write(key.serialized_der(), &[certificate.der()]))
}

fn load(content: &[u8]) -> Result<(ClusterIdentity, Issuer<'static, KeyPair>), String> {
    let bundle = Bundle::parse(content, 1)?;
    let key = parse_key(bundle.key)?;
    let [certificate] = bundle.certificates.try_into().map_err(|_| "it must hold one certificate")?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|e| e.to_string())?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err("key and certificate don't belong together".to_owned());
    }
    let identity = ClusterIdentity::of_ca(certificate.clone()).map_err(|e| e.to_string())?;
    let issuer = Issuer::from_ca_cert_der(&identity.ca, key).map_err(|e| e.to_string())?;
    Ok((identity, issuer))
}

/// Names, serial and validity, common to all certificates.
fn base_params(common_name: &str, uri: &str, lifetime: Duration) -> Result<CertificateParams, NetError> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    params.distinguished_name = subject;
    params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(NetError::crypto)?)];
    params.serial_number = Some(random_serial()?);
    let now = Duration::from_millis(u64::try_from(Timestamp::now().millis()).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + (now + lifetime);
    Ok(params)
}

/// 127 random bits: positive in X.509's signed numbers.
fn random_serial() -> Result<SerialNumber, NetError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(NetError::crypto)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&serial))
}
