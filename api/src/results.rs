//! What came out of a job: the report, rebuilt from the journal, and the commit as a git bundle.

use std::str::FromStr;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use fleet_actors::event::StoryEvent;
use fleet_actors::report::Report;
use fleet_runtime::job::JobRecord;
use fleet_runtime::{Digest, Envelope, JobId, Seq, StreamId};
use serde::Deserialize;

use crate::error::ApiError;
use crate::jobs::find;
use crate::plain;
use crate::state::Shared;
use crate::wire::BASE_COMMIT;

/// Events read from the journal at once.
const PAGE: usize = 512;
/// More events than any job writes; a report of more than this would not be read.
const MAX_EVENTS: usize = 200_000;

/// Which form of the report.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportQuery {
    #[serde(default)]
    format: ReportFormat,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReportFormat {
    #[default]
    Md,
    Json,
}

/// `GET /api/v1/jobs/{id}/report`
pub(crate) async fn report(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Query(query): Query<ReportQuery>,
) -> Result<Response, ApiError> {
    let record = find(&shared, &id).await?;
    let events = history(&shared, &record.id).await?;
    let report = Report::from_events(&events);
    Ok(match query.format {
        ReportFormat::Json => Json(report).into_response(),
        ReportFormat::Md => {
            let kind = [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")];
            (kind, plain::text(&report.to_markdown()).into_owned()).into_response()
        }
    })
}

/// `GET /api/v1/jobs/{id}/result`: the bundle with the job's one commit.
pub(crate) async fn result(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let record = find(&shared, &id).await?;
    let (digest, base) = bundle_of(&record, &history(&shared, &record.id).await?)?;
    let bytes = shared.node.blobs.get(&digest).await.map_err(|e| {
        ApiError::not_found(format!("the result of job {id} isn't kept here any more: {e}"), "submit the story again")
    })?;
    let told = [(header::CONTENT_TYPE.as_str(), "application/x-git-bundle".to_owned()), (BASE_COMMIT, base)];
    Ok((told, bytes).into_response())
}

/// `GET /api/v1/jobs/{id}/patches/{attempt}`: what an attempt wants to change, as a diff. Raw: who shows it escapes it.
pub(crate) async fn patch(
    State(shared): State<Shared>,
    Path((id, attempt)): Path<(String, u32)>,
) -> Result<Response, ApiError> {
    let record = find(&shared, &id).await?;
    let digest = patch_of(&history(&shared, &record.id).await?, attempt);
    let digest = digest.ok_or_else(|| {
        ApiError::not_found(
            format!("attempt {attempt} of job {id} proposed no change"),
            format!("see the attempts with `fleet job report {id}`"),
        )
    })?;
    let bytes = shared.node.blobs.get(&digest).await.map_err(|e| {
        ApiError::not_found(format!("the patch isn't kept here any more: {e}"), "submit the story again")
    })?;
    let kind = [(header::CONTENT_TYPE, "text/x-diff; charset=utf-8")];
    Ok((kind, bytes).into_response())
}

fn patch_of(events: &[Envelope], attempt: u32) -> Option<Digest> {
    let of = |event: &Envelope| match StoryEvent::read(&event.kind, &event.payload)?.ok()? {
        StoryEvent::Proposal(proposal) if proposal.attempt == attempt => {
            Digest::from_str(&proposal.patch()?.digest).ok()
        }
        _ => None,
    };
    events.iter().find_map(of)
}

/// The bundle of a job's commit, and the commit that it rests on.
fn bundle_of(record: &JobRecord, events: &[Envelope]) -> Result<(Digest, String), ApiError> {
    let id = &record.id;
    let Some(outcome) = record.outcome.as_ref().filter(|_| record.ended_at.is_some()) else {
        return Err(ApiError::conflict(
            format!("job {id} hasn't ended; it has no result yet"),
            format!("follow it with `fleet job wait {id}`"),
        ));
    };
    let (mut digest, mut base) = (None, None);
    for event in events {
        match StoryEvent::read(&event.kind, &event.payload) {
            Some(Ok(StoryEvent::Committed { bundle, .. })) => digest = Digest::from_str(&bundle).ok(),
            Some(Ok(StoryEvent::Accepted { base_commit, .. })) => base = Some(base_commit),
            _ => {}
        }
    }
    digest.zip(base).ok_or_else(|| {
        ApiError::conflict(
            format!("job {id} ended without a commit: {}", outcome.summary),
            format!("read why with `fleet job report {id}`"),
        )
    })
}

/// Everything that was recorded about a job.
pub(crate) async fn history(shared: &Shared, job: &JobId) -> Result<Vec<Envelope>, ApiError> {
    let stream = StreamId::job(job);
    let mut events: Vec<Envelope> = Vec::new();
    let mut next = Seq(1);
    while events.len() < MAX_EVENTS {
        let page = shared.node.journal.read_stream(&stream, next, PAGE).await;
        let page = page.map_err(ApiError::internal)?;
        let Some(last) = page.last() else { break };
        next = last.seq.next();
        events.extend(page);
    }
    Ok(events)
}
