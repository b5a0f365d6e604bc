//! The bundle itself and how it reads.

use fleet_runtime::Position;
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

/// What one agent sees, and what it was not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct ContextBundle {
    pub role: String,
    pub phase: String,
    pub task: Option<String>,
    /// Position of the last event of the stream that the bundle takes into account.
    pub position: Position,
    /// In reading order: facts of the stream first, then the caller's materials in their order.
    pub sections: Vec<Section>,
    /// Everything that was considered and left out.
    pub omitted: Vec<Omitted>,
    /// Sum of the sections' estimated tokens.
    pub tokens: u32,
    /// BLAKE3 (hex) over the encoded sections: equal hashes mean that the agents read the same text.
    pub hash: String,
}

/// One part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Section {
    pub kind: String,
    pub id: String,
    pub title: String,
    pub body: String,
    /// Estimated tokens of the section as rendered, heading included.
    pub tokens: u32,
}

/// Something that is not in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Omitted {
    pub kind: String,
    pub id: String,
    /// Estimated tokens it would have taken.
    pub tokens: u32,
    /// A sentence for a person.
    pub why: String,
}

impl ContextBundle {
    /// The bundle as the agent reads it: `## title`, the body, in order.
    #[must_use]
    pub fn render(&self) -> String {
        let sections: Vec<String> = self.sections.iter().map(Section::render).collect();
        sections.join("\n")
    }
}

impl Section {
    /// The section as rendered; ends with exactly one line break.
    #[must_use]
    pub fn render(&self) -> String {
        rendered(&self.title, &self.body)
    }
}

/// How a heading and a body become text. Trailing line breaks of the body don't count.
pub(crate) fn rendered(title: &str, body: &str) -> String {
    format!("## {title}\n{}\n", body.trim_end_matches(['\n', '\r']))
}
