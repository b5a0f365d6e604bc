//! What a node needs to run jobs, wherever in the cluster the service is that tells it to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::event::JobEvent;
use super::handle::JobsPorts;
use super::kind::{JobContext, JobKind, WaitingHandle};
use super::record::{JobError, JobRecord};
use super::service::JobsMsg;
use crate::actor::Ref;
use crate::effect::{Effects, Permit};
use crate::id::{Generation, StreamId};
use crate::journal::Envelope;
use crate::stream::StreamWriter;

/// One run of a job, as it is handed to whoever takes part in it on any node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOrder {
    pub record: JobRecord,
    /// From 1; rises with each start of the job.
    pub run: u32,
    /// Of the job's stream: what an earlier run left behind can't write any more.
    pub generation: Generation,
}

/// Provided ([`System::provide`](crate::System::provide)) to the actors of each node that runs jobs. Cheap to clone.
#[derive(Clone)]
pub struct JobHost {
    /// The node's name, for people.
    pub node: String,
    /// What can be run here.
    pub kinds: Arc<BTreeMap<String, Arc<dyn JobKind>>>,
    /// The journal, the blobs, as they are reached from here.
    pub ports: JobsPorts,
    /// The service.
    pub jobs: Ref<JobsMsg>,
    /// Whether effects may start now: this node holds its lease.
    pub permit: Permit,
    /// How long a run may take to end when it is told to, before it is dropped.
    pub grace: Duration,
}

impl JobHost {
    /// Jobs of these kinds, on a node that is always permitted to act: one that is in no cluster.
    pub fn new(node: &str, kinds: Vec<Arc<dyn JobKind>>, ports: JobsPorts, jobs: Ref<JobsMsg>) -> Self {
        let kinds = kinds.into_iter().map(|kind| (kind.name().to_owned(), kind)).collect();
        let grace = super::JobsOptions::default().stop_grace;
        Self { node: node.to_owned(), kinds: Arc::new(kinds), ports, jobs, permit: Permit::always(), grace }
    }

    /// All that a run gets, read from the journal. Whoever holds it writes as the run's generation.
    pub async fn context(&self, order: &RunOrder, cancel: CancellationToken) -> Result<JobContext, JobError> {
        let JobsPorts { journal, redactor, blobs, progress } = self.ports.clone();
        let RunOrder { record, run, generation } = order.clone();
        let stream = StreamId::job(&record.id);
        let writer = StreamWriter::join(journal, redactor, stream, record.project.clone(), generation);
        let history = writer.history().await?;
        let spec = spec_of(&history).ok_or_else(|| JobError::NotFound(record.id.clone()))?;
        Ok(JobContext {
            job: record.id.clone(),
            spec,
            effects: Effects::new(writer.clone(), &history).permitted_by(self.permit.clone()),
            history,
            writer,
            cancel,
            progress,
            blobs,
            waiting: WaitingHandle { jobs: self.jobs.clone(), job: record.id.clone(), run },
            order: order.clone(),
            record,
        })
    }
}

fn spec_of(history: &[Envelope]) -> Option<serde_json::Value> {
    history.iter().find_map(|envelope| match JobEvent::read(envelope)? {
        JobEvent::Submitted { spec, .. } => Some(spec),
        _ => None,
    })
}
