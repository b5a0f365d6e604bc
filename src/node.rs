//! Builds a node from its configuration: opens what it keeps, puts the parts together, injects the ports that lower
//! crates ask for, and sees to an orderly end. Decides nothing else.
//!
//! The order is that of harm: what can be refused without having touched anything comes first (lock, port), then what
//! reads the disk (journal, blobs), then what starts to work (sandbox, engines, jobs), and the listener last.

mod engines;
mod identity;
mod storage;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fleet_actors::gate::Approvals;
use fleet_actors::team::{SecretGuard, Services, StoryJob};
use fleet_api::wire::{EngineView, NodeInfo};
use fleet_api::{ApiState, HostNames, Tokens};
use fleet_inference::{Engine, EngineHandle, EngineKind};
use fleet_memory::{MemoryActor, MemoryArgs, MemoryHandle, MemoryOptions};
use fleet_runtime::Timestamp;
use fleet_runtime::actor::System;
use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::job::{Jobs, JobsOptions, JobsPorts};
use fleet_runtime::progress::ProgressBus;
use fleet_runtime::supervise::ChildOptions;
use fleet_tools::gateway::{GatewayHandle, GatewayOptions};
use fleet_tools::policy::Policy;
use fleet_tools::run::Workbench;
use fleet_tools::sandbox::{Sandbox, SandboxOptions, Toolchains};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;
use crate::state::{StateDir, StateLock, create_private};
use engines::Loading;
use storage::{Janitor, Storage};

/// How long requests that are being served may take to end when the node stops.
const DRAIN: Duration = Duration::from_secs(10);

/// A node that is ready to serve.
pub struct Node {
    listener: TcpListener,
    api: ApiState,
    system: System,
    loading: Loading,
    janitor: Janitor,
    banner: Vec<String>,
    // Last: whoever waits for this directory may have it only when all of the above is gone.
    lock: StateLock,
}

impl Node {
    /// Builds everything and starts what runs by itself: from here on jobs go on.
    pub async fn start(config: Config, state: StateDir) -> anyhow::Result<Self> {
        state.create()?;
        let lock = state.lock()?;
        let token = state.load_or_create_token()?;
        let listener = bind(&config).await?;
        let storage = Storage::open(&config, &state)?;
        let sandbox = sandbox(&config.sandbox, &state).await?;
        let engines = engines::build(&config.inference)?;
        let parts = Parts { config: &config, state: &state, storage: &storage, sandbox: &sandbox };
        let info = parts.info(&listener, &engines)?;
        let banner = parts.banner(&info);
        let system = System::start(storage.identity.node, storage.identity.incarnation).await?;
        let progress = ProgressBus::new();
        let approvals = Approvals::new(storage.journal.clone());
        let services = parts.services(&system, &engines, &approvals).await?;
        let bases = services.bases.clone();
        let jobs = parts.jobs(&system, services, &progress).await?;
        storage::drop_old_bases(&bases, &jobs).await?;
        let janitor = Janitor::start(bases.clone(), jobs.clone());
        let loading = Loading::watch(engines);
        let api = ApiState {
            jobs,
            journal: storage.journal.clone(),
            blobs: storage.blobs.clone(),
            progress,
            approvals,
            node: Arc::new(info),
            readiness: loading.readiness(),
            tokens: Tokens::single(token, owner(&state)),
            hosts: HostNames::default(),
            forget: storage::forget_base(bases),
            options: config.api.clone(),
        };
        Ok(Self { listener, api, system, loading, janitor, banner, lock })
    }

    /// What to say to whoever started the node.
    pub fn banner(&self) -> &[String] {
        &self.banner
    }

    /// Serves until `stop` resolves or the node can't go on; then ends in good order: no more requests, runs are broken
    /// off softly (they go on at the next start), the journal is closed.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        let Self { listener, api, system, loading, janitor, banner: _, lock } = self;
        let (end, ended) = watch::channel(());
        let mut served = tokio::spawn(fleet_api::serve(listener, api, closed(ended)));
        let outcome = tokio::select! {
            () = stop => Ok(()),
            () = system.ended() => Err(anyhow::anyhow!("the node's actors gave up; see the log above")),
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
        drop(janitor);
        system.shutdown().await;
        drop(lock);
        outcome
    }
}

/// Resolves when the sending end is dropped.
async fn closed(mut ended: watch::Receiver<()>) {
    while ended.changed().await.is_ok() {}
}

