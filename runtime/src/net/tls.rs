//! TLS settings of both sides: 1.3 only, no resumption.
//!
//! Links live long, so resuming sessions would save nothing; without it a certificate's expiry and
//! identity are looked at on every connection.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{AlertDescription, ClientConfig, RootCertStore, ServerConfig};

use super::error::NetError;
use super::pki::{NodeCredentials, provider};
use super::plane::Plane;
use super::token::JoinToken;
use super::verifier::{Plainly, ServerCheck, carried};
use crate::id::NodeId;

/// Makes the cluster's crypto provider that of the whole process, for libraries that ask for one. Once is enough; whoever
/// came first stays.
pub fn install_crypto() {
    let _ = Arc::unwrap_or_clone(provider()).install_default();
}

/// A listener's settings.
pub(super) struct ServerTls {
    /// For who has no certificate; absent where the join plane isn't served.
    join: Option<Arc<ServerConfig>>,
    /// For everyone else: no certificate, no handshake.
    link: Arc<ServerConfig>,
}

impl ServerTls {
    pub fn new(credentials: &NodeCredentials, planes: &[Plane]) -> Result<Self, NetError> {
        let join = planes.contains(&Plane::Join).then(|| server_config(credentials, &[Plane::Join], false));
        let others: Vec<Plane> = planes.iter().copied().filter(|plane| *plane != Plane::Join).collect();
        Ok(Self { join: join.transpose()?.map(Arc::new), link: Arc::new(server_config(credentials, &others, true)?) })
    }

    /// By what the client asks for: only the join plane goes without a client's certificate.
    pub fn for_client(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let mut offered = hello.alpn().into_iter().flatten();
        let joins = offered.any(|name| name == Plane::Join.alpn().as_bytes());
        self.join.as_ref().filter(|_| joins).unwrap_or(&self.link).clone()
    }
}

fn server_config(
    credentials: &NodeCredentials,
    planes: &[Plane],
    wants_certificate: bool,
) -> Result<ServerConfig, NetError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(NetError::crypto)?;
    let builder = if wants_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(credentials.cluster().ca.clone()).map_err(NetError::crypto)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        builder.with_client_cert_verifier(verifier.map_err(NetError::crypto)?)
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::Pkcs8(credentials.private_key());
    let mut config = builder.with_single_cert(credentials.chain(), key).map_err(NetError::crypto)?;
    config.alpn_protocols = planes.iter().map(|plane| plane.alpn().as_bytes().to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// For a node that dials a node.
pub(super) fn node_client(
    credentials: &NodeCredentials,
    plane: Plane,
    expected: Option<NodeId>,
) -> Result<ClientConfig, NetError> {
    let check = ServerCheck::node(credentials.cluster(), expected);
    let key = PrivateKeyDer::Pkcs8(credentials.private_key());
    let config = client_builder(check)?.with_client_auth_cert(credentials.chain(), key).map_err(NetError::crypto)?;
    Ok(finish_client(config, plane))
}

/// For a machine that has only a token.
pub(super) fn join_client(token: &JoinToken) -> Result<ClientConfig, NetError> {
    let check = ServerCheck::control(token.cluster(), token.fingerprint());
    Ok(finish_client(client_builder(check)?.with_no_client_auth(), Plane::Join))
}

fn client_builder(
    check: Arc<ServerCheck>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, NetError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(NetError::crypto)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(check))
}

fn finish_client(mut config: ClientConfig, plane: Plane) -> ClientConfig {
    config.alpn_protocols = vec![plane.alpn().as_bytes().to_vec()];
    config.resumption = Resumption::disabled();
    // The name says nothing that the check doesn't know better.
    config.enable_sni = false;
    config
}

/// What rustls found wrong, if the error is its.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Why dialling failed in or right after the handshake.
pub(super) fn dial_error(addr: &str, plane: Plane, error: &io::Error) -> NetError {
    let addr = addr.to_owned();
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            carried(why).unwrap_or_else(|| NetError::PeerCertificate { addr, why: Plainly(why).to_string().into() })
        }
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            NetError::NoSharedPlane { addr, plane }
        }
        Some(rustls::Error::AlertReceived(alert)) => match certificate_alert(*alert) {
            Some(why) => NetError::OurCertificate { addr, why: why.into() },
            None => NetError::Protocol { addr, why: format!("it says {alert:?}").into() },
        },
        Some(other) => NetError::Protocol { addr, why: other.to_string().into() },
        None => NetError::Broken { addr, why: error.to_string().into() },
    }
}

fn certificate_alert(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match alert {
        A::CertificateRequired => "it wants one",
        A::CertificateExpired => "it has expired",
        A::UnknownCA | A::DecryptError | A::BadCertificate => "it isn't from that node's cluster",
        A::CertificateRevoked => "it was revoked",
        A::UnsupportedCertificate | A::CertificateUnknown | A::AccessDenied => "it isn't accepted",
        _ => return None,
    })
}
