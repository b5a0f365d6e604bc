//! The configuration of a node: `cluster.toml`, read strictly. A part of Fleet documents its own keys in its `Options`;
//! this module puts them together, says where a mistake is, and checks what goes together.
//!
//! Without a file every key has its default, and a node runs on one machine as it is.

mod cluster;
mod error;
mod nearest;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use fleet_actors::options::{AgentOptions, ApprovalOptions, CouncilOptions, RunOptions, TeamOptions};
use fleet_api::ApiOptions;
use fleet_inference::{EngineConfig, EngineDevice};
use fleet_runtime::{BlobOptions, BlobsOptions, JournalOptions};
use fleet_tools::sandbox::SandboxOptions;
use serde::{Deserialize, Serialize};

pub use cluster::{ClusterConfig, engine_of_resource, run_demand};
pub use error::{ConfigError, Fault};

/// Everything that can be set about a node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The node itself.
    pub node: NodeOptions,
    /// The other nodes.
    pub cluster: ClusterConfig,
    /// The journal.
    pub journal: JournalOptions,
    /// Base packs, patches and results.
    pub blobs: BlobsConfig,
    /// How many jobs run, and how often one is tried again.
    pub jobs: JobsOptions,
    /// The listener's bounds.
    pub api: ApiOptions,
    /// Where tools run.
    pub sandbox: SandboxOptions,
    /// Engines.
    pub inference: InferenceOptions,
    /// How a council proposes.
    pub council: CouncilOptions,
    /// How a single agent works.
    pub agent: AgentOptions,
    /// How a person's decision is waited for.
    pub approval: ApprovalOptions,
    /// What build and test runs may use.
    pub runs: RunOptions,
    /// The log on stderr.
    pub log: LogOptions,
    /// The file that it was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// The GPU whose worker this process is; its parent says so by a flag.
    #[serde(skip)]
    pub worker_of: Option<String>,
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeOptions {
    /// The node's name in records and logs: letters, digits, dots, dashes. Default: `local`.
    pub name: String,
    /// Where its API listens. Only loopback in this release: anything else needs TLS. Default: 127.0.0.1:7400; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it keeps what it must not lose; relative to the file. Default: $XDG_STATE_HOME/fleet, else ~/.local/state/fleet.
    pub state_dir: Option<PathBuf>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { name: "local".to_owned(), listen: SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 7400), state_dir: None }
    }
}

/// `[jobs]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsOptions {
    /// Jobs that run at once; more wait in the queue. Raise it where engines and cores are idle. Default 2.
    pub max_running: usize,
    /// How often a job that crashed is started again before it ends as failed. Default 3.
    pub max_restarts: u32,
    /// CPUs that one run takes of its node while it is there. Default 0.5: a story mostly waits for its engine.
    pub cpus: f64,
    /// Memory that one run takes of its node. Default 1 GiB.
    pub memory: ByteSize,
}

impl Default for JobsOptions {
    fn default() -> Self {
        Self { max_running: 2, max_restarts: 3, cpus: 0.5, memory: ByteSize::gib(1) }
    }
}

/// `[blobs]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlobsConfig {
    /// The largest base pack, patch or result that is taken. Default 1 GiB.
    pub max_bytes: ByteSize,
    /// How long a blob that no job needs stays, such as an upload that was never submitted. Default 24 h.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// Disk for copies on a node that doesn't keep the blobs. Default 10 GiB.
    pub cache: ByteSize,
    /// Memory for those that are asked for often. Default 256 MiB.
    pub memory: ByteSize,
}

impl Default for BlobsConfig {
    fn default() -> Self {
        let BlobsOptions { grace, cache, memory, .. } = BlobsOptions::default();
        Self { max_bytes: BlobOptions::default().max_bytes, grace, cache, memory }
    }
}

impl BlobsConfig {
    /// Bounds of the store.
    pub fn store(&self) -> BlobOptions {
        BlobOptions { max_bytes: self.max_bytes }
    }

    /// How they are kept and shared.
    pub fn sharing(&self) -> BlobsOptions {
        let Self { grace, cache, memory, .. } = *self;
        BlobsOptions { grace, cache, memory, ..BlobsOptions::default() }
    }
}

/// `[inference]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InferenceOptions {
    /// Whether an engine that invents its replies from a script may be started. For tests and demonstrations only. Default false.
    pub allow_mock: bool,
    /// The program that engines on GPUs live in, one process for each GPU: a `fleetd` that was built by `make cuda`. Relative to
    /// the file. Default: `fleetd-cuda` beside fleetd.
    pub gpu_worker: Option<PathBuf>,
    /// Where replies are kept, to be given again to the same request (same model, prompt, sampling and seed). For measuring the
    /// same work again; not for a mock. Whoever can read it can read what models said. Relative to the file. Default: nowhere.
    pub reply_cache: Option<PathBuf>,
    /// Bytes of replies that are kept at most; those that were used longest ago go first. Default 1 GiB.
    pub reply_cache_size: ByteSize,
    /// The engines, one table `[[inference.engine]]` each; the first one serves the agents of this node. Without any, the
    /// control node has one with the default model, and other nodes use the engines of the cluster.
    pub engine: Option<Vec<EngineConfig>>,
}

