//! `GET /api/v1/jobs/{id}/explain`: why a job waits, or what it does. Put together from what the jobs' service, the gates
//! and the placement say of it; nothing here is guessed.

use axum::Json;
use axum::extract::{Path, State};
use fleet_actors::narrate;
use fleet_runtime::TraceId;
use fleet_runtime::cluster::{ActorExplanation, ActorState, ClusterError};
use fleet_runtime::job::{JobEvent, JobRecord, RunnerArgs};

use crate::error::ApiError;
use crate::jobs::find;
use crate::plain;
use crate::results::history;
use crate::state::Shared;
use crate::wire::{JobExplanation, Told};

/// `GET /api/v1/jobs/{id}/explain`
pub(crate) async fn explain(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<JobExplanation>, ApiError> {
    let job = find(&shared, &id).await?;
    let events = history(&shared, &job.id).await?;
    let run = events.iter().rev().find_map(|event| match JobEvent::read(event) {
        Some(JobEvent::Started { run, .. }) => Some(run),
        _ => None,
    });
    let last = events.iter().rev().find_map(|event| {
        let line = plain::line(&narrate::line(event)?).into_owned();
        Some(Told { at: event.at, line })
    });
    let gates = shared.node.approvals.list().await.map_err(ApiError::internal)?;
    let waits_for = gates.into_iter().filter(|gate| gate.job == job.id.as_str()).collect();
    let runner = runner(&shared, &job, run.unwrap_or(0)).await?;
    Ok(Json(JobExplanation { trace: Some(TraceId::of_job(&job.id)), job, last, waits_for, runner }))
}

/// Where the job's run is or is to be, and why. A run that is being placed isn't recorded as started yet.
async fn runner(shared: &Shared, job: &JobRecord, run: u32) -> Result<Option<ActorExplanation>, ApiError> {
    let (Some(cluster), false) = (&shared.node.cluster, job.state.is_ended()) else { return Ok(None) };
    let refused = |error: ClusterError| ApiError::busy(format!("{}: {error}", error.code()));
    for run in [run.saturating_add(1), run] {
        let found = cluster.explain_actor(&RunnerArgs::key(&job.id, run)).await.map_err(refused)?;
        if found.as_ref().is_some_and(|found| found.record.state != ActorState::Over) {
            return Ok(found);
        }
    }
    Ok(None)
}
