//! What a node is made of, put together from its configuration: as the control node, or as a member of a cluster.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use fleet_actors::gate::{ApprovalDesk, Approvals};
use fleet_actors::options::TeamOptions;
use fleet_actors::team::{NodeGrounds, SecretGuard, Services, StoryJob};
use fleet_api::wire::{EngineView, NodeInfo};
use fleet_inference::{Engine, EngineHandle, EngineRouter, Served, Wanted};
use fleet_memory::{MemoryActor, MemoryArgs, MemoryHandle, MemoryOptions, SecretRedactor};
use fleet_runtime::blob::{BlobRole, Blobs};
use fleet_runtime::cluster::RunningNode;
use fleet_runtime::effect::Permit;
use fleet_runtime::job::{InTheCluster, JobHost, JobKind, Jobs, JobsOptions, JobsPorts};
use fleet_runtime::journal::{JournalService, RemoteJournal};
use fleet_runtime::progress::ProgressBus;
use fleet_runtime::supervise::ChildOptions;
use fleet_runtime::{Journal, Timestamp};
use fleet_tools::gateway::{GatewayHandle, GatewayOptions};
use fleet_tools::policy::Policy;
use fleet_tools::run::Workbench;
use fleet_tools::sandbox::{Sandbox, Toolchains};
use tokio::net::TcpListener;

use super::gpus::WorkerPlan;
use super::reach;
use super::relay::{Relay, RelayService};
use super::storage::{self, Storage};
use super::welcome::{self, Welcome, WelcomeService};
use super::worker::{Workers, Workshop};
use crate::config::{Config, run_demand};
use crate::state::{StateDir, create_private};

/// How long a node waits for an engine for its agents.
const ENGINE: std::time::Duration = std::time::Duration::from_secs(60);

/// What the parts of a node are made from.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) state: &'a StateDir,
    pub(super) name: &'a str,
    pub(super) sandbox: &'a Sandbox,
    pub(super) engines: &'a [Arc<dyn Engine>],
    pub(super) workers: &'a [WorkerPlan],
    /// How they are started, where they can be.
    pub(super) workshop: Option<Workshop>,
    /// The engine that serves this node's agents, if it has one.
    pub(super) first: Option<&'a str>,
}

/// The parts that others need to reach.
pub(super) struct Built {
    pub(super) jobs: Jobs,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) redactor: Arc<SecretRedactor>,
    pub(super) blobs: Blobs,
    pub(super) progress: ProgressBus,
    pub(super) approvals: Approvals,
    /// All engines that this node can reach.
    pub(super) engines: EngineRouter,
    pub(super) bases: PathBuf,
    pub(super) relay: Option<Relay>,
    pub(super) workers: Workers,
    /// What opening the journal found, for people.
    pub(super) found: Vec<String>,
}

/// What jobs are done with on this node.
struct Means {
    journal: Arc<dyn Journal>,
    redactor: Arc<SecretRedactor>,
    blobs: Blobs,
    approvals: Approvals,
    engine: EngineRouter,
    team: TeamOptions,
    workers: Workers,
}

