//! What the journal's events come to in numbers, counted from the node's start on: read when the page is asked for, and
//! from where the last reading ended.

use std::collections::{BTreeMap, HashMap};

use fleet_runtime::job::JobEvent;
use fleet_runtime::{Envelope, JobId, Jobs, Journal, JournalError, Position, Timestamp};

use super::names;
use super::page::{Page, Waits};

/// Events read at once.
const PAGE: usize = 1000;
/// Events that one request for the page reads at most; the next one goes on from there.
const MOST: usize = 100_000;
/// Kinds and tools that are told apart; an agent that invents names doesn't make the page longer for ever.
const NAMES: usize = 200;
/// Submits that are remembered until their job starts, of some hundred bytes each.
const SUBMITS: usize = 200_000;
/// Jobs that are asked when they were submitted, because that was before this node started; for one page.
const ASKED: usize = 200;
const OTHER: &str = "other";

/// Counters over the journal.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    read: Position,
    kinds: BTreeMap<String, u64>,
    started: BTreeMap<String, u64>,
    lost: [u64; 2],
    ended: BTreeMap<&'static str, u64>,
    tools: BTreeMap<(String, bool), u64>,
    effects: [u64; 2],
    waits: Waits,
    submitted: HashMap<JobId, Timestamp>,
    /// Started for the first time then, and submitted before this node started.
    earlier: Vec<(JobId, Timestamp)>,
}

impl Tally {
    /// Counts what comes after that position.
    pub(crate) fn after(position: Position) -> Self {
        Self { read: position, ..Self::default() }
    }

    /// Reads on.
    pub(super) async fn catch_up(&mut self, journal: &dyn Journal, jobs: &Jobs) -> Result<(), JournalError> {
        let mut seen = 0;
        while seen < MOST {
            let events = journal.read_all(self.read, PAGE).await?;
            let Some(last) = events.last() else { break };
            (self.read, seen) = (last.position, seen + events.len());
            for event in &events {
                self.count(event);
            }
        }
        for (job, started) in std::mem::take(&mut self.earlier) {
            // One that is deleted by now has waited for nobody who asks.
            if let Ok(record) = jobs.get(&job).await {
                self.waits.add(started.since(record.submitted_at));
            }
        }
        Ok(())
    }

    fn count(&mut self, event: &Envelope) {
        bump(&mut self.kinds, event.kind.clone(), OTHER.to_owned());
        match event.kind.as_str() {
            "effect.completed" => self.effects[0] += 1,
            "effect.failed" => self.effects[1] += 1,
            "effect.intended" => {
                if let Some(tool) = event.payload["what"]["tool"].as_str() {
                    let allowed = event.payload["what"]["allowed"].as_bool().unwrap_or(true);
                    bump(&mut self.tools, (tool.to_owned(), allowed), (OTHER.to_owned(), allowed));
                }
            }
            _ => self.job(event),
        }
    }

    fn job(&mut self, event: &Envelope) {
        let (job, at) = (event.stream.as_job(), event.at);
        match JobEvent::read(event) {
            Some(JobEvent::Submitted { .. }) => {
                if let (Some(job), true) = (job, self.submitted.len() < SUBMITS) {
                    self.submitted.insert(job, at);
                }
            }
            Some(JobEvent::Started { run, node }) => {
                bump(&mut self.started, node.unwrap_or_default(), OTHER.to_owned());
                if let (1, Some(job)) = (run, job) {
                    match self.submitted.remove(&job) {
                        Some(submitted) => self.waits.add(at.since(submitted)),
                        None if self.earlier.len() < ASKED => self.earlier.push((job, at)),
                        None => {}
                    }
                }
            }
            Some(JobEvent::Requeued { crash, .. }) => self.lost[usize::from(!crash)] += 1,
            Some(JobEvent::Ended { state, .. }) => {
                *self.ended.entry(state.as_str()).or_default() += 1;
                // Stopped before it ever started.
                job.map(|job| self.submitted.remove(&job));
            }
            _ => {}
        }
    }

    /// Adds them to a page.
    pub(super) fn show(&self, committed: Position, page: &mut Page) {
        page.count(names::JOURNAL_POSITION, &[], committed.0);
        page.count(names::JOURNAL_BEHIND, &[], committed.0.saturating_sub(self.read.0));
        for (kind, n) in &self.kinds {
            page.count(names::JOURNAL_APPENDED, &[("kind", kind)], *n);
        }
        for (node, n) in &self.started {
            page.count(names::RUNS_STARTED, &[("node", node)], *n);
        }
        for (cause, n) in ["crash", "lost"].into_iter().zip(self.lost) {
            page.count(names::RUNS_LOST, &[("cause", cause)], n);
        }
        for state in ["succeeded", "failed", "stopped"] {
            page.count(names::JOBS_ENDED, &[("state", state)], self.ended.get(state).copied().unwrap_or(0));
        }
        for ((tool, allowed), n) in &self.tools {
            page.count(names::TOOL_RUNS, &[("tool", tool), ("allowed", if *allowed { "yes" } else { "no" })], *n);
        }
        for (outcome, n) in ["completed", "failed"].into_iter().zip(self.effects) {
            page.count(names::EFFECTS, &[("outcome", outcome)], n);
        }
        page.histogram(names::QUEUE_WAIT, &self.waits);
    }
}

fn bump<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, other: K) {
    let known = counts.len() < NAMES || counts.contains_key(&key);
    *counts.entry(if known { key } else { other }).or_default() += 1;
}
