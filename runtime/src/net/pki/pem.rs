//! Keys and certificates as text.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};

use crate::net::identity::Fingerprint;

/// A key and the certificates that follow it, behind a checksum.
pub(super) struct Bundle {
    pub key: Vec<u8>,
    pub certificates: Vec<CertificateDer<'static>>,
}

impl Bundle {
    /// Reads exactly one key and `certificates` certificates.
    pub fn parse(text: &[u8], certificates: usize) -> Result<Self, String> {
        let text = check_sum(text).ok_or("its checksum is wrong")?;
        let (mut keys, mut found) = (Vec::new(), Vec::new());
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            match section.map_err(|e| e.to_string())? {
                (SectionKind::PrivateKey, der) => keys.push(der),
                (SectionKind::Certificate, der) => found.push(CertificateDer::from(der)),
                (kind, _) => return Err(format!("it holds {kind:?}, which doesn't belong there")),
            }
        }
        match (keys.pop(), keys.is_empty(), found.len() == certificates) {
            (Some(key), true, true) => Ok(Self { key, certificates: found }),
            _ => Err(format!("it must hold one private key and {certificates} certificate(s)")),
        }
    }

    pub fn write(key: &[u8], certificates: &[&CertificateDer<'_>]) -> String {
        let mut text = section("PRIVATE KEY", key);
        certificates.iter().for_each(|certificate| text.push_str(&section("CERTIFICATE", certificate)));
        format!("{}\n{text}", sum_line(text.as_bytes()))
    }
}

/// The text behind its first line, which must be its checksum. Signatures alone don't do: a few bits of
/// a certificate lie outside of its own signature, and the CA's fingerprint is over all of them.
fn check_sum(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (text.get(..end)?, text.get(end + 1..)?);
    (line == sum_line(rest).as_bytes()).then_some(rest)
}

fn sum_line(text: &[u8]) -> String {
    format!("fleet sha256 {}", Fingerprint::of_bytes(text))
}

/// The certificate as PEM.
pub(in crate::net) fn certificate_to_pem(certificate: &CertificateDer<'_>) -> String {
    section("CERTIFICATE", certificate)
}

/// The certificate that the PEM text holds, if it holds one.
pub(in crate::net) fn certificate_from_pem(text: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(text.as_bytes()).ok()
}

fn section(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    // Base64 is ASCII: every cut is at a character's border.
    for line in body.as_bytes().chunks(64) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}
