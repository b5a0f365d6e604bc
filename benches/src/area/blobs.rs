//! A blob that actors of another node need: two nodes with mutual TLS, each a process, everything as by default.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use fleet_runtime::blob::{BlobActor, BlobMsg, BlobRole, BlobsSetup, NoPeers};
use fleet_runtime::cluster::{ActorKind, ActorKinds};
use fleet_runtime::{
    Actor, ActorError, BlobOptions, BlobStore, Blobs, Context, Digest, Message, Ref, ReplyTo, Restart,
};
use wincode::{SchemaRead, SchemaWrite};

use super::Run;
use super::nodes::{LONG, Nodes, join, on_the_worker, until_orphaned};
use crate::{Figure, Target};

/// How this program is told to be the worker.
pub const WORKER: &str = "blobs-worker";
/// More than elsewhere: an fsync is in each, and its time varies most.
const ROUNDS: usize = 21;
const SIZE: usize = 16 << 20;
const ACTORS: usize = 100;

/// Needs a blob for its work.
struct Reader(Blobs);

#[derive(Debug, SchemaWrite, SchemaRead)]
enum ReaderMsg {
    Load(Digest, ReplyTo<u64>),
}

impl Message for ReaderMsg {
    const KIND: &'static str = "bench.blob-reader";
}

impl Actor for Reader {
    type Msg = ReaderMsg;
    type Args = ();

    async fn start((): (), ctx: &Context<ReaderMsg>) -> Result<Self, ActorError> {
        Ok(Self(ctx.provided().await?))
    }

    async fn handle(&mut self, msg: ReaderMsg, _: &Context<ReaderMsg>) -> Result<(), ActorError> {
        let ReaderMsg::Load(digest, reply) = msg;
        reply.send(self.0.get(&digest).await.map_err(ActorError::failed)?.len() as u64);
        Ok(())
    }
}

/// Has the readers, and the clock: the way of the question to their node isn't a part of it.
struct Readers(Vec<Ref<ReaderMsg>>);

#[derive(Debug, SchemaWrite, SchemaRead)]
enum ReadersMsg {
    /// Milliseconds until so many of them have that blob, and how many bytes each got.
    Load(Digest, u64, ReplyTo<(f64, Vec<u64>)>),
}

impl Message for ReadersMsg {
    const KIND: &'static str = "bench.blob-readers";
}

impl Actor for Readers {
    type Msg = ReadersMsg;
    type Args = ();

    async fn start((): (), ctx: &Context<ReadersMsg>) -> Result<Self, ActorError> {
        let mut readers = Vec::new();
        for n in 0..ACTORS {
            readers.push(ctx.spawn::<Reader>(format!("reader-{n}"), (), Restart::Temporary).await?);
        }
        Ok(Self(readers))
    }

    async fn handle(&mut self, msg: ReadersMsg, _: &Context<ReadersMsg>) -> Result<(), ActorError> {
        let ReadersMsg::Load(digest, count, reply) = msg;
        let began = Instant::now();
        let readers = self.0.iter().take(count as usize).cloned();
        let asking: Vec<_> = readers
            .map(|reader| tokio::spawn(async move { reader.ask(LONG, |reply| ReaderMsg::Load(digest, reply)).await }))
            .collect();
        let mut bytes = Vec::new();
        for asked in asking {
            bytes.push(asked.await.map_err(ActorError::failed)?.map_err(ActorError::failed)?);
        }
        reply.send((began.elapsed().as_secs_f64() * 1e3, bytes));
        Ok(())
    }
}

impl ActorKind for Readers {
    const NAME: &'static str = "bench.blob-readers";
    const VERSION: u16 = 1;
}

/// The worker's process; ends with the one that started it.
pub fn worker(args: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let [state, ..] = args else { bail!("a worker takes a folder") };
    let blobs = Path::new(state).with_extension("blobs");
    let _node = runtime.block_on(async {
        let node = join(args, ActorKinds::builder().with::<Readers>()).await?;
        let way: Ref<BlobMsg> = node.cluster().service(BlobActor::NAME);
        let store = BlobStore::open(&blobs, BlobOptions::default())?;
        node.system().provide(Blobs::start(BlobsSetup::new(store, BlobRole::Cache, Arc::new(way))).await?);
        anyhow::Ok(node)
    })?;
    until_orphaned();
    Ok(())
}

/// Median of the rounds; each has a blob of its own that the node hasn't seen.
pub fn measure(run: &Run) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(both(run.count(ROUNDS, 1)))
}

async fn both(rounds: usize) -> Result<Vec<Figure>> {
    let nodes = Nodes::start(WORKER).await?;
    let store = BlobStore::open(&nodes.state.path().join("kept"), BlobOptions::default())?;
    let keeper = Blobs::start(BlobsSetup::new(store, BlobRole::Keeper, Arc::new(NoPeers))).await?;
    keeper.serve(nodes.control.system()).await?;
    let cluster = nodes.control.cluster();
    let readers = cluster.spawn::<Readers>("readers", &(), Restart::Temporary, on_the_worker(), LONG).await?;
    let (mut one, mut all, mut most) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds as u64 {
        for (times, count) in [(&mut one, 1), (&mut all, ACTORS)] {
            let digest = keeper.put(content(2 * round + u64::from(count > 1))).await?;
            let before = keeper.stats().served_bytes;
            times.push(load(&readers, digest, count).await?);
            most = most.max(keeper.stats().served_bytes - before);
        }
    }
    let ratio = median(one.iter().zip(&all).map(|(one, all)| all / one).collect());
    let transfers = most as f64 / SIZE as f64;
    keeper.stop().await;
    Ok(vec![
        Figure::new("16 MiB blob from another node to one actor, on disk and checked, mutual TLS", median(one), "ms"),
        Figure::new(format!("the same to {ACTORS} actors of one node"), median(all), "ms"),
        Figure::new(format!("time of {ACTORS} actors over time of one"), ratio, "x").must(Target::AtMost(1.3)),
        Figure::new(format!("transfers for {ACTORS} actors"), transfers, "").must(Target::AtMost(1.0)),
    ])
}

fn content(round: u64) -> Vec<u8> {
    let mut bytes = vec![7; SIZE];
    bytes[..8].copy_from_slice(&round.to_le_bytes());
    bytes
}

/// Milliseconds until all of them have it.
async fn load(readers: &Ref<ReadersMsg>, digest: Digest, count: usize) -> Result<f64> {
    let (millis, bytes) = readers.ask(LONG, |reply| ReadersMsg::Load(digest, count as u64, reply)).await?;
    ensure!(bytes == vec![SIZE as u64; count], "blobs of {bytes:?} bytes arrived");
    Ok(millis)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
