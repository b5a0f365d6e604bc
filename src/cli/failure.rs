//! What a command says when it can't do what was asked: what happened, where, and what to do next.

use std::fmt;

use super::exit::Exit;

/// A command's failure, ready to be read by a person.
#[derive(Debug)]
pub struct Failure {
    /// What the process exits with.
    pub exit: Exit,
    /// A stable code, `FLT-…`, where there is one.
    pub code: Option<String>,
    /// What happened and where.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

impl Failure {
    /// A failure of any kind.
    pub fn new(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit, code: None, what: what.into(), next: next.into() }
    }

    /// Bad input: the caller can mend it.
    pub fn input(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::BadInput, what, next)
    }

    /// A fault of Fleet or of the machine.
    pub fn internal(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Internal, what, next)
    }

    /// The same failure with its stable code.
    #[must_use]
    pub fn coded(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) if !self.what.starts_with(code.as_str()) => {
                write!(f, "{code}: {}", self.what)?;
            }
            _ => write!(f, "{}", self.what)?,
        }
        if self.next.is_empty() {
            return Ok(());
        }
        write!(f, "\n  next: {}", self.next)
    }
}

impl std::error::Error for Failure {}

/// What every command returns.
pub type Outcome = Result<Exit, Failure>;
