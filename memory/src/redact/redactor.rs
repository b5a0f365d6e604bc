//! The redactor that the journal, the logs and the agents' contexts go through.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fleet_runtime::{ProjectId, Redactor};

use super::key;
use super::placeholder::{placeholder, placeholders};
use super::restore::Placeholders;
use super::scan::Scanner;
use crate::error::MemoryError;

/// Passes over one text. A replaced secret may uncover another one beside it; the second pass finds
/// nothing unless the first one found something, and more than three were never seen.
const PASSES: usize = 8;

/// Replaces secrets by placeholders. Idempotent: what it returned comes back unchanged.
pub struct SecretRedactor {
    scanner: Option<Arc<Scanner>>,
    key: [u8; 32],
    originals: Mutex<BTreeMap<ProjectId, Placeholders>>,
}

impl SecretRedactor {
    /// A redactor whose tags depend on this key.
    ///
    /// The rules are part of the program and tested; should one not compile all the same, every
    /// text is withheld whole, rather than let through.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { scanner: Scanner::shared().ok(), key, originals: Mutex::default() }
    }

    /// A redactor with the key in this file, which is made where there is none.
    pub fn load_or_create(key_file: &Path) -> Result<Self, MemoryError> {
        let key = key::load_or_create(key_file)?;
        Ok(Self { scanner: Some(Scanner::shared()?), key, originals: Mutex::default() })
    }

    /// The originals behind this project's placeholders, as far as this process has seen them.
    #[must_use]
    pub fn placeholders(&self, project: &ProjectId) -> Placeholders {
        let mut originals = self.originals.lock().unwrap_or_else(PoisonError::into_inner);
        originals.entry(project.clone()).or_default().clone()
    }

    /// One pass; `None` where nothing was found.
    fn pass(&self, scanner: &Scanner, project: &ProjectId, text: &str) -> Option<String> {
        let mut out: Option<String> = None;
        let mut done = 0;
        for segment in between_placeholders(text) {
            let part = &text[segment.clone()];
            for finding in scanner.scan(part) {
                let secret = &part[finding.range.clone()];
                let stand_in = placeholder(&self.key, project, finding.rule, secret);
                self.placeholders(project).remember(&stand_in, secret);
                let out = out.get_or_insert_with(|| String::with_capacity(text.len()));
                out.push_str(&text[done..segment.start + finding.range.start]);
                out.push_str(&stand_in);
                done = segment.start + finding.range.end;
            }
        }
        let mut out = out?;
        out.push_str(&text[done..]);
        Some(out)
    }
}

impl Redactor for SecretRedactor {
    fn redact<'a>(&self, project: &ProjectId, text: &'a str) -> Cow<'a, str> {
        let Some(scanner) = &self.scanner else { return Cow::Borrowed("[withheld: redaction is broken]") };
        let Some(mut redacted) = self.pass(scanner, project, text) else { return Cow::Borrowed(text) };
        for _ in 1..PASSES {
            match self.pass(scanner, project, &redacted) {
                Some(more) => redacted = more,
                None => break,
            }
        }
        Cow::Owned(redacted)
    }
}

/// The stretches of a text outside its placeholders: what was redacted is never looked at again.
fn between_placeholders(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut segments = Vec::new();
    let mut done = 0;
    for range in placeholders(text) {
        segments.push(done..range.start);
        done = range.end;
    }
    segments.push(done..text.len());
    segments
}

/// Never shows the key.
impl fmt::Debug for SecretRedactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretRedactor").finish_non_exhaustive()
    }
}
