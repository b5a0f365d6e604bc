//! The report of a job, rebuilt from its events and from nothing else.
//!
//! Each entry carries the position of the event that it was read from, so whoever doubts a line can
//! look it up. There is no sentence here that would be the same for another job, save headings.
//!
//! Flow: events → [`Report::from_events`] (fold) → JSON by serde, or Markdown by `to_markdown`.

mod effects;
mod fold;
mod markdown;

use fleet_runtime::{Envelope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::event::{Candidate, EngineLabel, Form, Measured, PatchNote, RunNote, SectionNote, Spend, TaskNote};

pub use effects::EffectEntry;

/// Where an entry was read from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Position in the journal.
    pub position: u64,
    /// When it was recorded.
    pub at: Timestamp,
}

/// Everything that is known of one job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The job's id.
    pub job: String,
    /// Its project.
    pub project: String,
    /// What was asked for.
    pub story: Option<StoryEntry>,
    /// How it ended, or that it didn't yet.
    pub outcome: Outcome,
    /// Engines that answered.
    pub engines: Vec<EngineLabel>,
    /// What happened, one line an event.
    pub timeline: Vec<TimelineEntry>,
    /// Who decided what, when, why and on what evidence.
    pub decisions: Vec<DecisionEntry>,
    /// What the base does.
    pub baseline: Option<BaselineEntry>,
    /// The plan.
    pub tasks: Vec<TaskNote>,
    /// The suspects.
    pub suspects: Vec<Candidate>,
    /// Each proposal and what it did when it was executed.
    pub attempts: Vec<AttemptEntry>,
    /// Each effect: model calls, tool runs, verdicts, the commit.
    pub effects: Vec<EffectEntry>,
    /// What was denied or stopped.
    pub violations: Vec<ViolationEntry>,
    /// What each agent was shown.
    pub bundles: Vec<BundleEntry>,
    /// Costs by role, and in all.
    pub costs: Costs,
    /// The commit.
    pub commit: Option<CommitEntry>,
    /// First and last event.
    pub span: Option<(Source, Source)>,
    /// Events that this version can't read, by kind.
    pub unread: Vec<String>,
}

/// How a job ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `succeeded`, `failed`, `stopped` or `running`.
    pub state: String,
    /// Why.
    pub summary: String,
    /// The event that says so.
    pub source: Option<Source>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoryEntry {
    /// One line.
    pub title: String,
    /// The body.
    pub description: String,
    /// What must hold.
    pub acceptance: Vec<String>,
    /// What must not be done.
    pub constraints: Vec<String>,
    /// What the client calls the repository.
    pub repo: String,
    /// Where the work started.
    pub base_commit: String,
    /// Build command.
    pub build: Option<String>,
    /// Test command.
    pub test: String,
    /// Seed of everything sampled.
    pub seed: u64,
    /// Who submitted it.
    pub by: String,
    /// Where this was read.
    pub source: Source,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// Who.
    pub by: String,
    /// What.
    pub text: String,
    /// Where this was read.
    pub source: Source,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionEntry {
    /// `design`, `plan`, `ranking` or `approval`.
    pub kind: String,
    /// What was decided.
    pub what: String,
    /// By whom.
    pub by: String,
    /// Why.
    pub why: String,
    /// What it rests on: effects, bundles, verdicts, by name.
    pub evidence: Vec<String>,
    /// Where this was read.
    pub source: Source,
}

/// What the base does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineEntry {
    /// In words.
    pub why: String,
    /// Tests that fail.
    pub failing: Vec<String>,
    /// How many pass.
    pub passed: u32,
    /// How many fail.
    pub failed: u32,
    /// The runs.
    pub runs: Vec<RunNote>,
    /// Where this was read.
    pub source: Source,
}

/// One proposal and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptEntry {
    /// Index over all waves.
    pub attempt: u32,
    /// Which wave.
    pub round: u32,
    /// The attempt that it repairs.
    pub repairs: Option<u32>,
    /// The attempt whose change it keeps and adds to.
    #[serde(default)]
    pub builds_on: Option<u32>,
    /// How the change was to be written.
    #[serde(default)]
    pub form: Form,
    /// The earlier attempt that came to the same program.
    pub same_as: Option<u32>,
    /// The agent.
    pub agent: String,
    /// The function it was asked to rewrite.
    pub target: String,
    /// Temperature and seed of the sampling.
    pub temperature: f32,
    /// As hex.
    pub seed: String,
    /// The change.
    pub patch: Option<PatchNote>,
    /// Why there is none.
    pub why_none: Option<String>,
    /// What it cost.
    pub spend: Spend,
    /// What was seen when it was executed.
    pub measured: Option<Measured>,
    /// What failing tests said.
    pub said: String,
    /// The runs.
    pub runs: Vec<RunNote>,
    /// Its place in the last ranking, from 1.
    pub place: Option<u32>,
    /// Why it stands there.
    pub reason: String,
    /// Where the proposal was read.
    pub source: Source,
    /// Where the verdict was read.
    pub verdict_source: Option<Source>,
}

/// What was denied or stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViolationEntry {
    /// The attempt.
    pub attempt: u32,
    /// Who.
    pub agent: String,
    /// What kind.
    pub what: String,
    /// What was tried and what stopped it.
    pub detail: String,
    /// Where this was read.
    pub source: Source,
}

/// What an agent was shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BundleEntry {
    /// Hash over it.
    pub hash: String,
    /// Whose.
    pub role: String,
    /// In which phase.
    pub phase: String,
    /// For what.
    pub task: Option<String>,
    /// Estimated size.
    pub tokens: u32,
    /// Position of the journal that it was made from.
    pub made_from: u64,
    /// What it holds.
    pub sections: Vec<SectionNote>,
    /// What was left out, and why.
    pub omitted: Vec<SectionNote>,
    /// Where this was read.
    pub source: Source,
}

/// Costs by role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Role and its costs.
    pub by_role: Vec<(String, Spend)>,
    /// All together.
    pub total: Spend,
    /// From the first to the last event.
    pub elapsed_ms: u64,
    /// Of that, waiting for a person.
    pub waited_ms: u64,
}

/// The commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitEntry {
    /// The attempt it contains.
    pub attempt: u32,
    /// Its id.
    pub commit: String,
    /// The branch it is imported as.
    pub branch: String,
    /// Blob of the bundle.
    pub bundle: String,
    /// Its size.
    pub bundle_bytes: u64,
    /// Trailers of the message.
    pub trailers: Vec<String>,
    /// Where this was read.
    pub source: Source,
}

impl Report {
    /// Reads a job's events, in order.
    pub fn from_events(events: &[Envelope]) -> Self {
        fold::fold(events)
    }

    /// The report for a person.
    pub fn to_markdown(&self) -> String {
        markdown::write(self)
    }

    /// Whether any engine that answered is a scripted one.
    pub fn mock(&self) -> bool {
        self.engines.iter().any(|e| e.mock)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
