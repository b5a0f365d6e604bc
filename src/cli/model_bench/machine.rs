//! What the machine is: a figure means nothing without it.

use fleet_inference::bench;
use serde::Serialize;

/// What of a processor's features matters here; the names are the kernel's.
const FEATURES: [&str; 18] = [
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "sve2",
];

/// A machine, as its kernel tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    pub processor: String,
    /// Cores that this process may use, as the system counts them.
    pub cores: u32,
    pub features: Vec<String>,
    /// What the kernels compute with.
    pub instruction_set: String,
    /// Bytes: all, and what was free before anything was measured.
    pub memory: u64,
    pub memory_free: u64,
    pub system: String,
    /// Processes that wanted to run in the last minute, on average, before anything was measured.
    pub busy: f64,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpu, memory, load) = (read("/proc/cpuinfo"), read("/proc/meminfo"), read("/proc/loadavg"));
        let allowed = read("/sys/fs/cgroup/memory.max").trim().parse().unwrap_or(u64::MAX);
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            processor: field(&cpu, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
            features: features(&cpu),
            instruction_set: bench::instruction_set().to_owned(),
            memory: bytes(&memory, "MemTotal").min(allowed),
            memory_free: bytes(&memory, "MemAvailable").min(allowed),
            system: format!("{} {}", std::env::consts::OS, kernel.trim()).trim().to_owned(),
            busy: load.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        }
    }
}

fn features(cpuinfo: &str) -> Vec<String> {
    let told = field(cpuinfo, "flags").or_else(|| field(cpuinfo, "Features")).unwrap_or_default();
    let told: Vec<&str> = told.split_whitespace().collect();
    FEATURES.iter().filter(|name| told.contains(*name)).map(|name| (*name).to_owned()).collect()
}

fn field(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

fn bytes(meminfo: &str, key: &str) -> u64 {
    let kib = field(meminfo, key).and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read() {
        let cpu =
            "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu avx avx2 fma avx512f\n\nprocessor\t: 1\n";
        assert_eq!(field(cpu, "model name").as_deref(), Some("Some CPU @ 2.0GHz"));
        assert_eq!(features(cpu), ["avx", "avx2", "fma", "avx512f"]);
        assert_eq!(bytes("MemTotal:       16 kB\nMemAvailable:   8 kB\n", "MemAvailable"), 8192);
        assert_eq!(features("Features\t: fp asimd asimddp i8mm"), ["asimd", "asimddp", "i8mm"]);
    }

    #[test]
    fn this_machine_has_a_core_and_memory() {
        let here = Machine::here();
        assert!(here.cores > 0 && here.memory >= here.memory_free && here.memory_free > 0, "{here:?}");
    }
}
