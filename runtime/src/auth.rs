//! Port: who may do what. The policy itself lives above; the runtime only asks.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wincode::{SchemaRead, SchemaWrite};

/// What a person may do. Ordered: each level may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "lowercase")]
pub enum AccessLevel {
    /// Sees.
    Viewer,
    /// Submits and stops.
    Operator,
    /// Decides at the gates.
    Po,
}

impl AccessLevel {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Po];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Po => "po",
        }
    }
}

/// A person who has been recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Principal {
    pub name: String,
    pub level: AccessLevel,
}

/// "May this role, in this phase, use this tool in this way?"
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessQuery {
    pub role: String,
    pub phase: String,
    pub tool: String,
    pub args: Value,
}

/// The answer, with the rule that gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum Decision {
    Allow {
        rule: String,
    },
    /// `reason` says why, `hint` what would be allowed instead.
    Deny {
        rule: String,
        reason: String,
        hint: String,
    },
}

/// Decides; never blocks, never fails.
pub trait Authorizer: Send + Sync + 'static {
    fn decide(&self, query: &AccessQuery) -> Decision;
}
