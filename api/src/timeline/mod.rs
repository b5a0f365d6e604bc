//! `GET /api/v1/timeline`: what jobs, agents, actors and nodes did when, for a viewer of Chrome traces. Made from the
//! journal alone: it can be asked for years later, and says nothing that wasn't recorded.

mod cluster;
mod job;
mod trace;

use axum::Json;
use axum::extract::{Query, State};
use fleet_runtime::journal::{Journal, JournalError};
use fleet_runtime::{Envelope, JobId, Seq, StreamId, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;
use crate::jobs::find;
use crate::state::Shared;
use cluster::ClusterTrace;
use job::JobTrace;
use trace::Trace;

/// Events read at once.
const PAGE: usize = 512;
/// Events of all jobs together: more than a viewer shows well. The newest jobs come first.
const MOST: usize = 200_000;
const CLUSTER: &str = "cluster/";

/// Of what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// One job; else all.
    job: Option<String>,
}

/// `GET /api/v1/timeline`
pub(crate) async fn timeline(
    State(shared): State<Shared>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, ApiError> {
    let journal = &*shared.node.journal;
    let (mut trace, now) = (Trace::default(), Timestamp::now());
    let Some(id) = which.job else {
        let left_out = of_jobs(journal, &mut trace, now).await.map_err(ApiError::internal)?;
        of_cluster(journal, &mut trace, &|_| true, now).await.map_err(ApiError::internal)?;
        let mut json = trace.into_json();
        json["otherData"]["jobs_left_out"] = left_out.into();
        return Ok(Json(json));
    };
    let record = find(&shared, &id).await?;
    of_job(journal, &record.id, &mut trace, now).await.map_err(ApiError::internal)?;
    let prefix = format!("job/{}/", record.id);
    let wanted = |key: &str| key.starts_with(&prefix);
    of_cluster(journal, &mut trace, &wanted, now).await.map_err(ApiError::internal)?;
    Ok(Json(trace.within(record.submitted_at, record.ended_at.unwrap_or(now)).into_json()))
}

/// All jobs, the newest first; gives how many there was no room for.
async fn of_jobs(journal: &dyn Journal, trace: &mut Trace, now: Timestamp) -> Result<usize, JournalError> {
    let mut heads = journal.streams(StreamId::JOB_PREFIX).await?;
    heads.sort_by_key(|head| std::cmp::Reverse(head.first_at));
    let (mut read, mut left_out) = (0, 0);
    for head in heads {
        let Some(job) = head.stream.as_job() else { continue };
        if read >= MOST {
            left_out += 1;
            continue;
        }
        read += of_job(journal, &job, trace, now).await?;
    }
    Ok(left_out)
}

async fn of_job(journal: &dyn Journal, job: &JobId, trace: &mut Trace, now: Timestamp) -> Result<usize, JournalError> {
    let mut fold = JobTrace::new(job, trace);
    let read = each(journal, &StreamId::job(job), |event| fold.take(event)).await?;
    fold.end(now);
    Ok(read)
}

/// The open segment of the cluster's events: what lies before its snapshot isn't kept.
async fn of_cluster(
    journal: &dyn Journal,
    trace: &mut Trace,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    now: Timestamp,
) -> Result<(), JournalError> {
    let mut streams: Vec<StreamId> = journal.streams(CLUSTER).await?.into_iter().map(|head| head.stream).collect();
    streams.sort_by_key(|stream| stream.as_str().len());
    let mut events = Vec::new();
    for stream in streams {
        each(journal, &stream, |event| events.push(event.clone())).await?;
    }
    let wanted = |key: &str| wanted(key);
    let mut fold = ClusterTrace::new(trace, &wanted);
    events.iter().for_each(|event| fold.take(event));
    fold.end(now);
    Ok(())
}

/// Shows each event of a stream, in order; gives their number.
async fn each(
    journal: &dyn Journal,
    stream: &StreamId,
    mut show: impl FnMut(&Envelope),
) -> Result<usize, JournalError> {
    let (mut from, mut read) = (Seq(1), 0);
    while read < MOST {
        let page = journal.read_stream(stream, from, PAGE).await?;
        let Some(last) = page.last() else { break };
        (from, read) = (last.seq.next(), read + page.len());
        page.iter().for_each(&mut show);
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
