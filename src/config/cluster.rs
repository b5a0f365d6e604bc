//! `[cluster]`: how this node meets the others, and what it offers them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use fleet_inference::GpuSource;
use fleet_runtime::cluster::{ClusterOptions, LaunchOptions};
use fleet_runtime::placement::{Amounts, Demand, Request, Resources};
use fleet_runtime::probe::Gpu;
use serde::{Deserialize, Serialize};

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// Where other nodes reach this one; always with mutual TLS. Default: 127.0.0.1:7401. Port 0 takes a free one and keeps it.
    pub listen: SocketAddr,
    /// `HOST:PORT` that is told to others, where it isn't `listen`: behind a port mapping, or when that is 0.0.0.0.
    pub advertise: Option<String>,
    /// CPUs that it offers. Default: all of the machine.
    pub cpus: Option<f64>,
    /// Memory that it offers. Default: what the machine has.
    pub memory: Option<ByteSize>,
    /// Where it learns of its GPUs, which it offers by their UUIDs and memory: "auto" asks the driver, "none", or a JSON file.
    pub gpus: GpuSource,
    /// Labels by which actors choose their node, such as `zone = "a"`.
    pub labels: BTreeMap<String, String>,
    /// Whatever else is to be counted, such as `licences = 3`.
    pub custom: BTreeMap<String, f64>,
    /// How long a node that is dead or has left stays on the list of nodes; "0s": for ever. The control node's matter.
    /// Default 24 h.
    #[serde(with = "humantime_serde")]
    pub forget_after: Duration,
    /// Bounds and intervals of links, lanes, leases and placement; the same on all nodes. Each has its default.
    pub limits: LaunchOptions,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 7401),
            advertise: None,
            cpus: None,
            memory: None,
            gpus: GpuSource::default(),
            labels: BTreeMap::new(),
            custom: BTreeMap::new(),
            forget_after: ClusterOptions::default().forget_after,
            limits: LaunchOptions::default(),
        }
    }
}

impl ClusterConfig {
    /// What the node's part in the cluster is started with.
    pub fn launch(&self) -> LaunchOptions {
        let mut limits = self.limits.clone();
        limits.cluster.forget_after = self.forget_after;
        limits
    }

    /// What this node offers, with the engines that it runs and the GPUs that it has.
    pub fn offers(&self, engines: impl Iterator<Item = String>, gpus: &[Gpu]) -> Resources {
        let custom = self.custom.iter().map(|(name, amount)| (name.clone(), milli(*amount)));
        let engines = engines.map(|name| (engine_resource(&name), 1000));
        let cpus = self.cpus.map(milli);
        let memory = self.memory.map(|memory| memory.as_u64());
        Resources {
            amounts: Amounts {
                cpu_milli: cpus.unwrap_or_else(machine_cpus),
                memory_bytes: memory.unwrap_or_else(machine_memory),
                gpus: gpus.iter().map(|gpu| (gpu.uuid.clone(), gpu.memory_bytes)).collect(),
                custom: custom.chain(engines).collect(),
            },
            labels: self.labels.clone(),
        }
    }
}

/// What the run of a job takes of its node: `[jobs]` `cpus` and `memory`.
pub fn run_demand(cpus: f64, memory: ByteSize) -> Demand {
    let request = Request { cpu_milli: milli(cpus), memory_bytes: memory.as_u64(), ..Request::default() };
    Demand { request, strategy: fleet_runtime::placement::Strategy::Spread, ..Demand::default() }
}

/// The engine that a node offers by a resource of this name.
pub fn engine_of_resource(resource: &str) -> Option<&str> {
    resource.strip_prefix(ENGINE)
}

const ENGINE: &str = "engine.";

fn engine_resource(name: &str) -> String {
    format!("{ENGINE}{name}")
}

/// Thousandths; what isn't a sensible number is nothing, which [`super::Config::check`] has refused before.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn milli(amount: f64) -> u64 {
    (amount * 1000.0).round().clamp(0.0, 1e15) as u64
}

fn machine_cpus() -> u64 {
    std::thread::available_parallelism().map_or(1000, |cpus| cpus.get() as u64 * 1000)
}

/// As the kernel says it, in kB; where it doesn't, nothing is offered and the key `memory` is to be set.
fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}
