//! Certificates of the two processes, and what each makes of them. The same protocol and cryptography as Fleet's links.

use std::fs::{read, write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The name in the sink's certificate.
pub const SINK: &str = "sink.bench";
const DRIVER: &str = "driver.bench";

/// Makes an authority and both certificates.
pub fn make(dir: &Path) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    write(dir.join("authority"), authority.self_signed(&key)?.der())?;
    let issuer = Issuer::new(authority, key);
    for name in [SINK, DRIVER] {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &issuer)?;
        write(dir.join(name), certificate.der())?;
        write(dir.join(format!("{name}.key")), key.serialize_der())?;
    }
    Ok(())
}

/// The sink's end: only who has a certificate of the authority comes in.
pub fn acceptor(dir: &Path) -> Result<TlsAcceptor> {
    let (certificate, key) = own(dir, SINK)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(dir)?.into(), provider()).build()?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The driver's end.
pub fn connector(dir: &Path) -> Result<TlsConnector> {
    let (certificate, key) = own(dir, DRIVER)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(dir)?)
        .with_client_auth_cert(certificate, key)?;
    Ok(TlsConnector::from(Arc::new(config)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(dir: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(read(dir.join("authority"))?.into())?;
    Ok(roots)
}

fn own(dir: &Path, name: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let key = PrivateKeyDer::try_from(read(dir.join(format!("{name}.key")))?).map_err(|e| anyhow!(e))?;
    Ok((vec![read(dir.join(name))?.into()], key))
}
