//! An actor kind: its messages, the actor, and the name by which any node can start one.

use fleet_runtime::cluster::ActorKind;
use fleet_runtime::{Actor, ActorError, Context, Message, ReplyTo};
use wincode::{SchemaRead, SchemaWrite};

/// What a counter is told. Every message type derives the wire codec, so it can come from any node.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum CounterMsg {
    Add(u64),
    /// The answer: what it counts, and the process that it lives in.
    Where(ReplyTo<(u64, u32)>),
}

impl Message for CounterMsg {
    const KIND: &'static str = "example.counter";
}

pub struct Counter {
    count: u64,
}

impl Actor for Counter {
    type Msg = CounterMsg;
    /// What it begins with, and begins anew with on another node when its own is lost.
    type Args = u64;

    async fn start(count: u64, _: &Context<CounterMsg>) -> Result<Self, ActorError> {
        Ok(Self { count })
    }

    async fn handle(&mut self, msg: CounterMsg, _: &Context<CounterMsg>) -> Result<(), ActorError> {
        match msg {
            CounterMsg::Add(n) => self.count += n,
            CounterMsg::Where(reply) => reply.send((self.count, std::process::id())),
        }
        Ok(())
    }
}

impl ActorKind for Counter {
    const NAME: &'static str = "example.counter";
    const VERSION: u16 = 1;
}
