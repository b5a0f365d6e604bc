//! Deleting a job deletes what only it refers to: its base pack, its patches, its result.
//!
//! Which blobs those are is read from the journal: every text in a job's events that is the name of a blob which is
//! here. A blob that another job names too (the same base, the same patch) stays.

use std::collections::BTreeSet;
use std::str::FromStr;

use fleet_runtime::{Digest, JobId};
use serde_json::Value;

use crate::error::ApiError;
use crate::results::history;
use crate::state::Shared;

impl Shared {
    /// The blobs that a job's events name.
    pub(crate) async fn blobs_of(&self, job: &JobId) -> Result<BTreeSet<Digest>, ApiError> {
        let mut found = BTreeSet::new();
        for event in history(self, job).await? {
            collect(&event.payload, &mut found);
        }
        found.retain(|digest| self.node.blobs.path(digest).is_some());
        Ok(found)
    }

    /// Deletes those of the blobs that no remaining job names.
    pub(crate) async fn delete_blobs(&self, mut digests: BTreeSet<Digest>) {
        if let Err(error) = self.keep_shared(&mut digests).await {
            tracing::warn!(%error, "blobs of a deleted job stay: can't tell whether others need them");
            return;
        }
        for digest in digests {
            if let Err(error) = self.node.blobs.delete(&digest).await {
                tracing::warn!(%error, %digest, "a blob of a deleted job stays");
            }
        }
    }

    async fn keep_shared(&self, digests: &mut BTreeSet<Digest>) -> Result<(), ApiError> {
        let jobs = self.node.jobs.list().await.map_err(ApiError::internal)?;
        for job in jobs {
            if digests.is_empty() {
                break;
            }
            for used in self.blobs_of(&job.id).await? {
                digests.remove(&used);
            }
        }
        Ok(())
    }
}

fn collect(value: &Value, found: &mut BTreeSet<Digest>) {
    match value {
        Value::String(text) => found.extend(Digest::from_str(text).ok()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
