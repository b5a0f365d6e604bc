//! The JSON that the API takes and gives, shared with its client.
//!
//! Additive only: a field is never renamed or taken away, a new one has a default.

use fleet_actors::gate::Approval;
use fleet_inference::{EngineInfo, EngineState, EngineStats};
use fleet_runtime::auth::AccessLevel;
use fleet_runtime::cluster::ActorExplanation;
use fleet_runtime::job::JobRecord;
use fleet_runtime::{Author, Envelope, Timestamp, TraceId};
use serde::{Deserialize, Serialize};

/// The header that makes a submit safe to repeat.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header of W3C Trace Context: the trace that a request belongs to, and in an answer the one that it was given.
pub const TRACEPARENT: &str = "traceparent";

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
    /// How: `candle`, `openai`, `embedding`, `mock`.
    pub kind: String,
    /// Whether what it says is invented for tests.
    pub mock: bool,
    /// How many tokens it can look at.
    pub context: u32,
}

/// `?node=NODE` of what is done to engines; without it, to those of all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnNode {
    /// The node's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// One of `GET /api/v1/engines`: what an engine is and what it has done since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The node that has it.
    #[serde(default)]
    pub node: String,
    /// The model that it runs; empty where it doesn't answer.
    pub model: String,
    /// How: `candle`, `openai`, `embedding`, `mock`; empty where it doesn't answer.
    pub kind: String,
    /// Whether what it says is invented for tests.
    pub mock: bool,
    /// How many tokens it can look at; 0 while that isn't known.
    pub context: u32,
    /// `ready`, `loading`, `draining`, `failed` or `unreachable`.
    pub state: String,
    /// Why it has failed or can't be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Requests that wait, requests that are decoded now, tokens, and what its prefix cache holds.
    pub stats: EngineStats,
}

impl EngineStatus {
    pub(crate) fn new(node: String, info: EngineInfo, stats: EngineStats) -> Self {
        let (state, why) = match info.state {
            EngineState::Ready => ("ready", None),
            EngineState::Loading => ("loading", None),
            EngineState::Draining => ("draining", None),
            EngineState::Failed { why } => ("failed", Some(why)),
        };
        Self {
            name: info.name,
            node,
            model: info.model,
            kind: info.kind.as_str().to_owned(),
            mock: info.mock,
            context: info.context,
            state: state.to_owned(),
            why,
            stats,
        }
    }

    pub(crate) fn unreachable(name: String, node: String, why: &str) -> Self {
        Self {
            name,
            node,
            model: String::new(),
            kind: String::new(),
            mock: false,
            context: 0,
            state: "unreachable".to_owned(),
            why: Some(why.to_owned()),
            stats: EngineStats::default(),
        }
    }
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

/// `POST /api/v1/access`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessBody {
    /// Whom the token is for; it stands in the records of what is done with it.
    pub name: String,
    /// What that person may do.
    pub level: AccessLevel,
    /// For how long; without end if absent.
    #[serde(default)]
    pub expires_in_seconds: Option<u64>,
}

/// Answer of `POST /api/v1/access`: the only time that the token is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessGrant {
    /// A secret.
    pub token: String,
    /// What is kept of it.
    pub access: AccessRecord,
}

impl std::fmt::Debug for AccessGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token: this may end in a log.
        write!(f, "AccessGrant({})", self.access.name)
    }
}

/// A token that was issued, without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// Whom it is for.
    pub name: String,
    /// What that person may do.
    pub level: AccessLevel,
    /// Whether it holds.
    pub state: AccessState,
    /// Who issued it.
    pub issued_by: Author,
    /// When.
    pub issued_at: Timestamp,
    /// When it stops to hold by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

/// Whether a token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessState {
    /// It does.
    Valid,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

/// `GET /api/v1/jobs/{id}/explain`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobExplanation {
    /// The job; its `why` says why it is in its state.
    pub job: JobRecord,
    /// What it did last.
    pub last: Option<Told>,
    /// Gates of it that wait for a person.
    pub waits_for: Vec<Approval>,
    /// Where its run is or is to be, and why; absent where the job has ended or waits for its turn.
    pub runner: Option<ActorExplanation>,
    /// What the log lines of all nodes bear that have to do with it.
    #[serde(default)]
    pub trace: Option<TraceId>,
}

/// An event in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// What, escaped.
    pub line: String,
}