impl Parts<'_> {
    pub(super) async fn of_control(&self, running: &RunningNode, storage: Storage) -> anyhow::Result<Built> {
        let Storage { journal, redactor, redaction_key, found } = storage;
        let (system, journal): (_, Arc<dyn Journal>) = (running.system(), journal);
        let blobs = storage::open_blobs(self.config, self.state, running, BlobRole::Keeper).await?;
        let progress = ProgressBus::new();
        let child = ChildOptions::default;
        system.spawn_service::<RelayService>(RelayService::NAME, progress.clone(), child()).await?;
        let approvals = Approvals::start(system, journal.clone()).await?;
        let first = self.first.context("FLT-N014: the control node has no engine that writes text\n  next: add a table [[inference.engine]], or leave them all out for the default model")?;
        let welcome = Welcome { redaction_key, team: self.config.team(), engine: first.to_owned() };
        system.spawn_service::<WelcomeService>(WelcomeService::NAME, Arc::new(welcome), child()).await?;
        let workers = self.workers(running);
        let engine = self.router(running, first.to_owned()).await?;
        let team = self.config.team();
        let means = Means { journal, redactor, blobs, approvals, engine, team, workers };
        let ports = means.ports(&progress);
        let kinds = self.kinds(running, &means).await?;
        let options = JobsOptions {
            max_running: self.config.jobs.max_running,
            max_restarts: self.config.jobs.max_restarts,
            ..JobsOptions::default()
        };
        let demand = run_demand(self.config.jobs.cpus, self.config.jobs.memory);
        let placer = Arc::new(InTheCluster { cluster: running.cluster().clone(), demand });
        let jobs = Jobs::serve(system, options, kinds.clone(), ports.clone(), placer).await?;
        self.host(running, kinds, ports, &jobs);
        let built = Built { found, ..means.built(jobs, progress, self.bases(), None) };
        storage::drop_old_bases(&built.bases, &built.jobs).await?;
        Ok(built)
    }

    pub(super) async fn of_member(&self, running: &RunningNode) -> anyhow::Result<Built> {
        let cluster = running.cluster();
        let welcome = welcome::ask(&cluster.service(WelcomeService::NAME)).await?;
        let key = blake3::Hash::from_hex(&welcome.redaction_key).context("the redaction key can't be read")?;
        let journal: Arc<dyn Journal> = Arc::new(RemoteJournal::new(cluster.service(JournalService::NAME)));
        let approvals = Approvals::of(cluster.service(ApprovalDesk::NAME), journal.clone());
        let progress = ProgressBus::new();
        let relay = Relay::start(&progress, cluster.service(RelayService::NAME));
        let workers = self.workers(running);
        let engine = self.router(running, self.first.map_or(welcome.engine, str::to_owned)).await?;
        let means = Means {
            journal,
            redactor: Arc::new(SecretRedactor::new(*key.as_bytes())),
            blobs: storage::open_blobs(self.config, self.state, running, BlobRole::Cache).await?,
            approvals,
            engine,
            team: welcome.team,
            workers,
        };
        let jobs = Jobs::of(cluster.service(Jobs::NAME));
        let kinds = self.kinds(running, &means).await?;
        self.host(running, kinds, means.ports(&progress), &jobs);
        Ok(means.built(jobs, progress, self.bases(), Some(relay)))
    }

    /// Puts a service in front of each of the node's engines, and gives the way to those of the cluster that are as good
    /// for the node's agents as the one of that name. Waits until there is one.
    async fn router(&self, running: &RunningNode, engine: String) -> anyhow::Result<EngineRouter> {
        let (system, mut own) = (running.system(), Vec::new());
        for engine in self.engines {
            let name = engine.info().name;
            let handle = EngineHandle::serve(system, &reach::service(&name), engine.clone()).await?;
            own.push(Served { name, node: self.name.to_owned(), handle });
        }
        let me = running.node();
        let engines = reach::engines(own, me, running.cluster().clone(), system.clone());
        let router = EngineRouter::new(engines, Wanted::LikeEngine(engine.clone()));
        let there = reach::wait(&router, &engine, ENGINE).await;
        there.with_context(|| format!("no node of the cluster has the engine {engine:?}"))
    }

    fn workers(&self, running: &RunningNode) -> Workers {
        match &self.workshop {
            Some(workshop) => Workers::start(workshop, self.workers, self.state, running.cluster()),
            None => Workers::none(),
        }
    }

    fn host(&self, running: &RunningNode, kinds: Vec<Arc<dyn JobKind>>, ports: JobsPorts, jobs: &Jobs) {
        let cluster = running.cluster().clone();
        let permit = Permit::new(move || cluster.may_start_effects());
        running.system().provide(JobHost { permit, ..JobHost::new(self.name, kinds, ports, jobs.service()) });
    }

    fn bases(&self) -> PathBuf {
        self.state.join("bases")
    }

    async fn kinds(&self, running: &RunningNode, means: &Means) -> anyhow::Result<Vec<Arc<dyn JobKind>>> {
        let services = self.services(running, means).await?;
        // For the agents that are placed here.
        running.system().provide(services.clone());
        Ok(vec![Arc::new(StoryJob::new(services))])
    }

    async fn services(&self, running: &RunningNode, means: &Means) -> anyhow::Result<Services> {
        let system = running.system();
        let memory = MemoryArgs {
            journal: means.journal.clone(),
            redactor: means.redactor.clone(),
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
            guard: Arc::new(SecretGuard(means.redactor.clone())),
            max_workspaces: 64,
        };
        let bases = self.bases();
        create_private(&bases)?;
        storage::sweep_bases(&bases);
        Ok(Services {
            system: system.clone(),
            node: self.name.to_owned(),
            memory: MemoryHandle::new(memory),
            engine: means.engine.clone(),
            gateway: GatewayHandle::start(system, gateway).await?,
            bench,
            caps: fleet_tools::repo::Caps::default(),
            approvals: means.approvals.clone(),
            cluster: Some(running.cluster().clone()),
            grounds: NodeGrounds::default(),
            bases,
            options: means.team.clone(),
        })
    }

    pub(super) fn info(&self, listener: &TcpListener) -> anyhow::Result<NodeInfo> {
        let view = |engine: &Arc<dyn Engine>| {
            let info = engine.info();
            EngineView {
                name: info.name,
                model: info.model,
                kind: info.kind.as_str().to_owned(),
                mock: info.mock,
                context: info.context,
            }
        };
        Ok(NodeInfo {
            name: self.name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listen: listener.local_addr()?.to_string(),
            state_dir: self.state.path().display().to_string(),
            started_at: Timestamp::now(),
            engines: self.engines.iter().map(view).collect(),
            sandbox: self.sandbox.tier().to_owned(),
        })
    }

    pub(super) fn banner(
        &self,
        info: &NodeInfo,
        running: &RunningNode,
        control: bool,
        found: &[String],
    ) -> Vec<String> {
        let mut lines = vec![
            format!("fleetd {}, node {}{}", info.version, info.name, if control { " (control node)" } else { "" }),
            format!("  listens  http://{}", info.listen),
            format!("  cluster  {} (mutual TLS)", running.advertised()),
            format!("  state    {}", info.state_dir),
            format!("  sandbox  {}", info.sandbox),
        ];
        for engine in &info.engines {
            lines.push(match engine.mock {
                true => format!("  engine   {}: MOCK - its replies come from a script, no model is asked", engine.name),
                false => format!("  engine   {}: {}", engine.name, engine.model),
            });
        }
        for worker in self.workers {
            lines.push(format!("  worker   {} on {}", worker.engines.join(", "), worker.gpu));
        }
        if info.engines.is_empty() && self.workers.is_empty() {
            lines.push("  engine   none here; the cluster's are used".to_owned());
        }
        lines.extend(found.iter().map(|found| format!("  journal  {found}")));
        let access = format!("--server http://{} --token-file {}", info.listen, self.state.token_file().display());
        lines.push(format!("  submit   fleet job submit {access} --repo PATH --story FILE"));
        if control {
            lines.push(format!("  join     fleet node invite {access}   (prints the command for another node)"));
        }
        lines
    }
}

impl Means {
    fn ports(&self, progress: &ProgressBus) -> JobsPorts {
        JobsPorts {
            journal: self.journal.clone(),
            redactor: self.redactor.clone(),
            blobs: self.blobs.clone(),
            progress: progress.clone(),
        }
    }

    fn built(self, jobs: Jobs, progress: ProgressBus, bases: PathBuf, relay: Option<Relay>) -> Built {
        let Self { journal, redactor, blobs, approvals, engine: engines, workers, .. } = self;
        let found = Vec::new();
        Built { jobs, journal, redactor, blobs, progress, approvals, engines, bases, relay, workers, found }
    }
}
