//! Whose message it is: a trailer with the sender and a MAC.
//!
//! Trailer: version (1 byte), link (8), sender (16), counter (8, big-endian), kind (1), HMAC-SHA256 (32) over all
//! that comes before it. At the end and not in front, so that a message isn't copied to get one.

use std::fmt;

use ring::hmac;
use uuid::Uuid;

use crate::id::NodeId;

/// The label under which TLS derives a link's secret.
pub(super) const EXPORTER: &[u8] = b"EXPORTER-fleet-control";
/// The label for its name, which isn't secret.
pub(super) const EXPORTER_ID: &[u8] = b"EXPORTER-fleet-control-id";

const VERSION: u8 = 1;
const MAC: usize = 32;
/// What [`seal`] adds, in bytes.
pub(super) const TRAILER: usize = 1 + 8 + 16 + 8 + 1 + MAC;

/// Names one TLS connection; both ends derive the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LinkId(pub [u8; 8]);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the sender wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The handler's answer.
    Call = 0,
    /// To know that it was taken.
    Cast = 1,
}

/// What a trailer says. Claims until [`verify`] has been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub link: LinkId,
    pub sender: NodeId,
    pub counter: u64,
    pub kind: Kind,
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkId({self})")
    }
}

/// The key of a link, from its secret.
pub(super) fn key(secret: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

/// Appends the trailer.
pub(super) fn seal(message: &mut Vec<u8>, claims: &Claims, key: &hmac::Key) {
    message.reserve(TRAILER);
    message.push(VERSION);
    message.extend_from_slice(&claims.link.0);
    message.extend_from_slice(claims.sender.0.as_bytes());
    message.extend_from_slice(&claims.counter.to_be_bytes());
    message.push(claims.kind as u8);
    let mac = hmac::sign(key, message);
    message.extend_from_slice(mac.as_ref());
}

/// What the trailer says, if there is one.
pub(super) fn read(sealed: &[u8]) -> Option<Claims> {
    let (_, trailer) = sealed.split_at_checked(sealed.len().checked_sub(TRAILER)?)?;
    let (version, rest) = trailer.split_first()?;
    let (link, rest) = rest.split_first_chunk::<8>()?;
    let (sender, rest) = rest.split_first_chunk::<16>()?;
    let (counter, rest) = rest.split_first_chunk::<8>()?;
    let kind = match rest.first()? {
        0 => Kind::Call,
        1 => Kind::Cast,
        _ => return None,
    };
    let sender = NodeId(Uuid::from_bytes(*sender));
    let claims = Claims { link: LinkId(*link), sender, counter: u64::from_be_bytes(*counter), kind };
    (*version == VERSION).then_some(claims)
}

/// Whether the trailer is by an owner of the key. Takes constant time.
pub(super) fn verify(sealed: &[u8], key: &hmac::Key) -> bool {
    let content = sealed.len().checked_sub(MAC).and_then(|at| sealed.split_at_checked(at));
    content.is_some_and(|(content, mac)| hmac::verify(key, content, mac).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(counter: u64) -> Claims {
        Claims { link: LinkId([7; 8]), sender: NodeId(Uuid::from_u128(9)), counter, kind: Kind::Cast }
    }

    #[test]
    fn what_was_sealed_reads_back_and_verifies_under_its_key_only() {
        let mut message = b"hello".to_vec();
        seal(&mut message, &claims(3), &key(&[1; 32]));
        assert_eq!(message.len(), 5 + TRAILER);
        assert_eq!(read(&message), Some(claims(3)));
        assert!(verify(&message, &key(&[1; 32])));
        assert!(!verify(&message, &key(&[2; 32])));
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let mut message = b"hello".to_vec();
        seal(&mut message, &claims(3), &key(&[1; 32]));
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(!verify(&changed, &key(&[1; 32])), "byte {at}");
        }
    }

    #[test]
    fn what_is_too_short_has_no_trailer() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[1; TRAILER - 1]), None);
        assert!(!verify(&[], &key(&[1; 32])) && !verify(&[0; 31], &key(&[1; 32])));
    }
}
