//! What machine a run was made on: figures mean nothing without it.

use serde::Serialize;

/// The facts that go into the head of a bench run.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// CPU model as the kernel names it.
    pub cpu: String,
    /// Logical processors this process may use.
    pub processors: usize,
    /// Load average over the last minute when the run began; above the processor count figures are pessimistic.
    pub load: f64,
    /// `release` or `debug`; only the former is worth quoting.
    pub build: &'static str,
}

impl Machine {
    /// Reads the facts from `/proc`; what can't be read is said to be unknown.
    pub fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, v)| v.trim().to_owned()))
            .unwrap_or_else(|| "unknown".to_owned());
        let load = std::fs::read_to_string("/proc/loadavg")
            .ok()
            .and_then(|s| s.split(' ').next().and_then(|n| n.parse().ok()))
            .unwrap_or(f64::NAN);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        Self { cpu, processors, load, build }
    }
}
