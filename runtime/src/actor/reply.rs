//! The right to answer one question, once.
//!
//! A [`ReplyTo`] that is dropped unanswered tells the asker so at once. One that crosses a link
//! leaves its channel in a table on the asker's side and travels as a token; an answer (or the
//! drop) comes back under that token.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use wincode::adapter::FromInto;
use wincode::{SchemaRead, SchemaWrite};

use super::crossing::{self, Arrived, Link, Parcel, PortToken, Refusal, decode_crossing, encode_crossing};
use crate::codec::{CodecError, Wire};

/// Answers one `ask`. Dropping it is an answer too: "there will be none".
#[derive(SchemaWrite, SchemaRead)]
pub struct ReplyTo<R> {
    #[wincode(with = "FromInto<PortToken, Port<R>>")]
    port: Port<R>,
}

struct Port<R>(Mutex<PortState<R>>);

enum PortState<R> {
    Local(LocalPort<R>),
    /// It has been sent on; answering is up to whoever has it now.
    Exported(PortToken),
    Remote(RemotePort),
    /// Answered, or decoded outside of a crossing.
    Dead,
}

type Decode<R> = fn(Arrived, &Arc<dyn Link>) -> Result<R, CodecError>;

/// Where an answer arrives: the answer, or that the question was certainly not delivered.
pub(super) type Answer<R> = oneshot::Receiver<Result<R, Refusal>>;

struct LocalPort<R> {
    tx: oneshot::Sender<Result<R, Refusal>>,
    /// Captured where `R` was known to have the codec, so that moving a port asks nothing of `R`.
    decode: Decode<R>,
}

struct RemotePort {
    token: PortToken,
    link: Arc<dyn Link>,
    answered: bool,
}

impl Drop for RemotePort {
    fn drop(&mut self) {
        if !self.answered {
            self.link.answer(self.token, None);
        }
    }
}

/// A port left behind on the asker's side of a link.
pub(super) trait LeftPort: Send {
    fn answer(self: Box<Self>, answer: Arrived, link: &Arc<dyn Link>) -> Result<(), CodecError>;

    /// The question was certainly not delivered.
    fn refuse(self: Box<Self>, why: Refusal);
}

impl<R: Send + 'static> LeftPort for LocalPort<R> {
    fn answer(self: Box<Self>, answer: Arrived, link: &Arc<dyn Link>) -> Result<(), CodecError> {
        let value = (self.decode)(answer, link)?;
        // The asker may have given up; that is its right.
        let _ = self.tx.send(Ok(value));
        Ok(())
    }

    fn refuse(self: Box<Self>, why: Refusal) {
        let _ = self.tx.send(Err(why));
    }
}

impl LeftPort for RemotePort {
    // A port that came over one link and left over another: the bytes are handed on as they are.
    fn answer(mut self: Box<Self>, answer: Arrived, _: &Arc<dyn Link>) -> Result<(), CodecError> {
        self.answered = true;
        let parcel = Parcel { head: answer.head, attached: vec![answer.attached], ..Parcel::default() };
        self.link.answer(self.token, Some(parcel));
        Ok(())
    }

    fn refuse(self: Box<Self>, _: Refusal) {
        // Dropping it tells the first asker that no answer will come; it got further than here, so that is all we know.
    }
}

impl<R: Wire + Send + 'static> ReplyTo<R> {
    /// A port and where its answer arrives.
    pub(super) fn open() -> (Self, Answer<R>) {
        let (tx, rx) = oneshot::channel();
        let local = LocalPort { tx, decode: decode_crossing::<R> };
        (Self { port: Port(Mutex::new(PortState::Local(local))) }, rx)
    }

    /// A port, and what resolves with its answer or, when there will be none, with `None`. For tests; else `Ref::ask`.
    pub fn channel() -> (Self, impl Future<Output = Option<R>>) {
        let (port, answer) = Self::open();
        (port, async { answer.await.ok().and_then(Result::ok) })
    }

    /// Answers. Whether the asker still waits is not the answerer's concern.
    pub fn send(self, value: R) {
        match self.port.take() {
            PortState::Local(local) => drop(local.tx.send(Ok(value))),
            PortState::Remote(mut remote) => match encode_crossing(&value, &remote.link) {
                Ok(parcel) => {
                    remote.answered = true;
                    remote.link.answer(remote.token, Some(parcel));
                }
                Err(e) => tracing::warn!(error = %e, "an answer could not be encoded"),
            },
            PortState::Exported(_) | PortState::Dead => {}
        }
    }
}

impl<R> ReplyTo<R> {
    /// False once the asker is known to have given up: work for it can be dropped.
    pub fn is_wanted(&self) -> bool {
        match &*self.port.lock() {
            PortState::Local(local) => !local.tx.is_closed(),
            PortState::Remote(_) => true,
            PortState::Exported(_) | PortState::Dead => false,
        }
    }
}

impl<R> Port<R> {
    fn lock(&self) -> std::sync::MutexGuard<'_, PortState<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> PortState<R> {
        std::mem::replace(&mut *self.lock(), PortState::Dead)
    }
}

impl<R: Send + 'static> From<&Port<R>> for PortToken {
    // Called twice for one encoding (size, then bytes): the second call finds the first one's token.
    fn from(port: &Port<R>) -> Self {
        let mut state = port.lock();
        let left: Box<dyn LeftPort> = match std::mem::replace(&mut *state, PortState::Dead) {
            PortState::Local(local) => Box::new(local),
            PortState::Remote(remote) => Box::new(remote),
            PortState::Exported(token) => {
                *state = PortState::Exported(token);
                return token;
            }
            PortState::Dead => return PortToken::NONE,
        };
        match crossing::leave_port(left) {
            Some(token) => {
                *state = PortState::Exported(token);
                token
            }
            None => PortToken::NONE,
        }
    }
}

impl<R> From<PortToken> for Port<R> {
    fn from(token: PortToken) -> Self {
        let link = if token == PortToken::NONE { None } else { crossing::current_link() };
        Self(Mutex::new(match link {
            Some(link) => PortState::Remote(RemotePort { token, link, answered: false }),
            None => PortState::Dead,
        }))
    }
}

impl<R> fmt::Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.port.lock() {
            PortState::Local(_) => "local",
            PortState::Exported(_) => "sent on",
            PortState::Remote(_) => "remote",
            PortState::Dead => "dead",
        };
        write!(f, "ReplyTo({state})")
    }
}
