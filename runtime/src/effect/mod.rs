//! Actions on the outside world, each recorded before and after, so that none that was recorded
//! is done twice.
//!
//! An effect is `effect.intended`, then the action, then `effect.completed` or `effect.failed`.
//! "Recorded" means the outcome. No intention on disk, no effect: a writer that has been fenced
//! can't start one. After a crash between the two the class says what may be done.

mod ledger;
mod permit;

use std::future::Future;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::id::Position;
use crate::journal::{Author, Envelope, Fact, JournalError, NewEvent};
use crate::stream::StreamWriter;
use ledger::{Known, Ledger};
pub use permit::Permit;

pub const INTENDED: &str = "effect.intended";
pub const COMPLETED: &str = "effect.completed";
pub const FAILED: &str = "effect.failed";

/// What doing it a second time would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectClass {
    /// Nothing: a model call, a run in a workspace that is thrown away.
    Repeatable,
    /// Nothing, since the target carries the key and answers a repeat with what it has.
    Keyed,
    /// Harm. With its outcome unknown a person decides.
    Irreversible,
}

/// An effect before it happens.
#[derive(Clone, Debug)]
pub struct EffectSpec {
    /// Names it within its stream. The same key is the same effect, for ever.
    pub key: String,
    pub class: EffectClass,
    pub by: Author,
    /// For whoever reads the journal.
    pub what: Value,
    /// Recorded with the intention.
    pub facts: Vec<Fact>,
}

/// What the action gets to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectRun {
    pub key: String,
    /// From 1; rises each time it is tried after a crash.
    pub attempt: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    /// It was done and failed; that is its outcome and it isn't tried again.
    #[error("effect {key} failed: {error}")]
    Failed { key: String, error: String },
    /// It was intended, then something crashed, and it must not be done twice. A person decides.
    #[error("whether effect {key} was done is unknown; it can't be repeated safely, so a person must decide")]
    Unknown { key: String },
    /// Its recorded outcome isn't of the type that is asked for.
    #[error("the recorded outcome of effect {key} can't be read: {error}")]
    Unreadable { key: String, error: String },
    /// Its intention or its outcome could not be recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The effects of one stream. Cheap to clone; clones know the same effects.
#[derive(Clone)]
pub struct Effects {
    writer: StreamWriter,
    ledger: Arc<Ledger>,
    permit: Permit,
}

impl Effects {
    /// `history` is the stream's, from its first event.
    pub fn new(writer: StreamWriter, history: &[Envelope]) -> Self {
        Self { writer, ledger: Arc::new(Ledger::from_history(history)), permit: Permit::always() }
    }

    /// Starts none while the permit doesn't hold, and waits instead.
    #[must_use]
    pub fn permitted_by(self, permit: Permit) -> Self {
        Self { permit, ..self }
    }

    /// Gives the recorded outcome, or does the effect and records it.
    ///
    /// The value comes back *as it was recorded*, redacted: a resumed run sees what the first one
    /// saw. Two callers with one key: the second waits and gets the first one's outcome.
    pub async fn run<T, F, Fut>(&self, spec: EffectSpec, f: F) -> Result<T, EffectError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(EffectRun) -> Fut,
        Fut: Future<Output = Result<T, String>>,
    {
        self.run_with_facts(spec, f, |_| Vec::new()).await
    }

    /// Like [`Effects::run`]; `facts` says what the result means, recorded with the outcome.
    pub async fn run_with_facts<T, F, Fut, G>(&self, spec: EffectSpec, f: F, facts: G) -> Result<T, EffectError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(EffectRun) -> Fut,
        Fut: Future<Output = Result<T, String>>,
        G: FnOnce(&T) -> Vec<Fact>,
    {
        let entry = self.ledger.entry(&spec.key);
        let mut known = entry.lock().await;
        let tried = match &*known {
            Known::Completed(result) => return read(&spec.key, result),
            Known::Failed(error) => return Err(failed(&spec.key, error)),
            Known::Intended { class, .. } if class.max(&spec.class) == &EffectClass::Irreversible => {
                return Err(EffectError::Unknown { key: spec.key });
            }
            Known::Intended { attempt, .. } => *attempt,
            Known::Nothing => 0,
        };
        let run = EffectRun { key: spec.key.clone(), attempt: tried.saturating_add(1) };
        // Before the append: should this future be dropped during it, the intention may be there.
        *known = Known::Intended { attempt: run.attempt, class: spec.class };
        let (by, intended) = self.intend(spec, &run, &mut known, tried).await?;
        // Between the intention and this line the process may have stood still for longer than its lease.
        self.permit.granted().await;
        let result = f(run.clone()).await;
        let facts = result.as_ref().map(facts).unwrap_or_default();
        let outcome = self.record(by, &run, intended, result, facts).await?;
        *known = outcome;
        match &*known {
            Known::Completed(result) => read(&run.key, result),
            Known::Failed(error) => Err(failed(&run.key, error)),
            Known::Nothing | Known::Intended { .. } => Err(EffectError::Unknown { key: run.key }),
        }
    }

    /// The recorded result of the effect with this key, if it has completed.
    pub fn recorded(&self, key: &str) -> Option<Value> {
        self.ledger.completed(key)
    }

    async fn intend(
        &self,
        spec: EffectSpec,
        run: &EffectRun,
        known: &mut Known,
        tried: u32,
    ) -> Result<(Author, Position), EffectError> {
        let payload = json!({
            "key": spec.key, "class": spec.class, "attempt": run.attempt, "what": spec.what,
        });
        let event = NewEvent::new(spec.by.clone(), INTENDED, payload).with_facts(spec.facts);
        match self.writer.append(event).await {
            Ok(envelope) => Ok((spec.by, envelope.position)),
            Err(error) => {
                // Refused for certain: nothing was intended, so nothing is unknown.
                if tried == 0 && is_refusal(&error) {
                    *known = Known::Nothing;
                }
                Err(error.into())
            }
        }
    }

    async fn record<T: Serialize>(
        &self,
        by: Author,
        run: &EffectRun,
        intended: Position,
        result: Result<T, String>,
        facts: Vec<Fact>,
    ) -> Result<Known, EffectError> {
        let result = result
            .and_then(|value| serde_json::to_value(value).map_err(|e| format!("its result can't be recorded: {e}")));
        let outcome = |kind: &str, field: &str, value: Value| {
            let payload = json!({ "key": run.key, "attempt": run.attempt, field: value });
            NewEvent::new(by.clone(), kind, payload).caused_by(intended)
        };
        let event = match result {
            Ok(value) => outcome(COMPLETED, "result", value).with_facts(facts),
            Err(error) => outcome(FAILED, "error", Value::String(error)),
        };
        let recorded = match self.writer.append(event).await {
            // What can never be recorded must not be done again and again.
            Err(error @ JournalError::TooLarge { .. }) => {
                let why = Value::String(format!("its result can't be recorded: {error}"));
                self.writer.append(outcome(FAILED, "error", why)).await?
            }
            other => other?,
        };
        Ok(ledger::outcome(&recorded).unwrap_or(Known::Nothing))
    }
}

fn is_refusal(error: &JournalError) -> bool {
    !matches!(error, JournalError::Storage(_) | JournalError::Closed(_))
}

fn read<T: DeserializeOwned>(key: &str, result: &Value) -> Result<T, EffectError> {
    T::deserialize(result).map_err(|e| EffectError::Unreadable { key: key.to_owned(), error: e.to_string() })
}

fn failed(key: &str, error: &str) -> EffectError {
    EffectError::Failed { key: key.to_owned(), error: error.to_owned() }
}

#[cfg(test)]
mod tests;
