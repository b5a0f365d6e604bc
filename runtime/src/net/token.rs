//! One-time join tokens: what a person copies from the control node to a new machine.
//!
//! A token is a secret. It says which cluster to join and by which fingerprint to know its CA, and it
//! proves to the control node that somebody with access to it invited this machine. Its text is shown
//! only by [`JoinToken::expose`].

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use super::error::NetError;
use super::identity::{ClusterId, ClusterIdentity, Fingerprint};
use super::private_file;
use crate::codec::crc32c;
use crate::time::Timestamp;

const PREFIX: &str = "fleet-join-";
const VERSION: u8 = 1;
/// version, cluster, fingerprint, nonce, expiry
const SIGNED_BYTES: usize = 1 + 16 + 32 + 16 + 8;
const MAC_BYTES: usize = 32;
/// A checksum that needs no secret: the new machine itself can tell a mistyped token.
const CRC_BYTES: usize = 4;
const TOKEN_BYTES: usize = SIGNED_BYTES + MAC_BYTES + CRC_BYTES;
const SECRET_BYTES: usize = 32;
/// Longer than any join takes.
const GRACE_MILLIS: i64 = 10 * 60 * 1000;

/// Tells one token from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TokenNonce(pub Uuid);

/// A join token as it was read: whole, but not yet known to be genuine.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    cluster: ClusterId,
    fingerprint: Fingerprint,
    nonce: TokenNonce,
    expires: u64,
    mac: [u8; MAC_BYTES],
}

