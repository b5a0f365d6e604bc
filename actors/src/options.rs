//! What can be set about the team, each with its default and when to change it.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use fleet_runtime::placement::Request;
use serde::{Deserialize, Serialize};

/// Everything that can be set about the software team.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TeamOptions {
    /// How a council proposes.
    pub council: CouncilOptions,
    /// How a single agent works.
    pub agent: AgentOptions,
    /// How a person's decision is waited for.
    pub approval: ApprovalOptions,
    /// What build and test runs may use.
    pub runs: RunOptions,
}

/// How a council proposes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CouncilOptions {
    /// Proposals of a story at most; it ends with the first wave in which one passes. Default 24. More
    /// find more, at their price in tokens.
    pub proposals: u32,
    /// Proposals of the first waves. Default 1, then 3: what is easy costs one try.
    pub first: Vec<u32>,
    /// Proposals of each later wave. Default 8: as many as an engine answers together at little more
    /// than the price of one.
    pub wave: u32,
    /// Suspected functions that the proposals are spread over. Default 8: those that come to nothing soon count less.
    pub candidates: u32,
    /// Whether further tests are written where several different changes pass. Default true; costs one reply.
    pub probe: bool,
    /// Waves before the architect is asked for a design and a plan. Default 2; 0 asks before anything is tried.
    pub design_after: u32,
    /// Proposals in progress at once. Default 8. The engine decides how many really run together.
    pub parallel: u32,
    /// Tokens, prompt and reply together, after which no further proposal is started. Default 200 000.
    pub max_tokens: u64,
    /// Minutes after which a story is given up. Default none: attempts and tokens are what bounds a
    /// story, so that a slow machine comes to the same end as a fast one.
    pub minutes: Option<u64>,
    /// How often one proposal is begun again after its agent crashed. Default 2.
    pub retries: u32,
}

impl Default for CouncilOptions {
    fn default() -> Self {
        Self {
            proposals: 24,
            first: vec![1, 3],
            wave: 8,
            candidates: 8,
            probe: true,
            design_after: 2,
            parallel: 8,
            max_tokens: 200_000,
            minutes: None,
            retries: 2,
        }
    }
}

/// How a single agent works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentOptions {
    /// Turns of think, act, observe. Default 3: a first try and two answers to a refused edit.
    pub max_steps: u32,
    /// Tokens of one reply. Default 700: a function of 60 lines.
    pub reply_tokens: u32,
    /// Tokens of the largest file that may be rewritten whole; 0: never. Default 700.
    pub file_tokens: u32,
    /// Tokens of what an agent is shown. Default 3000.
    pub context_tokens: u32,
    /// Temperature of the proposals after the first on each candidate. Default 0.8; it varies a little from try to try.
    pub temperature: f32,
    /// Directory of the team's own roles, relative to the file; the same on every node that runs stories. Read when a
    /// story begins. Default: only the built-in roles.
    pub roles: Option<PathBuf>,
    /// Longest wait for one reply. Default 10 min: a CPU engine serves a council one by one.
    #[serde(with = "humantime_serde")]
    pub reply_deadline: Duration,
    /// CPUs that an agent takes of its node, beside what its tool runs are limited to. Default 0.1: it mostly waits for
    /// its engine. An agent that finds no room works on the node of its story.
    pub cpus: f64,
    /// Memory that an agent takes of its node. Default 256 MiB.
    pub memory: ByteSize,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            max_steps: 3,
            reply_tokens: 700,
            file_tokens: 700,
            context_tokens: 3000,
            temperature: 0.8,
            roles: None,
            reply_deadline: Duration::from_secs(600),
            cpus: 0.1,
            memory: ByteSize::mib(256),
        }
    }
}

impl AgentOptions {
    /// What an agent takes of its node.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    pub fn request(&self) -> Request {
        let cpu_milli = (self.cpus * 1000.0).round().clamp(0.0, 1e12) as u64;
        Request { cpu_milli, memory_bytes: self.memory.as_u64(), ..Request::default() }
    }
}

/// How a person's decision is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApprovalOptions {
    /// How long a gate stays open. Default 7 days; then the story ends as failed and says so.
    #[serde(with = "humantime_serde")]
    pub expires_after: Duration,
}

impl Default for ApprovalOptions {
    fn default() -> Self {
        Self { expires_after: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// What build and test runs may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// Longest build or test run. Default 5 min; what runs longer is killed and counts as failed.
    #[serde(with = "humantime_serde")]
    pub wall: Duration,
    /// Memory of a run in bytes. Default 2 GiB.
    pub memory_bytes: u64,
    /// Processes of a run. Default 256.
    pub pids: u32,
    /// Output kept of a run, in bytes. Default 1 MiB; what is longer is cut in the middle.
    pub output_bytes: u64,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { wall: Duration::from_secs(300), memory_bytes: 2 << 30, pids: 256, output_bytes: 1 << 20 }
    }
}
