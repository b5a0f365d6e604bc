//! An actor kind: its messages, the actor, and the name by which any node can start one.

use fleet_runtime::cluster::ActorKind;
use fleet_runtime::{Actor, ActorError, Context, Kept, Message, ReplyTo};
use wincode::{SchemaRead, SchemaWrite};

/// What a counter is told. Every message type derives the wire codec, so it can come from any node.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum CounterMsg {
    /// The answer: what it counts now; it is on disk by then.
    Add(u64, ReplyTo<u64>),
    /// The answer: what it counts, and the process that it lives in.
    Where(ReplyTo<(u64, u32)>),
}

impl Message for CounterMsg {
    const KIND: &'static str = "example.counter";
}

pub struct Counter {
    /// In the journal, so that it is there again wherever the counter begins anew.
    count: Kept<u64>,
}

impl Actor for Counter {
    type Msg = CounterMsg;
    /// What it begins with.
    type Args = u64;

    async fn start(first: u64, ctx: &Context<CounterMsg>) -> Result<Self, ActorError> {
        Ok(Self { count: Kept::load(ctx, first).await? })
    }

    async fn handle(&mut self, msg: CounterMsg, _: &Context<CounterMsg>) -> Result<(), ActorError> {
        match msg {
            CounterMsg::Add(n, reply) => {
                let add = |count: &mut u64| {
                    *count += n;
                    *count
                };
                reply.send(self.count.change(add).await.map_err(ActorError::failed)?);
            }
            CounterMsg::Where(reply) => reply.send((*self.count, std::process::id())),
        }
        Ok(())
    }
}

impl ActorKind for Counter {
    const NAME: &'static str = "example.counter";
    const VERSION: u16 = 1;
}
