//! What is known of each effect: a fold over the stream's events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::{COMPLETED, EffectClass, FAILED, INTENDED};
use crate::journal::Envelope;

/// How far an effect got, as far as the journal says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    Nothing,
    Intended { attempt: u32, class: EffectClass },
    Completed(Value),
    Failed(String),
}

/// One lock an effect, held while it runs, so that one key never runs twice at a time.
type Entry = Arc<tokio::sync::Mutex<Known>>;

#[derive(Default)]
pub(super) struct Ledger(Mutex<HashMap<String, Entry>>);

impl Ledger {
    pub fn from_history(history: &[Envelope]) -> Self {
        let mut known = HashMap::new();
        for envelope in history {
            if let Some(key) = envelope.payload["key"].as_str()
                && let Some(now) = intention(envelope).or_else(|| outcome(envelope))
            {
                apply(&mut known, key, now);
            }
        }
        let entries = known.into_iter().map(|(k, v)| (k, Arc::new(tokio::sync::Mutex::new(v))));
        Self(Mutex::new(entries.collect()))
    }

    pub fn entry(&self, key: &str) -> Entry {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get(key) {
            Some(entry) => entry.clone(),
            None => {
                let entry = Entry::new(tokio::sync::Mutex::new(Known::Nothing));
                entries.insert(key.to_owned(), entry.clone());
                entry
            }
        }
    }

    pub fn completed(&self, key: &str) -> Option<Value> {
        let entry = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()?;
        // Locked means running, which means that nothing is recorded yet.
        match &*entry.try_lock().ok()? {
            Known::Completed(value) => Some(value.clone()),
            _ => None,
        }
    }
}

/// An outcome is final; an intention never takes one back.
fn apply(known: &mut HashMap<String, Known>, key: &str, now: Known) {
    match known.get(key) {
        Some(Known::Completed(_) | Known::Failed(_)) => {}
        _ => {
            known.insert(key.to_owned(), now);
        }
    }
}

fn intention(envelope: &Envelope) -> Option<Known> {
    if envelope.kind != INTENDED {
        return None;
    }
    let attempt = envelope.payload["attempt"].as_u64().and_then(|n| u32::try_from(n).ok());
    // An intention that can't be read is taken for the worst.
    let class = serde_json::from_value(envelope.payload["class"].clone());
    Some(Known::Intended { attempt: attempt.unwrap_or(1), class: class.unwrap_or(EffectClass::Irreversible) })
}

pub(super) fn outcome(envelope: &Envelope) -> Option<Known> {
    match envelope.kind.as_str() {
        COMPLETED => Some(Known::Completed(envelope.payload["result"].clone())),
        FAILED => {
            let error = envelope.payload["error"].as_str().unwrap_or("no reason recorded");
            Some(Known::Failed(error.to_owned()))
        }
        _ => None,
    }
}