impl JoinToken {
    /// Reads what a person pasted; space around it doesn't matter.
    pub fn parse(text: &str) -> Result<Self, NetError> {
        let malformed = NetError::TokenMalformed;
        let body = text.trim().strip_prefix(PREFIX).ok_or(malformed("it must start with fleet-join-"))?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| malformed("it has characters that can't be in one"))?;
        if let Some(&version) = bytes.first().filter(|&&version| version != VERSION && crc_fits(&bytes)) {
            return Err(NetError::TokenVersion(version));
        }
        let bytes: [u8; TOKEN_BYTES] = bytes.try_into().map_err(|_| malformed("its length is wrong"))?;
        if !crc_fits(&bytes) {
            return Err(malformed("its checksum is wrong"));
        }
        let mut rest = bytes.as_slice();
        let [_version] = take(&mut rest)?;
        Ok(Self {
            cluster: ClusterId(Uuid::from_bytes(take(&mut rest)?)),
            fingerprint: Fingerprint(take(&mut rest)?),
            nonce: TokenNonce(Uuid::from_bytes(take(&mut rest)?)),
            expires: u64::from_be_bytes(take(&mut rest)?),
            mac: take(&mut rest)?,
        })
    }

    /// The text, one line, to be shown once to the person who asked for it. Never log it.
    pub fn expose(&self) -> String {
        let mut bytes = self.signed().to_vec();
        bytes.extend_from_slice(&self.mac);
        bytes.extend_from_slice(&crc32c(0, &bytes).to_be_bytes());
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The cluster that it is for.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// By which to know the cluster's CA.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Tells it from other tokens. Not secret.
    pub fn nonce(&self) -> TokenNonce {
        self.nonce
    }

    /// When it stops being good, by the control node's clock.
    pub fn expires(&self) -> Timestamp {
        Timestamp(i64::try_from(self.expires.saturating_mul(1000)).unwrap_or(i64::MAX))
    }

    fn signed(&self) -> [u8; SIGNED_BYTES] {
        let mut bytes = [0; SIGNED_BYTES];
        let parts: [&[u8]; 5] = [
            &[VERSION],
            self.cluster.0.as_bytes(),
            &self.fingerprint.0,
            self.nonce.0.as_bytes(),
            &self.expires.to_be_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(parts.concat()) {
            *to = from;
        }
        bytes
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("cluster", &self.cluster).field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], NetError> {
    let (head, rest) = from.split_first_chunk().ok_or(NetError::TokenMalformed("its length is wrong"))?;
    *from = rest;
    Ok(*head)
}

fn crc_fits(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<CRC_BYTES>().is_some_and(|(body, crc)| crc32c(0, body).to_be_bytes() == *crc)
}

/// The control node's secret behind all join tokens.
pub struct TokenSecret(hmac::Key);

impl TokenSecret {
    /// Loads it, or makes one. Removing the file voids all tokens that are out. Blocks on the disk.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, NetError> {
        let content = match private_file::read(path)? {
            Some(content) => content,
            None => {
                let mut secret = [0; SECRET_BYTES];
                SystemRandom::new().fill(&mut secret).map_err(NetError::crypto)?;
                private_file::create(path, &secret)?;
                private_file::read(path)?.ok_or_else(|| NetError::damaged(path, "it went away"))?
            }
        };
        if content.len() != SECRET_BYTES {
            return Err(NetError::damaged(path, format_args!("it must have {SECRET_BYTES} bytes")));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &content)))
    }

    /// Makes a token for one new node, good from `now` for `lifetime` (whole seconds).
    pub fn issue(&self, cluster: &ClusterIdentity, now: Timestamp, lifetime: Duration) -> Result<JoinToken, NetError> {
        let mut nonce = [0; 16];
        SystemRandom::new().fill(&mut nonce).map_err(NetError::crypto)?;
        let mut token = JoinToken {
            cluster: cluster.cluster,
            fingerprint: cluster.fingerprint,
            nonce: TokenNonce(Uuid::from_bytes(nonce)),
            expires: unix_seconds(now).saturating_add(lifetime.as_secs()),
            mac: [0; MAC_BYTES],
        };
        let mac = hmac::sign(&self.0, &token.signed());
        token.mac.copy_from_slice(mac.as_ref());
        Ok(token)
    }

    /// Whether this control node made the token, for this cluster, and it is still good at `now`.
    /// Whether it was used is for [`TokenBook`] to say. The comparison takes constant time.
    pub fn verify(&self, token: &JoinToken, cluster: &ClusterIdentity, now: Timestamp) -> Result<(), NetError> {
        if token.cluster != cluster.cluster {
            return Err(NetError::TokenOtherCluster { token: token.cluster, ours: cluster.cluster });
        }
        hmac::verify(&self.0, &token.signed(), &token.mac).map_err(|_| NetError::TokenForged)?;
        match unix_seconds(now).checked_sub(token.expires) {
            Some(seconds_ago) => Err(NetError::TokenExpired { seconds_ago }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

fn unix_seconds(at: Timestamp) -> u64 {
    u64::try_from(at.millis()).unwrap_or(0) / 1000
}

/// Where the use of a token is written down, so that a restart doesn't forget it.
pub trait UsedTokens: Send + Sync + 'static {
    /// Resolves once it is on disk. May be forgotten after `expires`. An error says why it isn't.
    fn record(&self, nonce: TokenNonce, expires: Timestamp) -> BoxFuture<'_, Result<(), String>>;
}

/// Which tokens were used. Holds each until it expires, at most `limit` of them.
pub struct TokenBook {
    used: Mutex<HashMap<TokenNonce, Timestamp>>,
    record: Arc<dyn UsedTokens>,
    limit: usize,
}

impl TokenBook {
    /// `used`: what was recorded before, with expiry.
    pub fn new(
        record: Arc<dyn UsedTokens>,
        used: impl IntoIterator<Item = (TokenNonce, Timestamp)>,
        limit: usize,
    ) -> Self {
        Self { used: Mutex::new(used.into_iter().collect()), record, limit }
    }

    /// Refuses a token that was used. Cheap; [`Self::spend`] has the last word.
    pub fn check(&self, token: &JoinToken) -> Result<(), NetError> {
        if self.lock().contains_key(&token.nonce) { Err(NetError::TokenUsed) } else { Ok(()) }
    }

    /// Takes a genuine token: exactly one caller ever gets `Ok` for it, and only once that is
    /// recorded. If the future is dropped the token counts as used.
    pub async fn spend(&self, token: &JoinToken, now: Timestamp) -> Result<(), NetError> {
        self.reserve(token, now)?;
        let recorded = self.record.record(token.nonce, token.expires()).await;
        recorded.map_err(|why| {
            self.lock().remove(&token.nonce);
            NetError::TokenBook(why.into())
        })
    }

    /// How many used tokens are remembered.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn reserve(&self, token: &JoinToken, now: Timestamp) -> Result<(), NetError> {
        let mut used = self.lock();
        // Kept a while longer: one that was verified just before it expired may come after it.
        used.retain(|_, expires| expires.millis().saturating_add(GRACE_MILLIS) > now.millis());
        if used.contains_key(&token.nonce) {
            return Err(NetError::TokenUsed);
        }
        if used.len() >= self.limit {
            return Err(NetError::TokenBookFull { limit: self.limit });
        }
        used.insert(token.nonce, token.expires());
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TokenNonce, Timestamp>> {
        // Nothing panics with the lock held; if it did, the map would still be whole.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
