//! Which blobs a job needs: its base pack, its patches, its result.
//!
//! They are read from the journal: every text in a job's events that is the name of a blob. The job holds them from its
//! submit on; when it is deleted, what nobody else holds goes with it.

use std::collections::BTreeSet;
use std::str::FromStr;

use fleet_runtime::blob::Holder;
use fleet_runtime::{BlobError, Digest, JobId};
use serde_json::Value;

use crate::error::ApiError;
use crate::results::history;
use crate::state::Shared;

impl Shared {
    /// The job holds the blobs that this names; names of blobs that aren't there are other text.
    pub(crate) async fn hold(&self, job: &JobId, named: BTreeSet<Digest>) {
        let holder = Holder::from(job);
        for digest in named {
            match self.node.blobs.hold(&digest, &holder).await {
                Ok(()) | Err(BlobError::NotFound(_)) => {}
                Err(error) => tracing::warn!(%error, %digest, %job, "a blob isn't held for its job"),
            }
        }
    }

    /// The blobs that a job's events name.
    pub(crate) async fn named_by(&self, job: &JobId) -> Result<BTreeSet<Digest>, ApiError> {
        let mut found = BTreeSet::new();
        for event in history(self, job).await? {
            found.append(&mut digests_in(&event.payload));
        }
        Ok(found)
    }

    /// The job is gone: so is what nobody else holds.
    pub(crate) async fn forget_blobs(&self, job: &JobId) {
        if let Err(error) = self.node.blobs.forget(&Holder::from(job)).await {
            tracing::warn!(%error, %job, "blobs of a deleted job stay until they are old");
        }
    }
}

/// The names of blobs in a value, however deep they lie.
pub fn digests_in(value: &Value) -> BTreeSet<Digest> {
    match value {
        Value::String(text) => Digest::from_str(text).ok().into_iter().collect(),
        Value::Array(values) => values.iter().flat_map(digests_in).collect(),
        Value::Object(fields) => fields.values().flat_map(digests_in).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => BTreeSet::new(),
    }
}
