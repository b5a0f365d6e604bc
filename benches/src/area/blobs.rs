//! A blob that actors of another node need: two nodes with mutual TLS in one process, everything as by default.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fleet_runtime::blob::{BlobActor, BlobMsg, BlobRole, BlobsSetup, NoPeers};
use fleet_runtime::cluster::{ActorKinds, ControlPorts, Launch, LaunchOptions, RunningNode};
use fleet_runtime::placement::{Amounts, Resources};
use fleet_runtime::supervise::ChildOptions;
use fleet_runtime::{Actor, ActorError, BlobOptions, BlobStore, Blobs, Context, Digest, Message, Ref, ReplyTo, System};
use wincode::{SchemaRead, SchemaWrite};

use crate::{Figure, Target};

const LONG: Duration = Duration::from_secs(60);
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
    type Args = Blobs;

    async fn start(blobs: Blobs, _: &Context<ReaderMsg>) -> Result<Self, ActorError> {
        Ok(Self(blobs))
    }

    async fn handle(&mut self, msg: ReaderMsg, _: &Context<ReaderMsg>) -> Result<(), ActorError> {
        let ReaderMsg::Load(digest, reply) = msg;
        reply.send(self.0.get(&digest).await.map_err(ActorError::failed)?.len() as u64);
        Ok(())
    }
}

/// Median of the rounds; each has a blob of its own that the node hasn't seen.
pub fn measure() -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(both())
}

async fn both() -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let ports = ControlPorts::alone(&dir.path().join("journal"))?;
    let control = launch(&dir.path().join("control"), "control", 0)?.control(ports).await?;
    let token = control.invite()?;
    let worker = launch(&dir.path().join("worker"), "worker", 64_000)?.join(control.advertised(), &token).await?;
    let (keeper, node) = blobs(dir.path(), &control, &worker).await?;
    let readers = readers(worker.system(), &node).await?;
    let (mut one, mut all, mut most) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS as u64 {
        for (times, readers) in [(&mut one, &readers[..1]), (&mut all, &readers[..])] {
            let digest = keeper.put(content(2 * round + u64::from(readers.len() > 1))).await?;
            let before = keeper.stats().served_bytes;
            times.push(load(readers, digest).await?);
            most = most.max(keeper.stats().served_bytes - before);
        }
    }
    let (one, all) = (median(one), median(all));
    let transfers = most as f64 / SIZE as f64;
    node.stop().await;
    worker.shutdown().await;
    keeper.stop().await;
    control.shutdown().await;
    Ok(vec![
        Figure::new("16 MiB blob from another node to one actor, on disk and checked, mutual TLS", one, "ms"),
        Figure::new(format!("the same to {ACTORS} actors of one node"), all, "ms"),
        Figure::new(format!("time of {ACTORS} actors over time of one"), all / one, "x").must(Target::AtMost(1.3)),
        Figure::new(format!("transfers for {ACTORS} actors"), transfers, "").must(Target::AtMost(1.0)),
    ])
}

fn launch(state: &Path, name: &str, cpu_milli: u64) -> Result<Launch> {
    let amounts = Amounts { cpu_milli, ..Amounts::default() };
    Ok(Launch {
        state_dir: state.to_owned(),
        name: name.parse()?,
        listen: "127.0.0.1:0".parse()?,
        advertised: None,
        totals: Resources { amounts, ..Resources::default() },
        kinds: ActorKinds::builder(),
        options: LaunchOptions::default(),
    })
}

/// The keeper's blobs on the control node, and those of the worker.
async fn blobs(dir: &Path, control: &RunningNode, worker: &RunningNode) -> Result<(Blobs, Blobs)> {
    let store = |name| BlobStore::open(&dir.join(name), BlobOptions::default());
    let keeper = Blobs::start(BlobsSetup::new(store("kept")?, BlobRole::Keeper, Arc::new(NoPeers))).await?;
    keeper.serve(control.system()).await?;
    let way: Ref<BlobMsg> = worker.cluster().service(BlobActor::NAME);
    let node = Blobs::start(BlobsSetup::new(store("cached")?, BlobRole::Cache, Arc::new(way))).await?;
    Ok((keeper, node))
}

async fn readers(system: &System, blobs: &Blobs) -> Result<Vec<Ref<ReaderMsg>>> {
    let mut readers = Vec::new();
    for n in 0..ACTORS {
        let name = format!("reader-{n}");
        readers.push(system.spawn::<Reader>(name, blobs.clone(), ChildOptions::default()).await?);
    }
    Ok(readers)
}

fn content(round: u64) -> Vec<u8> {
    let mut bytes = vec![7; SIZE];
    bytes[..8].copy_from_slice(&round.to_le_bytes());
    bytes
}

/// Milliseconds until all of them have it.
async fn load(readers: &[Ref<ReaderMsg>], digest: Digest) -> Result<f64> {
    let began = Instant::now();
    let asking: Vec<_> = readers
        .iter()
        .cloned()
        .map(|reader| tokio::spawn(async move { reader.ask(LONG, |reply| ReaderMsg::Load(digest, reply)).await }))
        .collect();
    for asked in asking {
        let bytes = asked.await??;
        ensure!(bytes == SIZE as u64, "a blob of {bytes} bytes arrived");
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
