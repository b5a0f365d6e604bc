//! Which language a file is in, and its parser.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tree_sitter::{Parser, Tree};

use super::SyntaxError;

/// A language whose functions can be found and replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python 3.
    Python,
    /// Rust.
    Rust,
    /// JavaScript, modules included.
    JavaScript,
}

impl Language {
    /// The language of a file, by its name.
    pub fn of(path: impl AsRef<Path>) -> Option<Self> {
        match path.as_ref().extension()?.to_str()? {
            "py" | "pyi" => Some(Self::Python),
            "rs" => Some(Self::Rust),
            "js" | "mjs" | "cjs" | "jsx" => Some(Self::JavaScript),
            _ => None,
        }
    }

    /// The name that a fenced code block carries.
    pub fn fence(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Rust => "rust",
            Self::JavaScript => "javascript",
        }
    }

    pub(super) fn parse(self, source: &str) -> Result<Tree, SyntaxError> {
        let grammar = match self {
            Self::Python => tree_sitter_python::LANGUAGE,
            Self::Rust => tree_sitter_rust::LANGUAGE,
            Self::JavaScript => tree_sitter_javascript::LANGUAGE,
        };
        let mut parser = Parser::new();
        parser.set_language(&grammar.into()).map_err(|error| SyntaxError::Parser(error.to_string()))?;
        parser.parse(source, None).ok_or_else(|| SyntaxError::Parser("no tree".to_owned()))
    }
}
