//! The answering side of a contender that is written in Rust: a process that reads questions from standard input.

use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

use anyhow::Result;

use super::question::Question;

/// Answers until standard input ends. Blocks: call it off the async workers.
pub fn answer(name: &str, mut measure: impl FnMut(Question) -> Result<Vec<f64>>) -> Result<()> {
    say(&format!("ready {name}"))?;
    for line in stdin().lock().lines() {
        let answered = line?.parse().and_then(&mut measure);
        say(&match answered {
            Ok(values) => values.iter().map(f64::to_string).collect::<Vec<_>>().join(" "),
            Err(e) => format!("error: {e:#}").replace('\n', " "),
        })?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// A port of the loopback that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Events a second since `began`.
pub fn rate(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// Microseconds since `began`.
pub fn micros(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

/// The value below which that share of them is; not a number where there is none.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Bytes of memory that this process has now.
pub fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    line.map(|kib: f64| kib * 1024.0).ok_or_else(|| anyhow::anyhow!("/proc/self/status has no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(quantile(&mut [5.0, 1.0, 3.0], 0.5), 3.0);
        assert_eq!(quantile(&mut [1.0, 2.0], 1.0), 2.0);
        assert!(quantile(&mut [], 0.5).is_nan());
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident().is_ok_and(|bytes| bytes > 100_000.0));
    }
}
