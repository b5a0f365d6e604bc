//! What is measured between the two nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use fleet_runtime::cluster::{ActorKinds, ClusterNode};
use fleet_runtime::{Payload, Ref, Restart};

use super::super::contender::Who;
use super::super::driver::{answer, micros, quantile, rate, resident};
use super::super::floor::round_trips;
use super::super::question::{Measure, Question};
use super::actors::{Sink, SinkMsg};
use crate::area::nodes::{LONG, Nodes, apart, join_with, on_the_worker, until_orphaned};

const SMALL: usize = 64;
const LARGE: usize = 16 << 20;
/// Spawns under way at a time.
const SPAWNING: usize = 64;

/// How this program is told to be the worker.
pub const WORKER: &str = "fleet-worker";
/// The same, as if it were on another machine.
pub const WORKER_APART: &str = "fleet-worker-apart";

/// The worker's process; ends with the one that started it.
pub fn worker(args: &[String], is_apart: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let options = if is_apart { apart } else { |launch| launch };
    let _node = runtime.block_on(join_with(args, ActorKinds::builder().with::<Sink>(), options))?;
    until_orphaned();
    Ok(())
}

/// Answers questions until standard input ends.
pub fn drive(is_apart: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let nodes = match is_apart {
        true => runtime.block_on(Nodes::start_with(WORKER_APART, apart))?,
        false => runtime.block_on(Nodes::start(WORKER))?,
    };
    let pair = runtime.block_on(Pair::new(nodes.control.cluster().clone()))?;
    let name = if is_apart { Who::FleetApart } else { Who::Fleet }.name();
    answer(name, |question| {
        // On a worker thread, as an actor that asks would be: this one would be woken over and over.
        runtime.block_on(runtime.spawn(pair.clone().measure(question)))?
    })
}

#[derive(Clone)]
struct Pair {
    cluster: ClusterNode,
    sink: Ref<SinkMsg>,
    /// Takes the large ones while `sink` is asked.
    other: Ref<SinkMsg>,
    /// Makes the keys of actors unique over all questions.
    spawned: Arc<AtomicU64>,
}

impl Pair {
    async fn new(cluster: ClusterNode) -> Result<Self> {
        let (sink, other) = (spawn(&cluster, 0).await?, spawn(&cluster, 1).await?);
        Ok(Self { cluster, sink, other, spawned: Arc::new(AtomicU64::new(2)) })
    }

    async fn measure(self, Question { measure, count }: Question) -> Result<Vec<f64>> {
        Ok(match measure {
            Measure::Tell(bytes) => vec![self.tell(bytes, count).await?],
            Measure::Ask => vec![quantile(&mut ask(&self.sink, count).await?, 0.5)],
            Measure::Asks(flying) => vec![self.asks(flying, count).await?],
            Measure::Beside => self.beside(count).await?,
            Measure::SpawnRemote => vec![self.spawns(count).await?],
            Measure::Crowd => self.crowd(count).await?,
            Measure::Floor => vec![tokio::task::spawn_blocking(move || round_trips(count)).await??],
        })
    }

    async fn tell(&self, bytes: usize, count: usize) -> Result<f64> {
        let payload = Payload::new(vec![7; bytes]);
        let before = self.sink.ask(LONG, SinkMsg::Count).await?;
        let began = Instant::now();
        for _ in 0..count {
            self.sink.tell(SinkMsg::Take(payload.clone())).await?;
        }
        let taken = self.sink.ask(LONG, SinkMsg::Count).await? - before;
        let rate = rate(count, began);
        ensure!(taken == count as u64, "{count} sent, {taken} taken");
        Ok(rate)
    }

    async fn asks(&self, flying: usize, count: usize) -> Result<f64> {
        let each = (count / flying).max(1);
        let began = Instant::now();
        let askers: Vec<_> = (0..flying)
            .map(|_| {
                let sink = self.sink.clone();
                tokio::spawn(async move { ask(&sink, each).await.map(drop) })
            })
            .collect();
        for asker in askers {
            asker.await??;
        }
        Ok(rate(each * flying, began))
    }

    async fn beside(&self, count: usize) -> Result<Vec<f64>> {
        let over = Arc::new(AtomicBool::new(false));
        let stream = tokio::spawn(stream(self.other.clone(), over.clone()));
        // It has to flow first: until then the questions would be alone.
        let from = self.other.ask(LONG, SinkMsg::Count).await?;
        while self.other.ask(LONG, SinkMsg::Count).await? < from + 2 && !stream.is_finished() {}
        let times = ask(&self.sink, count).await;
        over.store(true, Ordering::Relaxed);
        stream.await??;
        self.other.ask(LONG, SinkMsg::Count).await?;
        let mut times = times?;
        Ok(vec![quantile(&mut times, 0.5), quantile(&mut times, 0.99)])
    }

    async fn spawns(&self, count: usize) -> Result<f64> {
        let each = (count / SPAWNING).max(1);
        let began = Instant::now();
        let spawning: Vec<_> = (0..SPAWNING)
            .map(|_| {
                let pair = self.clone();
                tokio::spawn(async move {
                    for _ in 0..each {
                        spawn(&pair.cluster, pair.spawned.fetch_add(1, Ordering::Relaxed)).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for spawning in spawning {
            spawning.await??;
        }
        Ok(rate(each * SPAWNING, began))
    }

    async fn crowd(&self, count: usize) -> Result<Vec<f64>> {
        let before = resident()?;
        let (spawned, each) = self.sink.ask(LONG, |reply| SinkMsg::Crowd(count as u64, reply)).await?;
        Ok(vec![spawned, each, (resident()? - before) / count as f64])
    }
}

async fn spawn(cluster: &ClusterNode, n: u64) -> Result<Ref<SinkMsg>> {
    Ok(cluster.spawn::<Sink>(&format!("sink/{n}"), &0, Restart::Permanent, on_the_worker(), LONG).await?)
}

/// One after the other; microseconds of each.
async fn ask(sink: &Ref<SinkMsg>, count: usize) -> Result<Vec<f64>> {
    let payload = Payload::new(vec![7; SMALL]);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        sink.ask(LONG, |reply| SinkMsg::Echo(payload.clone(), reply)).await?;
        times.push(micros(began));
    }
    Ok(times)
}

async fn stream(to: Ref<SinkMsg>, over: Arc<AtomicBool>) -> Result<()> {
    let payload = Payload::new(vec![7; LARGE]);
    while !over.load(Ordering::Relaxed) {
        to.tell(SinkMsg::Take(payload.clone())).await?;
    }
    Ok(())
}
