//! The lane: how messages travel between the actors of two nodes.
//!
//! A lane is a pair of connections: small messages, answers and credits go over the *interactive* one, in batches; what
//! is large goes over the *bulk* one in chunks that take turns, so that neither waits behind the other. Both are streams
//! that somebody else has opened, encrypted and tied to a node.
//!
//! Messages to one actor form a *channel*, in which order is kept and two things are bounded: messages and bytes that the
//! actor hasn't taken yet. A third bound holds for all channels of the lane. Whoever has used up a bound waits
//! ([`Ref::tell`](crate::Ref::tell)) or is told [`Busy`](crate::SendError::Busy); the bounds are given back when the actor
//! *takes* a message, not when it arrives. So a slow actor holds up those who send to it and nobody else, and what both
//! nodes hold for each other has a limit.
//!
//! Between two processes of one machine, large messages lie in memory that both have; only word of them is sent.
//!
//! A frame has a checksum; one that doesn't hold ends the lane. A message is kept until the actor has taken it, because it
//! may be for a life of that actor that is over: then it is refused, and follows the actor to where it is now, before anything
//! that its sender sends later.

mod channel;
mod error;
mod figures;
mod forward;
mod frame;
mod inbound;
mod outbox;
mod peer;
mod reader;
mod session;
mod shared;
mod writer;

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

pub use error::LaneError;
pub use figures::LaneFigures;
pub use peer::Peer;
pub(crate) use peer::Routes;

#[cfg(test)]
mod tests;

/// How a lane is bounded and batched. Both ends of a cluster use the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LaneOptions {
    /// Bytes on the way to all actors of the other node, and not yet taken by them. Default 32 MiB. Raise it for links
    /// with a long round trip.
    pub window: ByteSize,
    /// The same for a single actor. Default 2 MiB. Either bound may be exceeded by one message: while less than half of it
    /// is in use, a message of any size passes.
    pub channel_bytes: ByteSize,
    /// Messages on the way to a single actor. Default 1024.
    pub channel_messages: u32,
    /// The largest message; a larger one is refused at its sender (send a blob instead). Default 64 MiB.
    pub max_message: ByteSize,
    /// Bytes of answers that wait to be written, while the other node doesn't read them. What is more isn't sent, and whoever
    /// asked is told that there is no answer. Default 256 MiB.
    pub answers: ByteSize,
    /// Messages from this size on take the bulk connection. Default 32 KiB.
    pub bulk_from: ByteSize,
    /// Piece of a large message after which the next one has its turn; what isn't larger goes whole. Default 512 KiB.
    pub chunk: ByteSize,
    /// Messages from this size on go through memory that both nodes have, where those are processes of one machine and
    /// one user. Default 256 KiB.
    pub shared_from: ByteSize,
    /// How much of such memory a node may have for its messages to one other; 0: none, all goes over the connections.
    /// What isn't used is given back. Default 256 MiB.
    pub shared_memory: ByteSize,
    /// How often channels that nothing goes through are looked for; after two such looks one is closed. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub sweep: Duration,
}

impl Default for LaneOptions {
    fn default() -> Self {
        Self {
            window: ByteSize::mib(32),
            channel_bytes: ByteSize::mib(2),
            channel_messages: 1024,
            max_message: ByteSize::mib(64),
            answers: ByteSize::mib(256),
            bulk_from: ByteSize::kib(32),
            chunk: ByteSize::kib(512),
            shared_from: ByteSize::kib(256),
            shared_memory: ByteSize::mib(256),
            sweep: Duration::from_secs(5),
        }
    }
}
