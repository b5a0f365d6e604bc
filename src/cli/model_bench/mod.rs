//! `fleet model bench`: how fast a model is on this machine, and what to configure.
//!
//! ```text
//! which (model) → plan (a stage's tasks, by what is known) → child (a process a task, points as they come) → rows
//!   rows → recommend → report (JSON, tables) and page (HTML)
//! ```
//! [`plan`], [`recommend`] and [`page`] are pure; only [`child`] measures. No node is asked.

mod child;
mod machine;
mod page;
mod plan;
mod recommend;
mod report;
mod rows;
#[cfg(test)]
mod samples;
mod shown;
mod which;

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_inference::models::ModelStore;

use self::machine::Machine;
use self::plan::{Asked, Stage, Task, plan};
use self::recommend::{Known, recommend};
use self::report::Report;
use self::rows::{Came, Row};
use self::shown::Shown;
use self::which::Chosen;
use super::args::{ModelBench, given};
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::terminal::Terminal;

pub use self::child::serve;

/// The context where neither the command nor the configuration says one.
const CONTEXT: u32 = 4096;
const TIME: Duration = Duration::from_secs(150);
const TIME_QUICK: Duration = Duration::from_secs(25);

/// Measures, says what came out, and writes the page.
pub async fn run(terminal: &Terminal, bench: &ModelBench, store: ModelStore) -> Outcome {
    if let Some(file) = &bench.html {
        // Known before minutes are spent.
        std::fs::File::create(file).map_err(|e| unwritable(file, &e))?;
    }
    let (machine, tiles) = (Machine::here(), store.tiles());
    if machine.busy > f64::from(machine.cores) * 0.5 {
        terminal.careful(format_args!(
            "the machine is busy (load {:.1} on {} cores): what is measured will be too slow",
            machine.busy, machine.cores
        ));
    }
    let wanted = bench.clone();
    let chosen = tokio::task::spawn_blocking(move || which::choose(&wanted, &store)).await;
    let chosen = chosen.map_err(|e| Failure::internal(format!("looking at the model broke off: {e}"), ""))??;
    let asked = asked(bench, &chosen, &machine, &tiles);
    let time = bench.time.unwrap_or(if bench.quick { TIME_QUICK } else { TIME });
    let date = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    let mut sweep = Sweep { asked: &asked, rows: Vec::new(), began: Instant::now(), time, shown: Shown::new(terminal) };
    let complete = tokio::select! {
        () = sweep.run() => true,
        () = interrupted() => false,
    };
    let (rows, took_s) = (std::mem::take(&mut sweep.rows), sweep.began.elapsed().as_secs_f64());
    drop(sweep);
    let known =
        Known { model: chosen.configured(), context: asked.context, kv_bytes: asked.kv_bytes, memory: asked.memory };
    let report = Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: given(),
        date,
        machine,
        model: chosen,
        context: asked.context,
        took_s,
        complete,
        recommendation: recommend(&known, &rows),
        rows,
    };
    tell(terminal, bench, &report)
}

/// Resolves at Ctrl-C.
pub async fn interrupted() {
    // Without a handler there is only the default: this process ends, and with it what it measures.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn asked(bench: &ModelBench, chosen: &Chosen, machine: &Machine, tiles: &Path) -> Asked {
    let context = bench.context.or(chosen.context).unwrap_or(CONTEXT).clamp(256, chosen.facts.context.max(256));
    Asked {
        model: chosen.path.clone(),
        tiles: tiles.to_owned(),
        context,
        kv_bytes: chosen.facts.kv_bytes,
        // The weights come first, and others want some of the rest.
        memory: machine.memory_free.saturating_sub(chosen.bytes) / 2,
        cores: machine.cores,
        streams: bench.streams.clone(),
        threads: bench.threads.clone(),
        kv: bench.kv.iter().map(|size| size.as_u64()).collect(),
        draft: bench.draft.clone(),
        quick: bench.quick,
    }
}

/// The run, as far as it has come.
struct Sweep<'a> {
    asked: &'a Asked,
    rows: Vec<Row>,
    began: Instant,
    time: Duration,
    shown: Shown,
}

impl Sweep<'_> {
    async fn run(&mut self) {
        for stage in Stage::ALL {
            let tasks = plan(self.asked, stage, &self.rows, self.left_s());
            for (n, task) in tasks.iter().enumerate() {
                self.measure(task, &tasks[n + 1..]).await;
            }
            // An engine that can't even be started won't be with other settings.
            if self.rows.iter().all(|row| matches!(row.came, Came::Died(_))) {
                return;
            }
        }
    }

    async fn measure(&mut self, task: &Task, next: &[Task]) {
        let mut ahead = self.ahead_s(task.stage) + plan::seconds(next, &self.rows);
        ahead += plan::seconds(std::slice::from_ref(task), &self.rows);
        let known = self.rows.iter().any(|row| row.measured().is_some());
        self.shown.begin(task, if known { ahead } else { self.left_s() });
        let before = self.rows.len();
        let (rows, shown) = (&mut self.rows, &mut self.shown);
        let ended = child::measure(task, |point| {
            rows.push(Row { stage: task.stage, came: Came::Point(point) });
            shown.next(task, rows.len() - before);
        })
        .await;
        if let Err(why) = ended {
            self.rows.extend(Row::died(task, self.rows.len() - before, why));
        }
    }

    /// Seconds that the stages after this one take, about.
    fn ahead_s(&self, stage: Stage) -> f64 {
        let (mut left, mut sum) = (self.left_s(), 0.0);
        for later in Stage::ALL.into_iter().filter(|later| *later > stage) {
            let takes = plan::seconds(&plan(self.asked, later, &self.rows, left), &self.rows);
            (left, sum) = (left - takes, sum + takes);
        }
        sum
    }

    fn left_s(&self) -> f64 {
        self.time.saturating_sub(self.began.elapsed()).as_secs_f64()
    }
}

fn tell(terminal: &Terminal, bench: &ModelBench, report: &Report) -> Outcome {
    if terminal.json_wanted() {
        terminal.json(report)?;
    } else if !report.rows.is_empty() {
        terminal.data(report.text())?;
    }
    if !report.complete {
        terminal.careful("ended early: only what was measured until then is here");
    }
    if let Some(file) = &bench.html {
        std::fs::write(file, page::page(report)).map_err(|e| unwritable(file, &e))?;
        terminal.note(format_args!("the page is {}", file.display()));
    }
    let died = report.rows.iter().find_map(|row| match &row.came {
        Came::Died(died) => Some(died),
        Came::Point(_) => None,
    });
    match (report.rows.iter().all(|row| row.measured().is_none()), died) {
        (true, Some(died)) => {
            let what = format!("nothing could be measured: {}", died.why);
            Err(Failure::internal(what, "try another model, fewer --threads or a smaller --context").coded("FLT-M003"))
        }
        (true, None) if report.complete => {
            let what = "nothing could be measured in that time";
            Err(Failure::internal(what, "give it longer, for example --time 10m").coded("FLT-M003"))
        }
        _ => Ok(Exit::Ok),
    }
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::input(format!("can't write {}: {error}", file.display()), "name another file with --html")
}
