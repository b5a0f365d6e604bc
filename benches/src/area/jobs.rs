//! The queue of jobs with 100,000 in it: what a submit, a page of the list and a start cost its core, and what a job takes.
//!
//! Without the journal, whose share is measured by `journal`: this shows whether anything grows with the queue.

use std::time::Instant;

use anyhow::{Context, Result};
use fleet_runtime::job::{Admission, Decision, JobEvent, JobsCore, RunEnd};
use fleet_runtime::time::Timestamp;
use fleet_runtime::{
    Author, Envelope, Generation, Hash, JobId, JobOutcome, JobSubmit, JobsOptions, Position, ProjectId, Seq, StreamId,
};
use serde_json::{Value, json};

use super::Run;
use crate::{Figure, Target};

const JOBS: usize = 100_000;
const FEW: usize = 1_000;
const PROJECTS: usize = 200;
const PLACES: usize = 64;
const STARTS: usize = 5_000;
const PAGE: usize = 100;
const ROUNDS: usize = 3;

/// Medians of three rounds.
pub fn measure(run: &Run) -> Result<Vec<Figure>> {
    let jobs = run.count(JOBS, FEW);
    let before = resident()?;
    let mut full = World::with(jobs)?;
    let bytes = (resident()?.saturating_sub(before)) as f64 / jobs as f64;
    let mut few = World::with(FEW)?;
    let submit = |world: &mut World| median_of(|| world.submit_cost());
    let (submit_full, submit_few) = (submit(&mut full)?, submit(&mut few)?);
    let page = median_of(|| full.page_cost(PAGE))?;
    let start = median_of(|| full.start_cost(run.count(STARTS, FEW / 5)))?;
    Ok(vec![
        Figure::new("submit to a queue of 100,000 jobs", submit_full, "us"),
        Figure::new("submit to a queue of 1,000 jobs", submit_few, "us"),
        Figure::new("page of 100 of 100,000 jobs, each with its reason", page, "us"),
        Figure::new("start and end of a job, 100,000 queued in 200 projects", start / 1e3, "ms")
            .must(Target::AtMost(0.2)),
        Figure::new("memory of a queued job", bytes, "B").must(Target::AtMost(5_000.0)),
    ])
}

struct World {
    core: JobsCore,
    position: u64,
    submitted: usize,
    now: Timestamp,
}

impl World {
    fn with(jobs: usize) -> Result<Self> {
        let options = JobsOptions { max_running: PLACES, max_open: usize::MAX, ..JobsOptions::default() };
        let mut world = Self { core: JobsCore::new(options), position: 0, submitted: 0, now: Timestamp(1) };
        for _ in 0..jobs {
            world.submit()?;
        }
        Ok(world)
    }

    fn submit(&mut self) -> Result<()> {
        let n = self.submitted;
        self.submitted += 1;
        let submit = JobSubmit {
            kind: "story".into(),
            project: project(n)?,
            idempotency_key: format!("key {n}"),
            title: format!("A story whose title says in a line what number {n} is about"),
            spec: json!({ "story": "As a reader I want pages, so that a long list loads fast.", "n": n }),
            priority: i32::try_from(n % 3)?,
            by: Author::Person("anna".into()),
        };
        let Admission::New(event) = self.core.admit(&submit)? else { anyhow::bail!("the key was used before") };
        let job = format!("{n:010}").parse()?;
        self.record(&job, &event, submit.project)
    }

    fn record(&mut self, job: &JobId, event: &JobEvent, project: ProjectId) -> Result<()> {
        self.position += 1;
        let event = event.write(Author::Node("bench".into()))?;
        self.core.apply(&Envelope {
            position: Position(self.position),
            at: self.now,
            by: event.by,
            project,
            stream: StreamId::job(job),
            seq: Seq(self.position),
            generation: Generation(1),
            kind: event.kind,
            version: event.version,
            caused_by: None,
            facts: Vec::new(),
            prev_hash: Hash::ZERO,
            hash: Hash::ZERO,
            payload: event.payload,
        });
        Ok(())
    }

    /// Microseconds.
    fn submit_cost(&mut self) -> Result<f64> {
        const SUBMITS: usize = 1_000;
        let began = Instant::now();
        for _ in 0..SUBMITS {
            self.submit()?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e6 / SUBMITS as f64)
    }

    /// Microseconds of a page from the middle.
    fn page_cost(&mut self, size: usize) -> Result<f64> {
        const PAGES: usize = 200;
        let began = Instant::now();
        for n in 0..PAGES {
            let after = Position((self.submitted / 2 + n * size) as u64);
            std::hint::black_box(self.core.page(Some(after), size, self.now));
        }
        Ok(began.elapsed().as_secs_f64() * 1e6 / PAGES as f64)
    }

    /// Microseconds from a place that is free to the end of the job that got it.
    fn start_cost(&mut self, starts: usize) -> Result<f64> {
        let mut running = Vec::new();
        let began = Instant::now();
        let mut started = 0;
        while started < starts {
            while let Some(Decision::Start(job)) = self.core.next(self.now) {
                self.core.place(&job);
                let project = self.core.record(&job, self.now).context("it is known")?.project;
                self.record(&job, &JobEvent::Started { run: 1, node: Some("n1".into()) }, project.clone())?;
                running.push((job, project));
                started += 1;
            }
            let (job, project) = running.swap_remove(started * 7 % running.len());
            let outcome = JobOutcome { success: true, summary: "done".into(), detail: Value::Null };
            let event = self.core.judge(&job, RunEnd::Done(outcome), self.now).context("it runs")?;
            self.record(&job, &event, project)?;
            std::hint::black_box(self.core.next_due(self.now));
        }
        let cost = began.elapsed().as_secs_f64() * 1e6 / starts as f64;
        for (job, project) in running {
            let outcome = JobOutcome { success: true, summary: "done".into(), detail: Value::Null };
            let event = self.core.judge(&job, RunEnd::Done(outcome), self.now).context("it runs")?;
            self.record(&job, &event, project)?;
        }
        Ok(cost)
    }
}

fn project(n: usize) -> Result<ProjectId> {
    // A few projects have most of the jobs.
    Ok(format!("project-{}", (n % PROJECTS) * (n % 5) / 4).parse()?)
}

/// Bytes of memory that this process has.
fn resident() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).context("no resident size")?.parse()?;
    Ok(pages * 4096)
}

fn median_of(mut once: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut times = (0..ROUNDS).map(|_| once()).collect::<Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("no rounds")
}
