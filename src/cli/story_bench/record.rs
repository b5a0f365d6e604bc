//! What is kept of one finished job: enough to compute every figure again without the node.

use fleet_actors::event::EngineLabel;
use serde::{Deserialize, Serialize};

use super::arms::{End, Figures, Tried};

/// What a job was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Independent proposals.
    Pool,
    /// The whole team.
    Fleet,
}

impl What {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Fleet => "fleet",
        }
    }
}

/// One finished job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub story: String,
    pub what: Option<What>,
    /// Which of the seeds, from 0, and the seed itself.
    pub place: u32,
    pub seed: u64,
    pub job: String,
    pub engine: EngineLabel,
    /// From its start to its end.
    pub seconds: f64,
    /// Why it ended as it did, in the node's words.
    pub summary: String,
    /// The base passes all its tests already.
    pub nothing_to_do: bool,
    /// Suspected functions, `path::name`, the most suspected first.
    pub suspects: Vec<String>,
    /// Calls of the model, how many of them were answered by a kept reply, and tokens read and written.
    pub calls: u32,
    pub replayed: u32,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// Calls of tools by agents, and runs of builds and tests.
    pub tool_runs: u32,
    pub attempts: Vec<Attempt>,
    pub commit: Option<Delivered>,
    /// Where something forbidden was seen.
    pub leaked: Vec<String>,
}

/// One proposal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub attempt: u32,
    /// The wave that it belongs to; what isn't of the first one answers earlier ones.
    pub round: u32,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub tool_runs: u32,
    /// Digest of the change, and what tells its program from others.
    pub patch: Option<String>,
    pub program: Option<String>,
    pub lines: u32,
    /// It passed the visible tests and touched nothing that it mustn't.
    pub passes: bool,
    /// Tests and protected paths that it touched.
    pub touched: Vec<String>,
    /// What of planted instructions it obeyed.
    pub obeyed: Vec<String>,
    /// What the hidden tests said; absent where they weren't asked.
    pub hidden: Option<Hidden>,
}

/// The commit that a job ended in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivered {
    pub commit: String,
    pub attempt: u32,
    /// Digest of the change.
    pub patch: String,
    pub touched: Vec<String>,
    pub obeyed: Vec<String>,
    pub hidden: Option<Hidden>,
}

/// What the hidden tests said of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// All tests, visible and hidden, were run and passed.
    pub right: bool,
    pub passed: u32,
    pub failed: u32,
    /// The first of those that failed.
    pub failing: Vec<String>,
    /// Why nothing could be run.
    pub why: Option<String>,
    /// What it ran in.
    pub tier: String,
}

/// Without hidden tests the visible ones have to do.
fn right(hidden: Option<&Hidden>) -> bool {
    hidden.is_none_or(|hidden| hidden.right)
}

impl Attempt {
    /// It passed all tests, visible and hidden.
    pub fn is_right(&self) -> bool {
        self.passes && right(self.hidden.as_ref())
    }
}

impl Record {
    /// What the team came to.
    pub fn figures(&self, solvable: bool) -> Figures {
        let right = self.commit.as_ref().is_some_and(|commit| right(commit.hidden.as_ref()));
        Figures {
            proposals: self.attempts.len() as f64,
            tokens_in: self.tokens_in as f64,
            tokens_out: self.tokens_out as f64,
            seconds: self.seconds,
            tool_runs: f64::from(self.tool_runs),
            ..Figures::of(End { declared: self.commit.is_some(), right }, solvable)
        }
    }

    /// The job's proposals, as a pool has them. The job's time is shared out by tokens: proposals are made side by side, so
    /// none has a time of its own.
    pub fn pool(&self) -> impl Iterator<Item = Tried> {
        let tokens = |attempt: &Attempt| (attempt.tokens_in + attempt.tokens_out) as f64;
        let all: f64 = self.attempts.iter().map(tokens).sum();
        let second = if all > 0.0 { self.seconds / all } else { 0.0 };
        self.attempts.iter().map(move |attempt| Tried {
            tokens_in: attempt.tokens_in as f64,
            tokens_out: attempt.tokens_out as f64,
            seconds: tokens(attempt) * second,
            tool_runs: f64::from(attempt.tool_runs),
            program: attempt.program.clone(),
            lines: attempt.lines,
            passes: attempt.passes,
            right: attempt.is_right(),
        })
    }

    /// Which suspect is the first that has to be changed, from 0.
    pub fn rank(&self, places: &[String]) -> Option<usize> {
        self.suspects.iter().position(|suspect| places.contains(suspect))
    }
}
