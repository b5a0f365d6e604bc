//! Recorded events of a job → what they say of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use fleet_actors::event::{BaselineOutcome, EngineLabel, Measured, Proposal, StoryEvent};
use fleet_runtime::{Author, Envelope};
use serde_json::Value;

use super::record::Attempt;

/// What is known of a job.
#[derive(Debug, Default)]
pub struct Facts {
    pub engine: EngineLabel,
    /// What the base's own tests came to.
    pub baseline: Option<BaselineOutcome>,
    /// Tests that the base has.
    pub visible: u32,
    pub suspects: Vec<String>,
    /// The commit, and the attempt that it is.
    pub committed: Option<(String, u32)>,
    /// How the story ended.
    pub ended: Option<String>,
    pub calls: u32,
    pub replayed: u32,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub tool_runs: u32,
    attempts: BTreeMap<u32, Attempt>,
    verdicts: Vec<Verdict>,
    /// Effects that ask a model.
    asked: BTreeSet<String>,
    tools: BTreeSet<String>,
}

#[derive(Debug)]
struct Verdict {
    attempt: u32,
    measured: Measured,
    runs: u32,
}

impl Facts {
    /// Takes in one event. The error names an event that this version can't read.
    pub fn take(&mut self, envelope: &Envelope) -> Result<(), String> {
        match StoryEvent::read(&envelope.kind, &envelope.payload) {
            Some(Ok(event)) => self.story(event, &envelope.payload),
            Some(Err(e)) => return Err(format!("{}: {e}", envelope.kind)),
            None => self.effect(envelope),
        }
        Ok(())
    }

    /// Its proposals with what was seen of them.
    pub fn attempts(&self) -> Vec<Attempt> {
        let mut all = self.attempts.clone();
        for verdict in &self.verdicts {
            self.judge(verdict, &mut all);
        }
        for key in &self.tools {
            if let Some(attempt) = workspace_of(key).and_then(|attempt| all.get_mut(&attempt)) {
                attempt.tool_runs += 1;
            }
        }
        all.into_values().collect()
    }

    /// A verdict is about a program, so it holds for every attempt that came to the same one.
    fn judge(&self, verdict: &Verdict, all: &mut BTreeMap<u32, Attempt>) {
        let Some(program) = all.get(&verdict.attempt).and_then(|attempt| attempt.program.clone()) else { return };
        for attempt in all.values_mut().filter(|attempt| attempt.program.as_ref() == Some(&program)) {
            attempt.passes = verdict.measured.passes();
            attempt.touched.clone_from(&verdict.measured.touched_protected);
            // What is equal is executed once, but whoever makes one proposal has it executed.
            attempt.tool_runs += verdict.runs;
        }
    }

    fn story(&mut self, event: StoryEvent, payload: &Value) {
        let runs_of = |runs: usize| u32::try_from(runs).unwrap_or(u32::MAX);
        match event {
            StoryEvent::Accepted { engine, .. } => self.engine = engine,
            StoryEvent::Baseline { outcome, passed, failed, runs, .. } => {
                self.baseline = Some(outcome);
                self.visible = passed + failed;
                self.tool_runs += runs_of(runs.len());
            }
            StoryEvent::Localised { candidates, .. } => {
                let name = |of: &fleet_actors::event::Candidate| format!("{}::{}", of.path, of.function);
                self.suspects = candidates.iter().map(name).collect();
            }
            StoryEvent::Proposal(proposal) => self.proposal(&proposal, payload),
            StoryEvent::Verdict { attempt, measured, runs, .. } => {
                let runs = runs_of(runs.len());
                self.tool_runs += runs;
                self.verdicts.push(Verdict { attempt, measured, runs });
            }
            StoryEvent::Committed { attempt, commit, .. } => self.committed = Some((commit, attempt)),
            StoryEvent::Ended { summary, .. } => self.ended = Some(summary),
            _ => {}
        }
    }

    fn proposal(&mut self, proposal: &Proposal, payload: &Value) {
        let patch = proposal.patch();
        // Where a node says which changes lead to equal programs, that is what tells them apart.
        let shape = payload.pointer("/patch/shape").and_then(Value::as_str).map(str::to_owned);
        let digest = patch.map(|patch| patch.digest.clone());
        let attempt = Attempt {
            attempt: proposal.attempt,
            round: proposal.round,
            tokens_in: proposal.spend.prompt_tokens,
            tokens_out: proposal.spend.completion_tokens,
            program: shape.or_else(|| digest.clone()),
            patch: digest,
            lines: patch.map_or(0, |patch| patch.lines),
            ..Attempt::default()
        };
        self.attempts.insert(proposal.attempt, attempt);
    }

    fn effect(&mut self, envelope: &Envelope) {
        let payload = &envelope.payload;
        let Some(key) = payload.get("key").and_then(Value::as_str) else { return };
        match envelope.kind.as_str() {
            "effect.intended" => {
                let what = payload.get("what");
                let says = |name: &str| what.is_some_and(|what| what.get(name).is_some());
                if says("ask") {
                    self.asked.insert(key.to_owned());
                } else if says("tool")
                    && matches!(envelope.by, Author::Agent { .. })
                    && self.tools.insert(key.to_owned())
                {
                    self.tool_runs += 1;
                }
            }
            "effect.completed" if self.asked.remove(key) => {
                let number = |name: &str| payload["result"][name].as_u64().unwrap_or_default();
                self.calls += 1;
                self.tokens_in += number("prompt_tokens");
                self.tokens_out += number("completion_tokens");
                self.replayed += u32::from(payload["result"]["replayed"] == Value::Bool(true));
            }
            _ => {}
        }
    }
}

/// The attempt whose workspace a tool was called in: the key is `tool/aN/…`.
fn workspace_of(key: &str) -> Option<u32> {
    key.strip_prefix("tool/a")?.split('/').next()?.parse().ok()
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
