//! What happens to a story, as it is kept for ever.
//!
//! One enum is the whole vocabulary: the state machine folds it, the report and the live view are
//! made of it, and nothing else about a story is durable. Payloads are JSON with a `type` tag; a
//! field may be added with a default, none may be renamed or change its meaning.
//!
//! Large things (patches, bundles) are not here but their digests are.

use fleet_runtime::Timestamp;
use serde::{Deserialize, Serialize};

use crate::spec::Approve;

/// Version of the payloads written by this release.
pub const VERSION: u16 = 1;

/// A step of the way that a story takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The architect decides how.
    Design,
    /// The work is cut into tasks.
    Plan,
    /// The council proposes.
    Build,
    /// Proposals are executed, ranked, and decided about.
    Test,
    /// Documentation is written.
    Docs,
    /// Nothing is left to do.
    Done,
}

impl Phase {
    /// The name used in events, policies and bundles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Design => "design",
            Self::Plan => "plan",
            Self::Build => "build",
            Self::Test => "test",
            Self::Docs => "docs",
            Self::Done => "done",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Which engine answers, and whether it is a real one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineLabel {
    /// The engine's name in the configuration.
    pub name: String,
    /// The model it runs.
    pub model: String,
    /// True for the scripted engine of tests and demonstrations.
    pub mock: bool,
}

/// What model calls cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    /// Calls of the model.
    pub calls: u32,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Wall time of the calls, waiting in the engine's queue included.
    pub wall_ms: u64,
}

impl Spend {
    /// Tokens read and written.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// Adds another's costs.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.wall_ms += other.wall_ms;
    }
}

/// What the base does when it is built and tested as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineOutcome {
    /// Some test fails: there is work to do.
    Failing,
    /// Everything passes already: there is nothing that a change could be measured by.
    NothingToDo,
    /// The commands can't be run to an end, so nothing could be measured.
    Unrunnable,
}

/// A part of a context bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionNote {
    /// Kind of the material.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its estimated size.
    pub tokens: u32,
    /// For what was left out: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A task of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskNote {
    /// Id within the plan.
    pub id: String,
    /// One line.
    pub title: String,
    /// Tasks that must be done before.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Files that the planner expects to change.
    #[serde(default)]
    pub files: Vec<String>,
}

/// How a change is written down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One function, whole.
    #[default]
    Function,
    /// The file that holds it, whole: for what needs more than one place, or something new.
    File,
}

/// A suspected function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// File, relative to the repository.
    pub path: String,
    /// Qualified name.
    pub function: String,
    /// 1-based line at which it starts.
    pub line: u32,
    /// Sum of the points behind `reasons`.
    pub score: u32,
    /// Why it is suspected.
    pub reasons: Vec<String>,
    /// In which forms a change of it may be written, the more promising one first.
    #[serde(default = "one_function", skip_serializing_if = "is_one_function")]
    pub forms: Vec<Form>,
}

fn one_function() -> Vec<Form> {
    vec![Form::Function]
}

fn is_one_function(forms: &[Form]) -> bool {
    forms == [Form::Function]
}

impl Candidate {
    /// What proposals about it have as their target.
    pub fn target(&self) -> String {
        format!("{}:{}", self.path, self.function)
    }
}

/// A recorded patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchNote {
    /// Blob that holds it.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
    /// Lines added and removed.
    pub lines: u32,
    /// Files it changes.
    pub files: Vec<String>,
    /// Digest of the syntax trees that it leads to: equal for equal programs, however they are laid out. Absent
    /// where a file's language isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
}

impl PatchNote {
    /// What tells programs apart: patches with the same one do the same when they are executed.
    pub fn program(&self) -> &str {
        self.shape.as_deref().unwrap_or(&self.digest)
    }
}

/// How an agent's work on one proposal ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum ProposalEnd {
    /// With a change.
    Patch {
        /// The change.
        patch: PatchNote,
    },
    /// Without one.
    Nothing {
        /// Why there is none.
        why: String,
    },
}

/// One proposal of the council.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Index over all waves; breaks ties.
    pub attempt: u32,
    /// The wave; 0 for the first one.
    pub round: u32,
    /// The attempt that this one repairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repairs: Option<u32>,
    /// The attempt whose change it keeps and adds to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds_on: Option<u32>,
    /// How the change was to be written.
    #[serde(default)]
    pub form: Form,
    /// The agent's role.
    #[serde(default = "developer")]
    pub role: String,
    /// Name of the agent.
    pub agent: String,
    /// Who answered it; empty where nobody did.
    #[serde(default)]
    pub engine: EngineLabel,
    /// The function it was about, `path:name`.
    pub target: String,
    /// Seed of the sampling, as hex (JSON numbers lose the upper bits).
    pub seed: String,
    /// Temperature of the sampling.
    pub temperature: f32,
    /// Hash of what the agent was shown.
    pub bundle: String,
    /// How it ended.
    #[serde(flatten)]
    pub end: ProposalEnd,
    /// Keys of the effects behind it, for whoever follows it back.
    #[serde(default)]
    pub effects: Vec<String>,
    /// What it cost.
    #[serde(flatten)]
    pub spend: Spend,
}