async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    let listen = config.node.listen;
    TcpListener::bind(listen).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "FLT-N003: {listen} is taken by another program\n  next: stop it (`ss -ltnp` shows which it is), or take another port with --listen 127.0.0.1:0"
        ),
        _ => anyhow::anyhow!(
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

/// The one principal of this release: whoever can read the token. Named after the owner of the state directory.
fn owner(state: &StateDir) -> Principal {
    Principal { name: identity::owner_of(state.path()), level: AccessLevel::Po }
}

/// What the parts of a node are made from.
struct Parts<'a> {
    config: &'a Config,
    state: &'a StateDir,
    storage: &'a Storage,
    sandbox: &'a Sandbox,
}

impl Parts<'_> {
    async fn services(
        &self,
        system: &System,
        engines: &[Arc<dyn Engine>],
        approvals: &Approvals,
    ) -> anyhow::Result<Services> {
        let memory = MemoryArgs {
            journal: self.storage.journal.clone(),
            redactor: self.storage.redactor.clone(),
            options: MemoryOptions::default(),
        };
        let memory = system.spawn::<MemoryActor>("memory", memory, ChildOptions::default()).await?;
        let work = self.state.join("work");
        storage::empty_dir(&work)?;
        let bench =
            Workbench { runner: Arc::new(self.sandbox.clone()), dir: work, toolchains: Toolchains::discover_all() };
        let gateway = GatewayOptions {
            bench: bench.clone(),
            authorizer: Arc::new(Policy),
            guard: Arc::new(SecretGuard(self.storage.redactor.clone())),
            max_workspaces: 64,
        };
        let engine = engines.first().context("no engine")?;
        let bases = self.state.join("bases");
        create_private(&bases)?;
        storage::sweep_bases(&bases);
        Ok(Services {
            system: system.clone(),
            node: self.config.node.name.clone(),
            memory: MemoryHandle::new(memory),
            engine: EngineHandle::start(system, "engine", engine.clone()).await?,
            gateway: GatewayHandle::start(system, gateway).await?,
            bench,
            caps: fleet_tools::repo::Caps::default(),
            approvals: approvals.clone(),
            bases,
            options: self.config.team(),
        })
    }

    async fn jobs(&self, system: &System, services: Services, progress: &ProgressBus) -> anyhow::Result<Jobs> {
        let options = JobsOptions {
            max_running: self.config.jobs.max_running,
            max_restarts: self.config.jobs.max_restarts,
            ..JobsOptions::default()
        };
        let ports = JobsPorts {
            journal: self.storage.journal.clone(),
            redactor: self.storage.redactor.clone(),
            blobs: self.storage.blobs.clone(),
            progress: progress.clone(),
        };
        let story = Arc::new(StoryJob::new(services));
        Ok(Jobs::start(system, options, vec![story], ports).await?)
    }

    fn info(&self, listener: &TcpListener, engines: &[Arc<dyn Engine>]) -> anyhow::Result<NodeInfo> {
        let view = |engine: &Arc<dyn Engine>| {
            let info = engine.info();
            let kind = match info.kind {
                EngineKind::Candle => "candle",
                EngineKind::Mock => "mock",
            };
            EngineView {
                name: info.name,
                model: info.model,
                kind: kind.to_owned(),
                mock: info.mock,
                context: info.context,
            }
        };
        Ok(NodeInfo {
            name: self.config.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listen: listener.local_addr()?.to_string(),
            state_dir: self.state.path().display().to_string(),
            started_at: Timestamp::now(),
            engines: engines.iter().map(view).collect(),
            sandbox: self.sandbox.tier().to_owned(),
        })
    }

    fn banner(&self, info: &NodeInfo) -> Vec<String> {
        let mut lines = vec![
            format!("fleetd {}, node {}", info.version, info.name),
            format!("  listens  http://{}", info.listen),
            format!("  state    {}", info.state_dir),
            format!("  sandbox  {}", info.sandbox),
        ];
        for engine in &info.engines {
            lines.push(match engine.mock {
                true => format!("  engine   {}: MOCK - its replies come from a script, no model is asked", engine.name),
                false => format!("  engine   {}: {}", engine.name, engine.model),
            });
        }
        lines.extend(self.storage.found.iter().map(|found| format!("  journal  {found}")));
        lines.push(format!(
            "  submit   fleet job submit --server http://{} --token-file {} --repo PATH --story FILE",
            info.listen,
            self.state.token_file().display()
        ));
        lines
    }
}
