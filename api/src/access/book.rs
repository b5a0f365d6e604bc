//! Which tokens were issued and which of them still hold: a plain fold over the events of the stream `access`.
//!
//! A token is known by the seq of the event that issued it. What is kept of its secret is its digest.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::{Author, Envelope, NewEvent, Seq, Timestamp};
use serde::{Deserialize, Serialize};

/// Tokens that may hold at once.
const MAX_LIVE: usize = 1000;
/// The longest name, in bytes.
const MAX_NAME: usize = 64;

const ISSUED: &str = "access.issued";
const REVOKED: &str = "access.revoked";

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The seq of the event that issued it.
    pub id: Seq,
    /// Whom it stands for.
    pub principal: Principal,
    /// Who issued it.
    pub by: Author,
    /// When.
    pub at: Timestamp,
    /// From when on it no longer holds.
    pub expires_at: Option<Timestamp>,
    /// Since when it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl Issued {
    /// Whether it holds at that time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// How long it still holds if nobody takes it back; none if without end.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        self.expires_at.map(|end| end.since(now))
    }
}

/// Why a change of access isn't made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Take another name.
    #[error("{0:?} can't be the name of a token")]
    Name(String),
    /// Take another name, or revoke that token first.
    #[error("there is a token for {0} already")]
    Taken(String),
    /// Revoke some first.
    #[error("there are {MAX_LIVE} tokens already")]
    TooMany,
    /// Look at the list.
    #[error("there is no token for {0}, or it doesn't hold any more")]
    Unknown(String),
}

#[derive(Serialize, Deserialize)]
struct IssuedPayload {
    name: String,
    level: AccessLevel,
    /// BLAKE3 of the token, hex.
    digest: String,
    expires_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct RevokedPayload {
    name: String,
    /// The seq of the event that issued it.
    token: Seq,
}

/// What is known of tokens. Folded from events, in their order.
#[derive(Debug, Clone, Default)]
pub struct Book {
    issued: BTreeMap<Seq, Issued>,
    by_digest: HashMap<blake3::Hash, Seq>,
    last: Seq,
}

impl Book {
    /// The seq of the last event that it has.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// Takes the next event. One of an unknown kind means nothing here.
    pub fn apply(&mut self, event: &Envelope) -> Result<(), String> {
        self.last = event.seq;
        let unreadable = |e: &dyn std::fmt::Display| format!("{} {} can't be read: {e}", event.kind, event.seq);
        match event.kind.as_str() {
            ISSUED => {
                let payload: IssuedPayload =
                    serde_json::from_value(event.payload.clone()).map_err(|e| unreadable(&e))?;
                let digest = blake3::Hash::from_hex(&payload.digest).map_err(|e| unreadable(&e))?;
                self.by_digest.insert(digest, event.seq);
                let issued = Issued {
                    id: event.seq,
                    principal: Principal { name: payload.name, level: payload.level },
                    by: event.by.clone(),
                    at: event.at,
                    expires_at: payload.expires_at,
                    revoked_at: None,
                };
                self.issued.insert(event.seq, issued);
            }
            REVOKED => {
                let payload: RevokedPayload =
                    serde_json::from_value(event.payload.clone()).map_err(|e| unreadable(&e))?;
                if let Some(issued) = self.issued.get_mut(&payload.token) {
                    issued.revoked_at.get_or_insert(event.at);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The token with this digest, whether it still holds or not. Nothing is learnt from how long this takes: what is
    /// compared is a digest, which nobody can choose piece by piece.
    pub fn find(&self, digest: &blake3::Hash) -> Option<&Issued> {
        self.issued.get(self.by_digest.get(digest)?)
    }

    /// The token with this id.
    pub fn get(&self, id: Seq) -> Option<&Issued> {
        self.issued.get(&id)
    }

    /// All of them, in the order in which they were issued.
    pub fn all(&self) -> impl Iterator<Item = &Issued> {
        self.issued.values()
    }

    /// The event that issues a token.
    pub fn issue(
        &self,
        by: Author,
        wanted: &Principal,
        digest: &blake3::Hash,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<NewEvent, Refused> {
        let Principal { name, level } = wanted.clone();
        if !is_name(&name) {
            return Err(Refused::Name(name));
        }
        if self.live(&name, now).is_some() {
            return Err(Refused::Taken(name));
        }
        if self.all().filter(|issued| issued.holds(now)).count() >= MAX_LIVE {
            return Err(Refused::TooMany);
        }
        let payload = IssuedPayload { name, level, digest: digest.to_hex().to_string(), expires_at };
        Ok(NewEvent::new(by, ISSUED, serde_json::to_value(payload).unwrap_or_default()))
    }

    /// The event that takes the token of that name back, and the token.
    pub fn revoke(&self, by: Author, name: &str, now: Timestamp) -> Result<(Seq, NewEvent), Refused> {
        let issued = self.live(name, now).ok_or_else(|| Refused::Unknown(name.to_owned()))?;
        let payload = RevokedPayload { name: name.to_owned(), token: issued.id };
        Ok((issued.id, NewEvent::new(by, REVOKED, serde_json::to_value(payload).unwrap_or_default())))
    }

    fn live(&self, name: &str, now: Timestamp) -> Option<&Issued> {
        self.all().find(|issued| issued.principal.name == name && issued.holds(now))
    }
}

/// Letters, digits, dots, dashes, underscores and `@`: what stands in records and needs no quotes in a shell.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