fn developer() -> String {
    "developer".into()
}

impl Proposal {
    /// The change, where there is one.
    pub fn patch(&self) -> Option<&PatchNote> {
        match &self.end {
            ProposalEnd::Patch { patch } => Some(patch),
            ProposalEnd::Nothing { .. } => None,
        }
    }
}

/// What was seen when a proposal was executed in a fresh checkout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Paths it touched though it may not. Not empty: disqualified.
    pub touched_protected: Vec<String>,
    /// Whether the patch applies to the base.
    pub applies: bool,
    /// Whether it builds.
    pub builds: bool,
    /// Whether what failed on the base passes now.
    pub target_fixed: bool,
    /// Tests that passed on the base and fail now.
    pub newly_failing: Vec<String>,
    /// Tests that failed on the base and pass now.
    pub newly_passing: Vec<String>,
    /// Tests that pass now.
    pub passed: u32,
    /// Tests that fail now.
    pub failed: u32,
    /// Lines added and removed.
    pub lines_changed: u32,
    /// Values of the failing tests that the change compares with and nothing else knows. Not empty: it does what
    /// the tests ask, not what the story asks, and may not be committed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub special_cased: Vec<String>,
}

impl Measured {
    /// Whether it may be committed, as far as measuring goes.
    pub fn passes(&self) -> bool {
        self.touched_protected.is_empty()
            && self.applies
            && self.builds
            && self.target_fixed
            && self.newly_failing.is_empty()
            && self.special_cased.is_empty()
    }

    /// Whether it does something that the base doesn't, without having arrived yet.
    pub fn gets_somewhere(&self) -> bool {
        self.touched_protected.is_empty() && self.builds && (self.target_fixed || !self.newly_passing.is_empty())
    }
}

/// Further tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFile {
    /// Where it goes.
    pub path: String,
    /// Blob that holds it.
    pub digest: String,
}

/// One run of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunNote {
    /// What was run.
    pub command: String,
    /// How it ended, in words: `exit 1`, `killed after 300 s`, …
    pub ended: String,
    /// Wall time.
    pub wall_ms: u64,
    /// The isolation it ran under.
    pub tier: String,
}

/// An attempt's place and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The attempt.
    pub attempt: u32,
    /// Why it stands here.
    pub reason: String,
}

/// What was decided at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateDecision {
    /// Yes.
    Approved,
    /// No.
    Rejected,
    /// Nobody decided in time.
    Expired,
}

/// What a person is asked at a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Whether what was verified is committed.
    #[default]
    Commit,
    /// Whether to go on with as many proposals again, though none has passed.
    GoOn,
}

