//! What is wrong with a configuration file, said so that it can be mended without the manual:
//! file, line, column, the line itself, and the key that was probably meant.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::nearest::nearest;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("FLT-K001: can't read {}: {source}\n  next: check --config and the file's permissions; the sample is cluster.toml", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text isn't what the keys want.
    #[error("{0}")]
    Wrong(Box<Fault>),
    /// Every key is right by itself, but the values don't go together.
    #[error("FLT-K003: {}: {what}\n  next: {remedy}", path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// Which keys, and why not.
        what: String,
        /// What to write instead.
        remedy: String,
    },
}

/// One fault at one place of a file.
#[derive(Debug)]
pub struct Fault {
    path: PathBuf,
    line: usize,
    column: usize,
    source_line: String,
    mark: usize,
    what: String,
    remedy: String,
}

impl Fault {
    /// Turns what the TOML reader says into a fault with a place and a remedy.
    pub(super) fn new(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let start = floor_boundary(text, span.start);
        let (line, column) = place(text, start);
        let source_line = text.lines().nth(line - 1).unwrap_or_default().to_owned();
        let (what, remedy) = explain(text, start, error.message());
        Self {
            path: path.to_owned(),
            line,
            column,
            mark: mark_width(&source_line, column, &span),
            source_line,
            what,
            remedy,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gutter = self.line.to_string().len();
        writeln!(f, "FLT-K002: {}:{}:{}: {}", self.path.display(), self.line, self.column, self.what)?;
        writeln!(f, "  {} | {}", self.line, self.source_line)?;
        writeln!(f, "  {:gutter$} | {}{}", "", " ".repeat(self.column - 1), "^".repeat(self.mark))?;
        write!(f, "  next: {}", self.remedy)
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Line and column, both from 1, columns in characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    (line, before[start..].chars().count() + 1)
}

fn mark_width(line: &str, column: usize, span: &Range<usize>) -> usize {
    let rest = line.chars().count().saturating_sub(column - 1);
    span.len().clamp(1, rest.max(1))
}

/// The header of the table that this place lies in, as written: `[jobs]`.
fn section(text: &str, at: usize) -> Option<&str> {
    text[..at].lines().rev().map(str::trim).find(|line| line.starts_with('[') && line.ends_with(']'))
}

fn explain(text: &str, at: usize, message: &str) -> (String, String) {
    let Some(rest) = message.strip_prefix("unknown field ") else {
        return (one_line(message), remedy_for(message).to_owned());
    };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let key = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let where_ = section(text, at).map_or(String::new(), |s| format!(" in {s}"));
    let keys = known.join(", ");
    let remedy = match nearest(key, &known) {
        Some(meant) => format!("did you mean `{meant}`? Keys here: {keys}"),
        None => format!("remove it, or use one of: {keys}"),
    };
    (format!("unknown key `{key}`{where_}"), remedy)
}

fn remedy_for(message: &str) -> &'static str {
    let of_value = ["invalid type", "invalid value", "unknown variant", "missing field", "expected a"];
    if of_value.iter().any(|start| message.starts_with(start)) {
        return "give the key a value of that kind; the sample cluster.toml has every key with an example";
    }
    "mend it here: a line is `key = value` or `[table]`, text stands in quotes, sizes are \"8MiB\", durations \"500ms\""
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
