//! What `/metrics` shows of this node's process, engines and files: read from the system when somebody asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet_api::Figures;
use fleet_api::metrics::{Page, names};
use fleet_inference::{Engine, EngineState};

/// Of a second: the unit in which the kernel gives CPU times to programs, whatever its own clock does.
const TICKS: f64 = 100.0;
/// Of memory, on every platform that Fleet runs on.
const PAGE_BYTES: u64 = 4096;

/// Looks at these engines and, where this node keeps the journal, at its folder.
pub(super) fn figures(engines: Vec<Arc<dyn Engine>>, journal: Option<PathBuf>) -> Figures {
    Arc::new(move |page: &mut Page| {
        process(page);
        engines.iter().for_each(|engine| of_engine(&**engine, page));
        if let Some(dir) = &journal {
            page.count(names::JOURNAL_DISK, &[], bytes_in(dir));
        }
    })
}

fn of_engine(engine: &dyn Engine, page: &mut Page) {
    let (info, stats) = (engine.info(), engine.stats());
    let of = [("engine", info.name.as_str())];
    page.count(names::ENGINE_READY, &of, u64::from(info.state == EngineState::Ready));
    page.count(names::ENGINE_QUEUED, &of, u64::from(stats.queued));
    page.count(names::ENGINE_ACTIVE, &of, u64::from(stats.active));
    page.count(names::ENGINE_PREFIX, &of, stats.prefix_bytes);
    for (outcome, n) in [("completed", stats.completed), ("cancelled", stats.cancelled), ("failed", stats.failed)] {
        page.count(names::ENGINE_REQUESTS, &[of[0], ("outcome", outcome)], n);
    }
    let tokens =
        [("prompt", stats.prompt_tokens), ("cached", stats.cached_tokens), ("completion", stats.completion_tokens)];
    for (kind, n) in tokens {
        page.count(names::ENGINE_TOKENS, &[of[0], ("kind", kind)], n);
    }
    page.put(names::ENGINE_PREFILL, &of, millis(stats.prefill_ms));
    page.put(names::ENGINE_DECODE, &of, millis(stats.decode_ms));
}

fn millis(n: u64) -> f64 {
    std::time::Duration::from_millis(n).as_secs_f64()
}

/// From `/proc/self`; what can't be read isn't shown.
fn process(page: &mut Page) {
    if let Some((ticks, threads, pages)) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(stat) {
        page.put(names::PROCESS_CPU, &[], ticks / TICKS);
        page.count(names::PROCESS_THREADS, &[], threads);
        page.count(names::PROCESS_MEMORY, &[], pages * PAGE_BYTES);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        page.count(names::PROCESS_FILES, &[], files.count() as u64);
    }
}

/// CPU ticks, threads and resident pages, from the fields 14, 15, 20 and 24 that `proc_pid_stat(5)` numbers from 1. The
/// second is the program's name in parentheses, which may hold anything.
fn stat(line: &str) -> Option<(f64, u64, u64)> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let ticks = field(14)?.parse::<f64>().ok()? + field(15)?.parse::<f64>().ok()?;
    Some((ticks, field(20)?.parse().ok()?, field(24)?.parse().ok()?))
}

fn bytes_in(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).filter(|meta| meta.is_file()).map(|meta| meta.len()).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_programs_name_may_look_like_fields() {
        let line = "7 (a) 1 (b)) S 1 7 7 0 -1 4 1 0 0 0 150 50 0 0 20 0 9 0 100 4096000 321 18446744073709551615";
        assert_eq!(stat(line), Some((200.0, 9, 321)));
        assert_eq!(stat("nonsense"), None);
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        let mut page = Page::default();
        process(&mut page);
        let text = page.to_string();
        for metric in [names::PROCESS_CPU, names::PROCESS_MEMORY, names::PROCESS_THREADS, names::PROCESS_FILES] {
            assert!(text.contains(metric.name), "{text}");
        }
    }
}