/// Everything that can happen to a story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StoryEvent {
    /// The story was read and its base is there.
    Accepted {
        /// The story's title.
        title: String,
        /// Hash of the story file.
        story_hash: String,
        /// What the story wants, in words.
        description: String,
        /// What must hold.
        acceptance: Vec<String>,
        /// What must not be done.
        constraints: Vec<String>,
        /// Commit that the work starts from.
        base_commit: String,
        /// What the client calls the repository.
        repo: String,
        /// Build command.
        build: Option<String>,
        /// Test command.
        test: String,
        /// Who decides at the gate.
        approve: Approve,
        /// Seed of everything sampled.
        seed: u64,
        /// The engine that answers.
        engine: EngineLabel,
    },
    /// A phase begins.
    Phase {
        /// Which.
        phase: Phase,
        /// Wave of proposals, for build and test; before which wave, for design and plan.
        #[serde(default)]
        round: u32,
    },
    /// A phase is left out.
    Skipped {
        /// Which.
        phase: Phase,
        /// Why.
        reason: String,
    },
    /// The base was built and tested as it is.
    Baseline {
        /// What that means for the story.
        outcome: BaselineOutcome,
        /// In words.
        why: String,
        /// Tests that fail on the base.
        failing: Vec<String>,
        /// How many pass.
        passed: u32,
        /// How many fail.
        failed: u32,
        /// The runs.
        runs: Vec<RunNote>,
        /// Key of the effect that holds the whole outcome.
        effect: String,
    },
    /// Somebody was shown something.
    Bundle {
        /// Hash over what was shown.
        hash: String,
        /// To whom.
        role: String,
        /// In which phase.
        phase: Phase,
        /// For which task or attempt.
        #[serde(default)]
        task: Option<String>,
        /// Estimated size.
        tokens: u32,
        /// Position of the journal that it was made from.
        position: u64,
        /// What it holds.
        sections: Vec<SectionNote>,
        /// What was left out, and why.
        omitted: Vec<SectionNote>,
    },
    /// The architect decided how.
    Design {
        /// What is wrong or wanted.
        summary: String,
        /// How it is done.
        approach: String,
        /// What could go wrong.
        risks: Vec<String>,
        /// Hash of what the architect was shown.
        bundle: String,
        /// Key of the model call.
        effect: String,
        /// What it cost.
        spend: Spend,
    },
    /// The work was cut into tasks.
    Plan {
        /// The tasks.
        tasks: Vec<TaskNote>,
        /// Why the plan can't be carried out. None: it can.
        refused: Option<String>,
        /// Hash of what the planner was shown.
        bundle: String,
        /// Key of the model call.
        effect: String,
        /// What it cost.
        spend: Spend,
    },
    /// The suspects were ranked.
    Localised {
        /// The suspects, most suspected first.
        candidates: Vec<Candidate>,
        /// How many functions were looked at.
        considered: u32,
    },
    /// An agent finished a proposal.
    Proposal(Proposal),
    /// A proposal was executed.
    Verdict {
        /// The attempt; holds for each attempt with the same patch.
        attempt: u32,
        /// Digest of the patch.
        patch: String,
        /// What was seen.
        measured: Measured,
        /// What the failing tests said, shortened.
        said: String,
        /// The runs.
        runs: Vec<RunNote>,
        /// Key of the effect that holds the whole outcome.
        effect: String,
    },
    /// Further tests were written, to tell changes apart that pass all the others.
    Probes {
        /// The file that they are in and its text's blob; none: nothing could be used.
        file: Option<ProbeFile>,
        /// In words.
        why: String,
        /// Hash of what the writer was shown.
        bundle: String,
        /// Key of the model call.
        effect: String,
        /// What it cost.
        spend: Spend,
    },
    /// A change that passes was run with the further tests.
    Examined {
        /// The attempt; holds for each attempt with an equal program.
        attempt: u32,
        /// Further tests that pass.
        passed: Vec<String>,
        /// Further tests that fail.
        failed: Vec<String>,
        /// Key of the effect.
        effect: String,
    },
    /// The proposals so far were ranked.
    Ranked {
        /// The last wave that is taken into account.
        round: u32,
        /// Best first.
        places: Vec<Place>,
        /// The best one, if it may be committed.
        winner: Option<u32>,
        /// Why this one, or why none.
        reason: String,
    },
    /// A person is asked.
    GateOpened {
        /// The gate.
        gate: String,
        /// The attempt in question.
        attempt: u32,
        /// What the person decides.
        #[serde(default)]
        asked: Asked,
        /// What is asked, in words.
        question: String,
        /// What the decision can rest on.
        evidence: Vec<String>,
        /// When it is too late.
        expires_at: Timestamp,
    },
    /// The gate was decided; this happens once.
    GateDecided {
        /// The gate.
        gate: String,
        /// The attempt in question.
        attempt: u32,
        /// What was decided.
        decision: GateDecision,
        /// By whom: a person's name, `policy:auto`, or the node for an expiry.
        by: String,
        /// What the person said.
        comment: String,
        /// When.
        at: Timestamp,
    },
    /// The change is a commit now.
    Committed {
        /// The attempt.
        attempt: u32,
        /// The commit.
        commit: String,
        /// The branch that the client imports it as.
        branch: String,
        /// Blob of the result bundle.
        bundle: String,
        /// Its size.
        bundle_bytes: u64,
        /// The trailers of the message.
        trailers: Vec<String>,
        /// Key of the effect.
        effect: String,
    },
    /// Somebody tried what is not allowed, and was stopped.
    Violation {
        /// The attempt.
        attempt: u32,
        /// Name of the agent.
        agent: String,
        /// What kind: `denied`, `loop`, `protected`, `limits`.
        what: String,
        /// What was tried and what stopped it.
        detail: String,
    },
    /// The end.
    Ended {
        /// Whether there is a verified commit.
        success: bool,
        /// Why it ended so, for a person.
        summary: String,
        /// The attempt that is the best evidence, where nothing passed.
        #[serde(default)]
        best: Option<u32>,
    },
}

impl StoryEvent {
    /// The event's kind in the journal.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "story.accepted",
            Self::Phase { .. } => "story.phase",
            Self::Skipped { .. } => "story.skipped",
            Self::Baseline { .. } => "story.baseline",
            Self::Bundle { .. } => "story.bundle",
            Self::Design { .. } => "story.design",
            Self::Plan { .. } => "story.plan",
            Self::Localised { .. } => "story.localised",
            Self::Proposal(_) => "story.proposal",
            Self::Verdict { .. } => "story.verdict",
            Self::Probes { .. } => "story.probes",
            Self::Examined { .. } => "story.examined",
            Self::Ranked { .. } => "story.ranked",
            Self::GateOpened { .. } => "story.gate_opened",
            Self::GateDecided { .. } => "story.gate_decided",
            Self::Committed { .. } => "story.committed",
            Self::Violation { .. } => "story.violation",
            Self::Ended { .. } => "story.ended",
        }
    }

    /// Reads the story event out of a recorded one; None for what belongs to somebody else.
    pub fn read(kind: &str, payload: &serde_json::Value) -> Option<Result<Self, serde_json::Error>> {
        kind.starts_with("story.").then(|| serde_json::from_value(payload.clone()))
    }
}
