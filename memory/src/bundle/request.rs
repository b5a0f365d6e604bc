//! What is asked of memory: whose context, for which phase, within which budget.

use fleet_runtime::{ProjectId, StreamId};
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

/// One request for a context bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct BundleRequest {
    /// Stream whose facts are visible; facts of other streams never are.
    pub stream: StreamId,
    /// Project whose redaction key applies to the materials.
    pub project: ProjectId,
    /// Role of the agent, e.g. `architect`, `developer`.
    pub role: String,
    /// Phase of the story, e.g. `design`, `build`.
    pub phase: String,
    /// Task the agent works on; facts that belong to another task are left out.
    pub task: Option<String>,
    /// Upper bound of the bundle in estimated tokens. Exceeded only where the materials of
    /// priority 0 alone exceed it.
    pub budget_tokens: u32,
    /// What only the caller has at hand; redacted here before anything else happens.
    pub materials: Vec<Material>,
}

/// A piece of text that the caller adds to the facts of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Material {
    /// What it is, e.g. `failing test`, `source file`, `feedback`.
    pub kind: String,
    /// Identifies it within its kind, e.g. a path.
    pub id: String,
    /// Heading under which the agent reads it.
    pub title: String,
    /// The text.
    pub body: String,
    /// 0 = must be in the bundle; larger numbers give way first.
    pub priority: u8,
}
