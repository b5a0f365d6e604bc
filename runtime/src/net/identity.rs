//! Who a cluster and a node are, and how a certificate says so.
//!
//! A node's identity is the URI in its certificate, `fleet://<cluster>/node/<node>`, which only the
//! cluster's CA can have put there. What a peer says about itself counts for nothing.

use std::fmt;
use std::str::FromStr;

use ring::digest;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, DnsName, ServerName};
use rustls::server::ParsedCertificate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::NetError;
use crate::id::{IdError, NodeId};

/// Server name that only the control node's certificate has: who joins insists on it.
pub(super) const CONTROL_NAME: &str = "control.fleet.internal";

/// A cluster: what one CA vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub Uuid);

impl ClusterId {
    /// 122 random bits.
    pub fn new_random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ClusterId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = |_| IdError { kind: "cluster id", text: text.to_owned(), rule: "a UUID" };
        Uuid::from_str(text).map(Self).map_err(refused)
    }
}

/// A node's name, for people: unique in a cluster, fit for a stream id and a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = NetError;

    fn try_from(text: String) -> Result<Self, NetError> {
        let fits = (1..=63).contains(&text.len())
            && !text.starts_with(['.', '-'])
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits { Ok(Self(text)) } else { Err(NetError::BadName(text.chars().take(80).collect())) }
    }
}

impl FromStr for NodeName {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        Self::try_from(text.to_owned())
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// That of the certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self::of_bytes(certificate)
    }

    pub(super) fn of_bytes(content: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, content).as_ref());
        Self(bytes)
    }
}

/// Hexadecimal, 64 digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// A cluster as its nodes know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The certificate of its CA.
    pub ca: CertificateDer<'static>,
    /// Of `ca`; goes into join tokens.
    pub fingerprint: Fingerprint,
}

impl ClusterIdentity {
    /// Reads the cluster's id from the CA's certificate.
    pub(super) fn of_ca(ca: CertificateDer<'static>) -> Result<Self, NetError> {
        check_authority(&ca)?;
        let uri = only_uri(&ca)?;
        let cluster = uri.strip_prefix("fleet://").and_then(|rest| rest.strip_suffix("/ca"));
        let cluster = cluster.and_then(canonical_uuid).map(ClusterId);
        let cluster = cluster.ok_or_else(|| NetError::NoIdentity(format!("{uri:?} names no CA").into()))?;
        Ok(Self { cluster, fingerprint: Fingerprint::of(&ca), ca })
    }
}

/// A peer, as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster whose CA vouches for it.
    pub cluster: ClusterId,
    /// Which node.
    pub node: NodeId,
    /// Its name when the certificate was made.
    pub name: NodeName,
    /// Whether it is the cluster's control node.
    pub control: bool,
}

impl PeerIdentity {
    /// Reads the identity from a certificate, by X.509 parsing. Whether the certificate can be
    /// trusted must have been checked already.
    pub fn from_certificate(leaf: &CertificateDer<'_>) -> Result<Self, NetError> {
        let uri = only_uri(leaf)?;
        let (cluster, node) =
            parse_node_uri(&uri).ok_or_else(|| NetError::NoIdentity(format!("{uri:?} names no node").into()))?;
        let parsed = ParsedCertificate::try_from(leaf).map_err(unreadable)?;
        let control = verify_server_name(&parsed, &control_server_name()?).is_ok();
        Ok(Self { cluster, node, name: common_name(leaf)?, control })
    }
}

/// A trust anchor's own signature isn't looked at by TLS: only here is a damaged one found.
fn check_authority(ca: &CertificateDer<'_>) -> Result<(), NetError> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(ca).map_err(unreadable)?;
    parsed.verify_signature(None).map_err(unreadable)?;
    if rest.is_empty() && parsed.is_ca() { Ok(()) } else { Err(NetError::NoIdentity("it is not a CA's".into())) }
}

pub(super) fn ca_uri(cluster: ClusterId) -> String {
    format!("fleet://{cluster}/ca")
}

pub(super) fn node_uri(cluster: ClusterId, node: NodeId) -> String {
    format!("fleet://{cluster}/node/{node}")
}

pub(super) fn node_dns_name(node: NodeId) -> String {
    format!("{node}.node.fleet.internal")
}

/// The name that the TLS handshake with that node is for.
pub(super) fn node_server_name(node: NodeId) -> Result<ServerName<'static>, NetError> {
    Ok(ServerName::DnsName(DnsName::try_from(node_dns_name(node)).map_err(NetError::crypto)?))
}

pub(super) fn control_server_name() -> Result<ServerName<'static>, NetError> {
    Ok(ServerName::DnsName(DnsName::try_from(CONTROL_NAME).map_err(NetError::crypto)?))
}

fn parse_node_uri(uri: &str) -> Option<(ClusterId, NodeId)> {
    let (cluster, node) = uri.strip_prefix("fleet://")?.split_once("/node/")?;
    Some((ClusterId(canonical_uuid(cluster)?), NodeId(canonical_uuid(node)?)))
}

/// One spelling only, so that two texts are never one identity.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    let uuid = Uuid::from_str(text).ok()?;
    (uuid.to_string() == text).then_some(uuid)
}

/// The certificate's URI, of which it must have exactly one.
fn only_uri(certificate: &CertificateDer<'_>) -> Result<String, NetError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(unreadable)?;
    let names = parsed.subject_alternative_name().map_err(unreadable)?;
    let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(uri.to_owned()),
        (None, _) => Err(NetError::NoIdentity("it has no URI".into())),
        (Some(_), Some(_)) => Err(NetError::NoIdentity("it has more than one URI".into())),
    }
}

fn common_name(certificate: &CertificateDer<'_>) -> Result<NodeName, NetError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(unreadable)?;
    let mut names = parsed.subject().iter_common_name();
    let name = names.next().ok_or_else(|| NetError::NoIdentity("it has no name".into()))?;
    name.as_str().map_err(unreadable)?.parse()
}

fn unreadable(why: impl fmt::Display) -> NetError {
    NetError::NoIdentity(format!("it can't be read: {why}").into())
}
