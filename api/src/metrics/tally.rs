//! What the journal's events come to in numbers, counted from the node's start on: read when the page is asked for, and
//! from where the last reading ended.

use std::collections::{BTreeMap, HashMap};

use fleet_runtime::job::{JobEvent, JobRecord};
use fleet_runtime::{Envelope, JobId, Journal, JournalError, Position};

use super::names;
use super::page::{Page, Waits};

/// Events read at once.
const PAGE: usize = 1000;
/// Events that one request for the page reads at most; the next one goes on from there.
const MOST: usize = 100_000;
/// Kinds and tools that are told apart; an agent that invents names doesn't make the page longer for ever.
const NAMES: usize = 200;
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
}

impl Tally {
    /// Counts what comes after that position.
    pub(crate) fn after(position: Position) -> Self {
        Self { read: position, ..Self::default() }
    }

    /// Reads on.
    pub(super) async fn catch_up(&mut self, journal: &dyn Journal, jobs: &[JobRecord]) -> Result<(), JournalError> {
        let jobs: HashMap<&JobId, &JobRecord> = jobs.iter().map(|job| (&job.id, job)).collect();
        let mut seen = 0;
        while seen < MOST {
            let events = journal.read_all(self.read, PAGE).await?;
            let Some(last) = events.last() else { break };
            (self.read, seen) = (last.position, seen + events.len());
            for event in &events {
                self.count(event, &jobs);
            }
        }
        Ok(())
    }

    fn count(&mut self, event: &Envelope, jobs: &HashMap<&JobId, &JobRecord>) {
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
            _ => self.job(event, jobs),
        }
    }

    fn job(&mut self, event: &Envelope, jobs: &HashMap<&JobId, &JobRecord>) {
        match JobEvent::read(event) {
            Some(JobEvent::Started { run, node }) => {
                bump(&mut self.started, node.unwrap_or_default(), OTHER.to_owned());
                let job = event.stream.as_job();
                if let (1, Some(job)) = (run, job.and_then(|id| jobs.get(&id))) {
                    self.waits.add(event.at.since(job.submitted_at));
                }
            }
            Some(JobEvent::Requeued { crash, .. }) => self.lost[usize::from(!crash)] += 1,
            Some(JobEvent::Ended { state, .. }) => *self.ended.entry(state.as_str()).or_default() += 1,
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