impl Default for InferenceOptions {
    fn default() -> Self {
        Self {
            allow_mock: false,
            gpu_worker: None,
            reply_cache: None,
            reply_cache_size: ByteSize::gib(1),
            engine: None,
        }
    }
}

impl InferenceOptions {
    /// The engines of this node.
    pub fn engines(&self, control: bool) -> Vec<EngineConfig> {
        self.engine.clone().unwrap_or_else(|| if control { vec![EngineConfig::default()] } else { Vec::new() })
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogOptions {
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or filters such as `info,fleet_tools=debug`. Default `info`.
    /// The environment variable FLEET_LOG goes before it.
    pub filter: String,
    /// `text` for people or `json` for collectors. Default `text`.
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let mut config = Self::parse(&text, path)?;
        config.place_beside(path.parent().unwrap_or(Path::new("")));
        config.file = Some(path.to_owned());
        Ok(config)
    }

    /// Relative paths mean "beside the configuration", wherever the node is started from.
    fn place_beside(&mut self, dir: &Path) {
        let scripts = self.inference.engine.iter_mut().flatten().filter_map(|engine| engine.script.as_mut());
        let own = [
            &mut self.node.state_dir,
            &mut self.inference.gpu_worker,
            &mut self.inference.reply_cache,
            &mut self.agent.roles,
        ];
        for path in scripts.chain(own.into_iter().flatten()) {
            *path = dir.join(&*path);
        }
    }

    /// Reads a text; `path` is what errors call it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|e| ConfigError::Wrong(Box::new(Fault::new(path, text, &e))))?;
        config.check(path)?;
        Ok(config)
    }

    /// What is left for the worker process of a GPU: those engines on it, and no room for anything else.
    pub fn into_worker(mut self, gpu: String, engines: &[String]) -> Self {
        let named = |engine: &EngineConfig| engines.contains(&engine.name);
        let mut own: Vec<EngineConfig> = self.inference.engines(true).into_iter().filter(named).collect();
        let sharers = u32::try_from(own.len()).unwrap_or(u32::MAX);
        for engine in &mut own {
            engine.device = EngineDevice::Cuda(gpu.clone());
            engine.gpu_sharers = sharers;
        }
        self.inference.engine = Some(own);
        let ClusterConfig { gpus, labels, forget_after, limits, .. } = self.cluster;
        let listen = SocketAddr::new(self.cluster.listen.ip(), 0);
        let (cpus, memory) = (Some(0.0), Some(ByteSize::b(0)));
        let none = ClusterConfig::default();
        self.cluster = ClusterConfig { listen, cpus, memory, gpus, labels, forget_after, limits, ..none };
        // What its parent's sandboxes have left there is not the worker's to sweep.
        self.sandbox.state_dir = None;
        self.worker_of = Some(gpu);
        self
    }

    /// What the team of agents is to keep to.
    pub fn team(&self) -> TeamOptions {
        TeamOptions {
            council: self.council.clone(),
            agent: self.agent.clone(),
            approval: self.approval.clone(),
            runs: self.runs.clone(),
        }
    }

    /// Checks what goes together. Also after flags have changed something.
    pub fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |what: String, remedy: &str| {
            Err(ConfigError::Inconsistent { path: path.to_owned(), what, remedy: remedy.to_owned() })
        };
        let listen = self.node.listen;
        if !listen.ip().is_loopback() {
            return wrong(
                format!("[node] listen = \"{listen}\" isn't a loopback address, and this release has no TLS"),
                "listen on 127.0.0.1 or [::1]; from elsewhere, use an SSH tunnel to it",
            );
        }
        if self.node.name.is_empty() || !self.node.name.bytes().all(is_name) {
            return wrong(
                format!("[node] name = {:?} isn't a name", self.node.name),
                "use letters, digits, dots and dashes",
            );
        }
        if self.jobs.max_running == 0 {
            return wrong("[jobs] max_running = 0 would run nothing".to_owned(), "set it to 1 or more");
        }
        let amounts = [("[jobs] cpus", Some(self.jobs.cpus)), ("[cluster] cpus", self.cluster.cpus)];
        for (key, amount) in amounts {
            if amount.is_some_and(|n| !(0.0..=1e6).contains(&n)) {
                return wrong(
                    format!("{key} = {} isn't a number of CPUs", amount.unwrap_or_default()),
                    "use 0 or more",
                );
            }
        }
        if let Some((name, amount)) = self.cluster.custom.iter().find(|(_, n)| !(0.0..=1e12).contains(*n)) {
            return wrong(format!("[cluster.custom] {name} = {amount} can't be counted"), "use 0 or more");
        }
        if let Err(e) = self.cluster.offers(std::iter::empty(), &[]).check() {
            return wrong(format!("[cluster]: {e}"), "use letters, digits, dots, dashes and underscores in names");
        }
        Ok(())
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')
}

#[cfg(test)]
mod tests;
