//! Builds a node from its configuration: opens what it keeps, puts the parts together, injects the ports that lower
//! crates ask for, and sees to an orderly end. Decides nothing else.
//!
//! The order is that of harm: what can be refused without having touched anything comes first (lock, port), then what
//! reads the disk (journal, blobs), then what starts to work (sandbox, engines, jobs), and the listener last.

mod engines;
mod figures;
mod gpus;
mod join;
mod owner;
mod parts;
mod reach;
mod relay;
mod storage;
mod welcome;
mod worker;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fleet_api::{Access, ApiState, HostNames};
use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::cluster::{RunningNode, Standing};
use fleet_runtime::probe::Gpu;
use fleet_tools::sandbox::{Sandbox, SandboxOptions};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::{Config, NodeOptions};
use crate::state::{StateDir, StateLock, create_private};
use engines::Loading;
use gpus::Division;
pub use join::Join;
use join::Part;
use parts::Parts;
use relay::Relay;
use storage::{Janitor, Storage};
use worker::{Workers, Workshop};

/// How long requests that are being served may take to end when the node stops.
const DRAIN: Duration = Duration::from_secs(10);

/// A node that is ready to serve.
pub struct Node {
    listener: TcpListener,
    api: ApiState,
    running: RunningNode,
    loading: Loading,
    janitor: Janitor,
    relay: Option<Relay>,
    workers: Workers,
    banner: Vec<String>,
    // Last: whoever waits for this directory may have it only when all of the above is gone.
    lock: StateLock,
}

/// Why a node has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The cluster has given its actors to others: it must begin a new life.
    Outlived,
}

impl Node {
    /// Builds everything and starts what runs by itself: from here on jobs go on.
    pub async fn start(config: Config, state: StateDir, join: Option<Join>) -> anyhow::Result<Self> {
        state.create()?;
        let lock = state.lock()?;
        let token = state.load_or_create_token()?;
        let part = Part::of(&state, join)?;
        let control = part.is_control();
        let listener = bind(&config, control).await?;
        let sandbox = sandbox(&config.sandbox, &state).await?;
        let gpus = config.cluster.gpus.probe().context("FLT-N016: [cluster] gpus")?.gpus();
        let (division, workshop) = divide(&config, &gpus, control)?;
        let engines = engines::build(&division.own, &config.inference)?;
        let name = join::name(&config, &part, &state)?;
        let storage = match control {
            true => Some(Storage::open(&config, &state)?),
            false => None,
        };
        let gpus = offered(gpus, &config, &division);
        let offers = config.cluster.offers(engines.iter().map(|engine| engine.info().name), &gpus);
        let kept = storage.as_ref().map(Storage::for_cluster);
        let running = join::launch(&config, part, name.clone(), &state, offers, kept).await?;
        let parts = Parts {
            config: &config,
            state: &state,
            name: name.as_str(),
            sandbox: &sandbox,
            engines: &engines,
            workers: &division.workers,
            workshop: workshop.map(|workshop| Workshop { node: name.to_string(), ..workshop }),
            first: division.first.as_deref(),
        };
        let built = match storage {
            Some(storage) => parts.of_control(&running, storage).await,
            None => parts.of_member(&running).await,
        };
        let built = match built {
            Ok(built) => built,
            Err(error) => {
                running.shutdown().await;
                return Err(error);
            }
        };
        let info = parts.info(&listener)?;
        let banner = parts.banner(&info, &running, control, &built.found);
        let figures = figures::figures(engines.clone(), control.then(|| state.join("journal")));
        let loading = Loading::watch(engines);
        let access = Access::start(built.journal.clone(), built.redactor, vec![(token, owner(&state))]);
        let api = ApiState {
            jobs: built.jobs.clone(),
            journal: built.journal,
            blobs: built.blobs,
            progress: built.progress,
            approvals: built.approvals,
            cluster: Some(running.cluster().clone()),
            node: Arc::new(info),
            readiness: loading.readiness(),
            access,
            keeps_journal: control,
            engines: built.engines,
            figures,
            hosts: HostNames::default(),
            forget: storage::forget_base(built.bases.clone()),
            options: config.api.clone(),
        };
        let janitor =
            Janitor::start(built.bases, built.jobs, control.then(|| (api.journal.clone(), api.blobs.clone())));
        Ok(Self { listener, api, running, loading, janitor, relay: built.relay, workers: built.workers, banner, lock })
    }

    /// What to say to whoever started the node.
    pub fn banner(&self) -> &[String] {
        &self.banner
    }

