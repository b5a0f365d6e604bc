//! The actors on the worker.

use std::time::Instant;

use anyhow::Result;
use fleet_runtime::cluster::ActorKind;
use fleet_runtime::{Actor, ActorError, Context, Message, Payload, ReplyTo, Restart};
use wincode::{SchemaRead, SchemaWrite};

use super::super::driver::{rate, resident};

/// Takes messages and counts them.
pub struct Sink(u64);

#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum SinkMsg {
    Take(Payload),
    Echo(Payload, ReplyTo<Payload>),
    Count(ReplyTo<u64>),
    /// Starts so many children; how many a second, and the bytes of memory that each takes.
    Crowd(u64, ReplyTo<(f64, f64)>),
}

impl Message for SinkMsg {
    const KIND: &'static str = "bench.sink";
}

impl Actor for Sink {
    type Msg = SinkMsg;
    type Args = u64;

    async fn start(from: u64, _: &Context<SinkMsg>) -> Result<Self, ActorError> {
        Ok(Self(from))
    }

    async fn handle(&mut self, msg: SinkMsg, ctx: &Context<SinkMsg>) -> Result<(), ActorError> {
        match msg {
            SinkMsg::Take(_) => self.0 += 1,
            SinkMsg::Echo(payload, reply) => reply.send(payload),
            SinkMsg::Count(reply) => reply.send(self.0),
            SinkMsg::Crowd(count, reply) => reply.send(crowd(ctx, count).await?),
        }
        Ok(())
    }
}

impl ActorKind for Sink {
    const NAME: &'static str = "bench.sink";
    const VERSION: u16 = 1;
}

async fn crowd(ctx: &Context<SinkMsg>, count: u64) -> Result<(f64, f64), ActorError> {
    let memory = || resident().map_err(|e| ActorError::failed(std::io::Error::other(e.to_string())));
    let before = memory()?;
    let began = Instant::now();
    for n in 0..count {
        ctx.spawn::<Sink>(format!("idle-{n}"), n, Restart::Permanent).await?;
    }
    let spawned = rate(count as usize, began);
    Ok((spawned, (memory()? - before) / count as f64))
}
