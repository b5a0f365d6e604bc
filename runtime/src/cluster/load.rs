//! How busy this machine is, from `/proc`.

use std::fs;

use crate::membership::NodeLoad;

/// Reads the load; what it says of the processor is since it was read last.
#[derive(Debug, Default)]
pub(super) struct LoadMeter {
    /// Ticks of all cores, and how many of them were idle.
    last: Option<(u64, u64)>,
}

impl LoadMeter {
    /// Where there is no `/proc`, only the actors are counted.
    pub fn read(&mut self, actors: usize) -> NodeLoad {
        let ticks = fs::read_to_string("/proc/stat").ok().and_then(|text| processor(&text));
        let cpu_permille = match (self.last, ticks) {
            (Some((all, idle)), Some((all_now, idle_now))) => {
                busy(all_now.saturating_sub(all), idle_now.saturating_sub(idle))
            }
            _ => 0,
        };
        self.last = ticks.or(self.last);
        let memory_used = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)).unwrap_or(0);
        NodeLoad { cpu_permille, memory_used, actors: u32::try_from(actors).unwrap_or(u32::MAX) }
    }
}

fn busy(all: u64, idle: u64) -> u16 {
    let permille = all.saturating_sub(idle).saturating_mul(1000).checked_div(all).unwrap_or(0);
    u16::try_from(permille).unwrap_or(1000)
}

/// `cpu  user nice system idle iowait irq softirq steal …`
fn processor(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
    let idle = ticks.get(3)?.saturating_add(ticks.get(4).copied().unwrap_or(0));
    Some((ticks.iter().sum(), idle))
}

fn memory(meminfo: &str) -> Option<u64> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some(bytes("MemTotal:")?.saturating_sub(bytes("MemAvailable:")?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ticks_and_memory_are_read_as_the_kernel_writes_them() {
        assert_eq!(processor("cpu  100 5 20 800 50 1 2 3 0 0\ncpu0 1 2 3\n"), Some((981, 850)));
        assert_eq!(processor("intr 5"), None);
        let text = "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    6000 kB\n";
        assert_eq!(memory(text), Some(10_000 * 1024));
        assert_eq!((busy(1000, 250), busy(0, 0)), (750, 0));
    }

    #[test]
    fn the_machine_that_runs_this_uses_memory() {
        let mut meter = LoadMeter::default();
        assert_eq!(meter.read(3).actors, 3);
        assert!(meter.read(3).memory_used > 0 && meter.read(3).cpu_permille <= 1000);
    }
}
