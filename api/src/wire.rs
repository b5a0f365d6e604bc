//! The JSON that the API takes and gives, shared with its client.
//!
//! Additive only: a field is never renamed or taken away, a new one has a default.

use fleet_runtime::{Envelope, Timestamp};
use serde::{Deserialize, Serialize};

/// The header that makes a submit safe to repeat.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header of a result that names the commit it rests on.
pub const BASE_COMMIT: &str = "fleet-base-commit";

/// The name of the events on a job's stream that aren't journaled and carry no id.
pub const PROGRESS: &str = "progress";

/// The name of the last event of a stream that was asked for with `?follow=false`; it carries no id.
pub const CAUGHT_UP: &str = "caught_up";

/// `POST /api/v1/jobs`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitBody {
    /// The kind of job: `story`.
    pub kind: String,
    /// The project that it belongs to.
    pub project: String,
    /// What a person calls it.
    pub title: String,
    /// What the kind needs to know.
    pub spec: serde_json::Value,
    /// Higher goes first.
    #[serde(default)]
    pub priority: i32,
}

/// Answer of `POST /api/v1/blobs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobStored {
    /// Its name: BLAKE3, hex.
    pub digest: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// `POST /api/v1/jobs/{id}/stop`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StopBody {
    /// Why; recorded.
    pub reason: String,
}

/// `POST /api/v1/approvals/{id}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionBody {
    /// What was decided.
    pub decision: Verdict,
    /// What to record with it.
    #[serde(default)]
    pub comment: String,
}

/// A person's answer at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Accept.
    Approve,
    /// Refuse.
    Reject,
}

/// The data of a journaled event on a job's stream; its SSE id is the envelope's position, its name the kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventData {
    /// The event as recorded.
    pub envelope: Envelope,
    /// The event in one line for people, escaped; absent where there is nothing to tell.
    pub line: Option<String>,
}

/// The data of a `progress` event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgressData {
    /// Who is at work: an agent, a tool.
    pub source: String,
    /// What it does, escaped.
    pub text: String,
    /// Tokens decoded by it so far, where it decodes.
    pub tokens: Option<u64>,
}

/// `GET /api/v1/node`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The node's name.
    pub name: String,
    /// Fleet's version.
    pub version: String,
    /// Where it listens.
    pub listen: String,
    /// Where it keeps its state.
    pub state_dir: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Its engines.
    pub engines: Vec<EngineView>,
    /// What its sandbox is made of.
    pub sandbox: String,
}

/// One engine, as people see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EngineView {
    /// Its name in the configuration.
    pub name: String,
    /// The model that it runs.
    pub model: String,
    /// How: `candle`, `mock`.
    pub kind: String,
    /// Whether what it says is invented for tests.
    pub mock: bool,
    /// How many tokens it can look at.
    pub context: u32,
}

/// Answer of `POST /api/v1/nodes/invitations`: what another node joins by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// `HOST:PORT` of the control node.
    pub control: String,
    /// Works once. A secret.
    pub token: String,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token: this may end in a log.
        write!(f, "Invitation({})", self.control)
    }
}

/// `?key=KEY` of what is asked about one actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The actor's.
    pub key: String,
}

/// `GET /readyz`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether jobs are run now.
    pub ready: bool,
    /// What isn't there yet.
    pub waiting_for: Vec<String>,
}
