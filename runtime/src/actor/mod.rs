//! Actors: state that only messages can reach.
//!
//! An actor implements [`Actor`], is started by [`System::spawn`] or by its parent
//! ([`Context::spawn`]), and is reached through a [`Ref`] and nothing else. Every message type has
//! the wire codec from its first day, so that a reference can be handed to another node later
//! without touching the actor: locally a message moves without being encoded, across a
//! link it travels, replies and references in it included.
//!
//! Delivery is at most once and says so. What must not be lost goes through the journal.
//!
//! ractor hosts the actors (one `Host` each) and stays behind this module: nothing outside names
//! a ractor type, and no message of ours is a remotable ractor message.

mod address;
mod context;
mod crossing;
mod error;
mod figures;
mod host;
mod inward;
mod json;
mod lifeline;
mod loopback;
mod payload;
mod provided;
mod reference;
mod reply;
mod slot;
mod system;

use std::future::Future;

pub use address::ActorAddr;
pub use context::Context;
pub use crossing::{KindId, Refusal};
pub use error::{ActorError, AskError, SendError};
pub use figures::{ActorFigures, KindFigures};
pub use json::Json;
pub use loopback::{Loopback, check_wire};
pub use payload::Payload;
pub use reference::Ref;
pub use reply::ReplyTo;
pub use system::System;

pub(crate) use crossing::{Arrived, Link, Parcel, PortTable, PortToken};
pub(crate) use host::{panic_text, start_child};
pub(crate) use inward::Inward;
pub(crate) use lifeline::Lifeline;
pub(crate) use slot::{MAILBOX, Slot};
pub(crate) use slot::{Tally, Toll};
pub(crate) use system::{AnySlot, Home, Life, Packet, Undelivered};

use crate::codec::Wire;
use crate::supervise::SupervisorOptions;

/// What an actor receives: a type with the wire codec and a stable name.
pub trait Message: Wire + Send + 'static {
    /// Names the type on the wire; a message of another kind is refused, never guessed at.
    const KIND: &'static str;

    /// What of it travels.
    const KIND_ID: KindId = KindId::of(Self::KIND);
}

/// An actor: started from its arguments, fed one message at a time.
pub trait Actor: Sized + Send + 'static {
    type Msg: Message;
    /// What a start (and every restart) gets.
    type Args: Send + Clone + 'static;

    /// Makes the actor. It may spawn children; an error here is the spawner's to deal with.
    fn start(args: Self::Args, ctx: &Context<Self::Msg>) -> impl Future<Output = Result<Self, ActorError>> + Send;

    /// Takes one message. An error or a panic ends the actor; its supervisor decides what follows.
    fn handle(
        &mut self,
        msg: Self::Msg,
        ctx: &Context<Self::Msg>,
    ) -> impl Future<Output = Result<(), ActorError>> + Send;

    /// Called at an orderly end, after the children have ended; not after an error, a panic or a kill.
    fn stopped(&mut self, ctx: &Context<Self::Msg>) -> impl Future<Output = ()> + Send {
        let _ = ctx;
        async {}
    }

    /// How this actor's children are supervised.
    fn supervision() -> SupervisorOptions {
        SupervisorOptions::default()
    }
}

#[cfg(test)]
mod tests;
