//! A consumer that is slower than its producer, on another node: what it costs both, and what the producer is told.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fleet_runtime::cluster::{ActorKind, ActorKinds};
use fleet_runtime::{Actor, ActorError, Context, Message, Payload, Ref, ReplyTo, Restart, SendError};
use wincode::{SchemaRead, SchemaWrite};

use super::Run;
use super::nodes::{LONG, Nodes, join, on_the_worker, until_orphaned};
use super::runtime::resident;
use crate::{Figure, Target};

/// How this program is told to be the worker.
pub const WORKER: &str = "overload-worker";
const SIZE: usize = 64 << 10;
/// What the consumer takes for a message.
const WORK: Duration = Duration::from_millis(1);
/// Between two messages of the producer: ten times as many as are taken.
const PACE: Duration = Duration::from_micros(100);
/// Memory isn't looked at before all bounds are reached.
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: u64 = 60;
/// What counts as flat.
const FLAT_MIB: f64 = 8.0;

struct Slow(u64);

#[derive(Debug, SchemaWrite, SchemaRead)]
enum SlowMsg {
    Take(Payload),
    Taken(ReplyTo<u64>),
}

impl Message for SlowMsg {
    const KIND: &'static str = "bench.slow";
}

impl Actor for Slow {
    type Msg = SlowMsg;
    type Args = ();

    async fn start((): (), _: &Context<SlowMsg>) -> Result<Self, ActorError> {
        Ok(Self(0))
    }

    async fn handle(&mut self, msg: SlowMsg, _: &Context<SlowMsg>) -> Result<(), ActorError> {
        match msg {
            SlowMsg::Take(_) => {
                tokio::time::sleep(WORK).await;
                self.0 += 1;
            }
            SlowMsg::Taken(reply) => reply.send(self.0),
        }
        Ok(())
    }
}

impl ActorKind for Slow {
    const NAME: &'static str = "bench.slow";
    const VERSION: u16 = 1;
}

/// Says how much memory its process has: it isn't the slow one, whose mailbox is full.
struct Gauge;

#[derive(Debug, SchemaWrite, SchemaRead)]
enum GaugeMsg {
    Read(ReplyTo<f64>),
}

impl Message for GaugeMsg {
    const KIND: &'static str = "bench.gauge";
}

impl Actor for Gauge {
    type Msg = GaugeMsg;
    type Args = ();

    async fn start((): (), _: &Context<GaugeMsg>) -> Result<Self, ActorError> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: GaugeMsg, _: &Context<GaugeMsg>) -> Result<(), ActorError> {
        let GaugeMsg::Read(reply) = msg;
        reply.send(resident().map_err(|e| ActorError::failed(std::io::Error::other(e.to_string())))?);
        Ok(())
    }
}

impl ActorKind for Gauge {
    const NAME: &'static str = "bench.gauge";
    const VERSION: u16 = 1;
}

/// The worker's process; ends with the one that started it.
pub fn worker(args: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _node = runtime.block_on(join(args, ActorKinds::builder().with::<Slow>().with::<Gauge>()))?;
    until_orphaned();
    Ok(())
}

/// One run of a minute: what is looked at is whether something grows.
pub fn measure(run: &Run) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = Duration::from_secs(if run.quick { 1 } else { MEASURED });
    runtime.block_on(async { runtime.spawn(overload(measured)).await? })
}

async fn overload(measured: Duration) -> Result<Vec<Figure>> {
    let nodes = Nodes::start(WORKER).await?;
    let cluster = nodes.control.cluster();
    let slow = cluster.spawn::<Slow>("slow", &(), Restart::Permanent, on_the_worker(), LONG).await?;
    let gauge = cluster.spawn::<Gauge>("gauge", &(), Restart::Permanent, on_the_worker(), LONG).await?;
    let mut counts = Counts::default();
    counts.produce(&slow, WARM_UP).await?;
    let before = (resident()?, gauge.ask(LONG, GaugeMsg::Read).await?);
    let (mut here, mut there) = before;
    let until = Instant::now() + measured;
    while Instant::now() < until {
        counts.produce(&slow, Duration::from_millis(500)).await?;
        here = here.max(resident()?);
        there = there.max(gauge.ask(LONG, GaugeMsg::Read).await?);
    }
    let taken = slow.ask(LONG, SlowMsg::Taken).await?;
    ensure!(taken == counts.sent, "{} were sent, {taken} were taken", counts.sent);
    nodes.control.shutdown().await;
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let refused = 100.0 * counts.busy as f64 / (counts.sent + counts.busy) as f64;
    Ok(vec![
        Figure::new(
            "slow consumer, 64 KB messages ten times as fast: memory of the producer grows by",
            mib(here - before.0),
            "MiB",
        )
        .must(Target::AtMost(FLAT_MIB)),
        Figure::new("memory of the consumer grows by", mib(there - before.1), "MiB").must(Target::AtMost(FLAT_MIB)),
        Figure::new("memory of the consumer", mib(there), "MiB"),
        Figure::new("messages that the producer is told `Busy` for", refused, "%").must(Target::AtLeast(50.0)),
        Figure::new("longest time in which it is told so", counts.longest.as_secs_f64() * 1e3, "ms"),
    ])
}

#[derive(Default)]
struct Counts {
    sent: u64,
    busy: u64,
    longest: Duration,
}

impl Counts {
    async fn produce(&mut self, to: &Ref<SlowMsg>, how_long: Duration) -> Result<()> {
        let until = Instant::now() + how_long;
        let mut pace = tokio::time::interval(Duration::from_millis(1));
        while Instant::now() < until {
            pace.tick().await;
            for _ in 0..Duration::from_millis(1).as_micros() / PACE.as_micros() {
                let began = Instant::now();
                // Made anew each time: what is refused must be let go of.
                match to.try_tell(SlowMsg::Take(Payload::new(vec![7; SIZE]))) {
                    Ok(()) => self.sent += 1,
                    Err(SendError::Busy) => self.busy += 1,
                    Err(e) => return Err(e.into()),
                }
                self.longest = self.longest.max(began.elapsed());
            }
        }
        Ok(())
    }
}
