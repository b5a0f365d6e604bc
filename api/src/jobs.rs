//! Jobs over HTTP: submit, list, look, stop, delete. What a job is and when it runs is the runtime's.

use std::str::FromStr;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::job::{JobError, JobRecord, JobState, JobSubmit};
use fleet_runtime::{Author, JobId, ProjectId};
use serde::Deserialize;

use crate::auth::require_level;
use crate::error::ApiError;
use crate::state::Shared;
use crate::sweep::digests_in;
use crate::wire::{IDEMPOTENCY_KEY, StopBody, SubmitBody};

/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 200;

/// `POST /api/v1/jobs`
pub(crate) async fn submit(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    body: Result<Json<SubmitBody>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    require_level(&who, AccessLevel::Operator)?;
    let idempotency_key = idempotency_key(&headers)?;
    let body = json(body)?;
    let project = ProjectId::from_str(&body.project).map_err(|e| {
        ApiError::bad_request(
            format!("{:?} isn't the name of a project: {e}", body.project),
            "use letters, digits, dots, dashes and underscores, 64 at most",
        )
    })?;
    let named = digests_in(&body.spec);
    let submit = JobSubmit {
        kind: body.kind,
        project,
        idempotency_key,
        title: body.title,
        spec: body.spec,
        priority: body.priority,
        by: Author::Person(who.name),
    };
    let record = shared.node.jobs.submit(submit).await.map_err(refused)?;
    shared.hold(&record.id, named).await;
    Ok((StatusCode::CREATED, Json(record)))
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, ApiError> {
    let key = headers
        .get(IDEMPOTENCY_KEY)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
        .filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
    key.map(str::to_owned).ok_or_else(|| {
        ApiError::bad_request(
            "a submit needs an Idempotency-Key, so that it can be repeated safely",
            "send any text of up to 200 characters that is new for a new job",
        )
    })
}

/// Which jobs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// States, with commas between.
    state: Option<String>,
    /// One project.
    project: Option<String>,
}

/// `GET /api/v1/jobs`
pub(crate) async fn list(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<JobRecord>>, ApiError> {
    require_level(&who, AccessLevel::Viewer)?;
    let states = filter.state.as_deref().map(states).transpose()?;
    let mut records = shared.node.jobs.list().await.map_err(refused)?;
    records.retain(|r| states.as_ref().is_none_or(|s| s.contains(&r.state)));
    records.retain(|r| filter.project.as_ref().is_none_or(|p| r.project.to_string() == *p));
    Ok(Json(records))
}

fn states(text: &str) -> Result<Vec<JobState>, ApiError> {
    let one = |name: &str| {
        JobState::from_str(name.trim()).map_err(|_| {
            ApiError::bad_request(
                format!("{:?} isn't a state of a job", crate::plain::line(name)),
                "use queued, running, waiting, stopping, succeeded, failed or stopped",
            )
        })
    };
    text.split(',').map(one).collect()
}

/// `GET /api/v1/jobs/{id}`
pub(crate) async fn status(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<JobRecord>, ApiError> {
    require_level(&who, AccessLevel::Viewer)?;
    find(&shared, &id).await.map(Json)
}

/// `POST /api/v1/jobs/{id}/stop`
pub(crate) async fn stop(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    body: Result<Json<StopBody>, JsonRejection>,
) -> Result<Json<JobRecord>, ApiError> {
    require_level(&who, AccessLevel::Operator)?;
    let body = json(body)?;
    let record = find(&shared, &id).await?;
    let by = Author::Person(who.name);
    let stopped = shared.node.jobs.stop(&record.id, by, &body.reason).await;
    stopped.map_err(refused).map(Json)
}

/// `DELETE /api/v1/jobs/{id}`
pub(crate) async fn delete(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    require_level(&who, AccessLevel::Operator)?;
    let record = find(&shared, &id).await?;
    // Also what an interrupted submit or run didn't come to hold.
    let named = shared.named_by(&record.id).await?;
    shared.hold(&record.id, named).await;
    shared.node.jobs.delete(&record.id).await.map_err(refused)?;
    shared.forget_blobs(&record.id).await;
    (shared.node.forget)(&record.id);
    Ok(StatusCode::NO_CONTENT)
}

/// The record of the job with this id.
pub(crate) async fn find(shared: &Shared, id: &str) -> Result<JobRecord, ApiError> {
    let unknown = || {
        ApiError::not_found(
            format!("there is no job {:?}", crate::plain::line(id)),
            "list the jobs with `fleet job list`",
        )
    };
    let id = JobId::from_str(id).map_err(|_| unknown())?;
    shared.node.jobs.get(&id).await.map_err(refused)
}

/// The body, or what is wrong with it.
pub(crate) fn json<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(ApiError::too_large(crate::state::MAX_JSON_BYTES as u64))
        }
        Err(rejection) => Err(ApiError::bad_request(
            rejection.body_text(),
            "send JSON as the manual shows, with `Content-Type: application/json`",
        )),
    }
}

/// What the runtime says, in the API's terms.
fn refused(error: JobError) -> ApiError {
    let said = error.to_string();
    match error {
        JobError::NotFound(_) => ApiError::not_found(said, "list the jobs with `fleet job list`"),
        JobError::UnknownKind { .. } => ApiError::bad_request(said, "use one of the known kinds"),
        JobError::InvalidSpec(_) => ApiError::bad_request(said, "mend it and submit again"),
        JobError::Conflict { job } => ApiError::conflict(said, format!("look at that job: fleet job status {job}")),
        JobError::NotEnded { job, .. } => ApiError::conflict(said, format!("stop it first: fleet job stop {job}")),
        JobError::Busy { .. } | JobError::Unavailable(_) | JobError::Journal(_) => ApiError::busy(said),
        JobError::Crash(_) | JobError::Failed(_) | JobError::Cancelled => ApiError::internal(said),
    }
}
