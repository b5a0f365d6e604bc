//! The effects of a job, paired from their intentions and outcomes.

use fleet_runtime::Envelope;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Source;
use crate::plain::short;

/// One effect: what was intended, how often it was begun, what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectEntry {
    /// Its key.
    pub key: String,
    /// Repeatable, keyed or irreversible.
    pub class: String,
    /// Who intended it.
    pub by: String,
    /// What, shortened.
    pub what: String,
    /// How often it was begun; more than once after a crash.
    pub begun: u32,
    /// `completed`, `failed: …` or `no outcome recorded`.
    pub outcome: String,
    /// From the last intention to the outcome.
    pub took_ms: Option<u64>,
    /// The last intention.
    pub intended: Source,
    /// The outcome.
    pub ended: Option<Source>,
}

const NO_OUTCOME: &str = "no outcome recorded";

/// Takes note of one event of an effect.
pub(super) fn fold(entries: &mut Vec<EffectEntry>, event: &Envelope, source: Source) {
    let Some(key) = event.payload.get("key").and_then(Value::as_str) else { return };
    let at = entries.iter().position(|e| e.key == key);
    match (event.kind.as_str(), at) {
        ("effect.intended", None) => entries.push(intended(event, key, source)),
        ("effect.intended", Some(at)) => {
            entries[at].begun += 1;
            entries[at].intended = source;
        }
        ("effect.completed", Some(at)) => end(&mut entries[at], completed(&event.payload), source),
        ("effect.failed", Some(at)) => {
            let error = event.payload.get("error").and_then(Value::as_str).unwrap_or("unknown");
            end(&mut entries[at], format!("failed: {}", short(error, 300)), source);
        }
        _ => {}
    }
}

fn intended(event: &Envelope, key: &str, source: Source) -> EffectEntry {
    let class = event.payload.get("class").map_or_else(String::new, text);
    EffectEntry {
        key: key.to_owned(),
        class,
        by: event.by.to_string(),
        what: event.payload.get("what").map_or_else(String::new, |w| short(&text(w), 200)),
        begun: 1,
        outcome: NO_OUTCOME.into(),
        took_ms: None,
        intended: source,
        ended: None,
    }
}

fn end(entry: &mut EffectEntry, outcome: String, source: Source) {
    entry.outcome = outcome;
    entry.took_ms = Some(millis(entry.intended, source));
    entry.ended = Some(source);
}

pub(super) fn millis(from: Source, to: Source) -> u64 {
    u64::try_from(to.at.since(from.at).as_millis()).unwrap_or(u64::MAX)
}

/// A tool's outcome says more than that it has one: whether it was denied, and what ended a run.
fn completed(payload: &Value) -> String {
    let result = payload.get("result");
    let denied = result.and_then(|r| r.get("denied")).filter(|d| !d.is_null());
    if let Some(denied) = denied {
        return format!("denied: {}", short(&text(denied), 300));
    }
    match result.and_then(|r| r.get("ok")).and_then(Value::as_bool) {
        Some(false) => "completed, not ok".into(),
        _ => "completed".into(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