    /// Serves until `stop` resolves or the node can't go on; then ends in good order: no more requests, runs are broken
    /// off softly (they go on at the next start), the journal is closed.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<Ended> {
        let Self { listener, api, running, loading, janitor, relay, workers, banner: _, lock } = self;
        let (end, ended) = watch::channel(());
        let mut served = tokio::spawn(fleet_api::serve(listener, api, closed(ended)));
        let outcome = tokio::select! {
            () = stop => Ok(Ended::Stopped),
            why = outlived(&running) => {
                tracing::warn!(why, "this node was given up by its cluster; it begins anew");
                Ok(Ended::Outlived)
            }
            () = running.system().ended() => Err(anyhow::anyhow!("the node's actors gave up; see the log above")),
            why = loading.failed() => Err(anyhow::anyhow!(why)),
            broken = &mut served => Err(anyhow::anyhow!("the listener broke off: {broken:?}")),
        };
        tracing::info!("stopping");
        // The listener first: what it would accept now could not be done any more.
        drop(end);
        if !served.is_finished() && tokio::time::timeout(DRAIN, &mut served).await.is_err() {
            tracing::warn!("some requests didn't end in time");
            served.abort();
        }
        drop((janitor, relay));
        workers.stop().await;
        running.shutdown().await;
        drop(lock);
        outcome
    }
}

/// Which engines this process has, and how the others are started.
fn divide(config: &Config, gpus: &[Gpu], control: bool) -> anyhow::Result<(Division, Option<Workshop>)> {
    let engines = config.inference.engines(control);
    if config.worker_of.is_some() {
        return Ok((Division::of_worker(engines), None));
    }
    let program = gpus::worker_program(&config.inference)?;
    let division = gpus::divide(engines, gpus, program.as_deref())?;
    let workshop = |program| Workshop { program, config: config.file.clone(), node: String::new() };
    Ok((division, program.map(workshop)))
}

/// A worker offers its GPU; a node those that have no worker.
fn offered(gpus: Vec<Gpu>, config: &Config, division: &Division) -> Vec<Gpu> {
    let mine = |gpu: &Gpu| match &config.worker_of {
        Some(uuid) => gpu.uuid == *uuid,
        None => !division.workers.iter().any(|worker| worker.gpu == gpu.uuid),
    };
    gpus.into_iter().filter(mine).collect()
}

/// Resolves when nothing of this life of the node may go on, with the reason.
async fn outlived(running: &RunningNode) -> String {
    let mut standing = running.cluster().standing();
    let gone = |standing: &Standing| matches!(standing, Standing::MustRejoin { .. });
    match standing.wait_for(gone).await.map(|standing| *standing) {
        Ok(Standing::MustRejoin { why, .. }) => format!("{why:?}"),
        // Its own part in the cluster has ended; that is seen elsewhere.
        _ => std::future::pending().await,
    }
}

/// Resolves when the sending end is dropped.
async fn closed(mut ended: watch::Receiver<()>) {
    while ended.changed().await.is_ok() {}
}

/// Where the API listens. A member that wasn't told where takes a free port if the usual one is taken: several nodes of
/// one machine are then started alike.
async fn bind(config: &Config, control: bool) -> anyhow::Result<TcpListener> {
    let listen = config.node.listen;
    let taken = |e: &std::io::Error| e.kind() == std::io::ErrorKind::AddrInUse;
    let bound = match TcpListener::bind(listen).await {
        Err(e) if taken(&e) && !control && listen == NodeOptions::default().listen => {
            TcpListener::bind((listen.ip(), 0)).await
        }
        bound => bound,
    };
    bound.map_err(|e| match taken(&e) {
        true => anyhow::anyhow!(
            "FLT-N003: {listen} is taken by another program\n  next: stop it (`ss -ltnp` shows which it is), or take another port with --listen 127.0.0.1:0"
        ),
        false => anyhow::anyhow!(
            "FLT-N004: can't listen on {listen}: {e}\n  next: take another address with --listen or [node] listen"
        ),
    })
}

/// Kills and removes what a dead predecessor left behind, then looks for the sandbox. Without one, nothing starts.
async fn sandbox(options: &SandboxOptions, state: &StateDir) -> anyhow::Result<Sandbox> {
    let mut options = options.clone();
    let notes = options.state_dir.get_or_insert_with(|| state.join("sandbox")).clone();
    create_private(&notes)?;
    let detected = tokio::task::spawn_blocking(move || {
        for left in Sandbox::sweep(&notes)? {
            tracing::info!(%left, "removed what a dead node left behind");
        }
        Sandbox::detect(&options)
    });
    detected.await?.context("FLT-N005: no sandbox, so nothing can be run safely (next: fleet sandbox doctor)")
}

/// Whoever can read the node's own token. Named after the owner of the state directory.
fn owner(state: &StateDir) -> Principal {
    Principal { name: owner::owner_of(state.path()), level: AccessLevel::Po }
}
