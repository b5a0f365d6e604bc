//! What is recorded of a job's course, beside what its kind records.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{JobOutcome, JobState};
use crate::journal::{Author, Envelope, NewEvent};
use crate::time::Timestamp;

/// The `job.*` events of a `job/<id>` stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload")]
pub enum JobEvent {
    #[serde(rename = "job.submitted")]
    Submitted {
        kind: String,
        title: String,
        spec: Value,
        priority: i32,
        /// Of the idempotency key: the key itself might be redacted and then match nothing.
        key_digest: String,
        /// Of what was asked for, before redaction.
        digest: String,
    },
    #[serde(rename = "job.started")]
    Started {
        /// From 1; rises with each start.
        run: u32,
        /// The name of the node that runs it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
    #[serde(rename = "job.waiting")]
    Waiting {
        /// What for.
        what: String,
    },
    #[serde(rename = "job.resumed")]
    Resumed {},
    /// The run was lost; the job goes back to the queue.
    #[serde(rename = "job.requeued")]
    Requeued {
        why: String,
        /// The job's own doing, as against the process's end.
        crash: bool,
        not_before: Timestamp,
    },
    #[serde(rename = "job.stop_requested")]
    StopRequested { reason: String },
    #[serde(rename = "job.ended")]
    Ended { state: JobState, outcome: JobOutcome },
}

const VERSION: u16 = 1;

impl JobEvent {
    /// The event of an envelope; `None` for what isn't ours or isn't readable any more.
    pub fn read(envelope: &Envelope) -> Option<Self> {
        if !envelope.kind.starts_with("job.") {
            return None;
        }
        let tagged = serde_json::json!({ "kind": envelope.kind, "payload": envelope.payload });
        serde_json::from_value(tagged)
            .inspect_err(|e| tracing::warn!(at = %envelope.position, error = %e, "an unreadable job event"))
            .ok()
    }

    /// As something to append.
    pub fn write(&self, by: Author) -> Result<NewEvent, serde_json::Error> {
        let mut tagged = serde_json::to_value(self)?;
        let kind = tagged["kind"].as_str().unwrap_or_default().to_owned();
        Ok(NewEvent {
            by,
            kind,
            version: VERSION,
            caused_by: None,
            facts: Vec::new(),
            payload: tagged["payload"].take(),
        })
    }
}
