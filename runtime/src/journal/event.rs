//! What is recorded: an event, and the envelope that the journal puts around it.
//!
//! Beside its payload an event carries *facts*: the entities and relations that it means, said by
//! whoever records it. So projections understand events whose types they don't know.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wincode::{SchemaRead, SchemaWrite};

use super::hash::{Hash, HashedContent, HashedEnvelope};
use crate::id::{Generation, IdError, Position, ProjectId, Seq, StreamId};
use crate::time::Timestamp;

/// An event as it stands in the journal.
///
/// `hash` covers every other field; `prev_hash` is the hash of the stream's event before this one
/// (zeros for the first), so that a stream is a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    pub position: Position,
    pub at: Timestamp,
    pub by: Author,
    pub project: ProjectId,
    pub stream: StreamId,
    pub seq: Seq,
    pub generation: Generation,
    pub kind: String,
    pub version: u16,
    pub caused_by: Option<Position>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    pub prev_hash: Hash,
    pub hash: Hash,
    pub payload: Value,
}

impl Envelope {
    /// The hash that this envelope should have.
    pub fn compute_hash(&self) -> Result<Hash, serde_json::Error> {
        let content = HashedContent {
            by: &self.by.to_string(),
            kind: &self.kind,
            version: self.version,
            caused_by: self.caused_by,
            facts: &serde_json::to_string(&self.facts)?,
            payload: &serde_json::to_string(&self.payload)?,
        };
        Ok(HashedEnvelope {
            position: self.position,
            at: self.at,
            project: self.project.as_str(),
            stream: self.stream.as_str(),
            seq: self.seq,
            generation: self.generation,
            prev_hash: self.prev_hash,
        }
        .hash(content.hash()))
    }
}

/// An event that isn't in the journal yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub by: Author,
    pub kind: String,
    /// Of the payload's shape; rises when an old reader would misunderstand it.
    pub version: u16,
    pub caused_by: Option<Position>,
    pub facts: Vec<Fact>,
    pub payload: Value,
}

impl NewEvent {
    /// Version 1, caused by nothing, without facts.
    pub fn new(by: Author, kind: impl Into<String>, payload: Value) -> Self {
        Self { by, kind: kind.into(), version: 1, caused_by: None, facts: Vec::new(), payload }
    }

    pub fn caused_by(mut self, cause: Position) -> Self {
        self.caused_by = Some(cause);
        self
    }

    pub fn with_facts(mut self, facts: Vec<Fact>) -> Self {
        self.facts = facts;
        self
    }
}

/// Who did it. Written as `person:anna`, `agent:developer/dev-2`, `node:n1`.
///
/// A role holds no `/`: the first one ends it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(try_from = "String", into = "String")]
pub enum Author {
    Person(String),
    Agent { role: String, name: String },
    Node(String),
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => write!(f, "person:{name}"),
            Self::Agent { role, name } => write!(f, "agent:{role}/{name}"),
            Self::Node(name) => write!(f, "node:{name}"),
        }
    }
}

impl FromStr for Author {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parsed = match text.split_once(':') {
            Some(("person", name)) => Some(Self::Person(name.to_owned())),
            Some(("node", name)) => Some(Self::Node(name.to_owned())),
            Some(("agent", who)) => {
                who.split_once('/').map(|(role, name)| Self::Agent { role: role.to_owned(), name: name.to_owned() })
            }
            _ => None,
        };
        parsed.ok_or_else(|| IdError {
            kind: "author",
            text: text.to_owned(),
            rule: "person:NAME, agent:ROLE/NAME or node:NAME",
        })
    }
}

impl TryFrom<String> for Author {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Author> for String {
    fn from(author: Author) -> String {
        author.to_string()
    }
}

/// What an event means, for whoever doesn't know its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(tag = "fact", rename_all = "lowercase")]
pub enum Fact {
    Entity(Entity),
    Relation { from: EntityRef, relation: String, to: EntityRef },
}

/// A thing: a decision, a requirement, a file, a tool run. The latest one with its kind and id holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Entity {
    pub kind: String,
    pub id: String,
    pub title: String,
    pub body: String,
}

/// Names an entity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct EntityRef {
    pub kind: String,
    pub id: String,
}

#[cfg(test)]
pub(super) mod tests;
