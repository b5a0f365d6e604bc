//! A job's events as they happen, as server-sent events.
//!
//! The id of an event is its journal position; a follower that lost its connection shows the last one it saw
//! (`Last-Event-ID`) and gets what came after it: nothing is missed and nothing comes twice. The stream pulls: it reads
//! the journal when the client has taken what it was given, so a slow client costs one page and holds nobody up.
//! Progress is told in passing, without an id, and dropped where nobody listens. After `job.ended` the stream closes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use fleet_actors::narrate;
use fleet_runtime::progress::{Progress, ProgressItem, ProgressWatch};
use fleet_runtime::{Envelope, JobId, Journal, Position, Seq, StreamId};
use futures::{StreamExt, stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::access::Pass;
use crate::error::ApiError;
use crate::plain;
use crate::state::{HEARTBEAT, Shared};
use crate::wire::{CAUGHT_UP, EventData, PROGRESS, ProgressData};

/// Events read from the journal at once.
const PAGE: usize = 64;
/// The event after which nothing follows.
pub(crate) const ENDED: &str = "job.ended";

/// How long to follow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct How {
    /// False: close when everything recorded so far was sent, with a last event `caught_up`.
    #[serde(default = "yes")]
    follow: bool,
}

fn yes() -> bool {
    true
}

/// `GET /api/v1/jobs/{id}/events`
pub(crate) async fn follow(
    State(shared): State<Shared>,
    Extension(pass): Extension<Pass>,
    Path(id): Path<String>,
    Query(how): Query<How>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let record = crate::jobs::find(&shared, &id).await?;
    let after = last_seen(&headers)?;
    let permit = Arc::clone(&shared.followers)
        .try_acquire_owned()
        .map_err(|_| ApiError::busy("as many followers as the node serves are connected"))?;
    let mut follower = Follower::new(&shared, &record.id, after, Leave { pass, _permit: permit });
    follower.stay = how.follow;
    let mut first = None;
    if record.ended_at.is_some() {
        first = follower.next().await?;
        if first.is_none() {
            // Seen to its end already. 204 tells a browser's EventSource not to come back.
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    let rest = stream::unfold(follower, |mut follower| async move {
        match follower.next().await {
            Ok(event) => event.map(|event| (Ok(event), follower)),
            Err(error) => {
                tracing::warn!(%error, "a follower's stream broke");
                None
            }
        }
    });
    let events = stream::iter(first.map(Ok::<_, Infallible>)).chain(rest);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive")).into_response())
}

fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    text.parse().map(Some).map_err(|_| {
        ApiError::bad_request(
            "Last-Event-ID isn't the id of an event",
            "send the id of the last event seen, or leave the header out",
        )
    })
}

/// One client's place in one job's stream.
struct Follower {
    journal: Arc<dyn Journal>,
    stream: StreamId,
    job: JobId,
    next: Seq,
    after: Option<u64>,
    page: VecDeque<Envelope>,
    stay: bool,
    ended: bool,
    committed: watch::Receiver<Position>,
    progress: ProgressWatch,
    closing: watch::Receiver<bool>,
    leave: Leave,
}

/// What lets a client follow.
struct Leave {
    /// A stream ends with the token that opened it.
    pass: Pass,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    fn new(shared: &Shared, job: &JobId, after: Option<u64>, leave: Leave) -> Self {
        Self {
            journal: Arc::clone(&shared.node.journal),
            stream: StreamId::job(job),
            job: job.clone(),
            next: Seq(1),
            after,
            page: VecDeque::new(),
            stay: true,
            ended: false,
            committed: shared.node.journal.committed(),
            progress: shared.node.progress.watch(),
            closing: shared.closing.clone(),
            leave,
        }
    }

    /// The next event; none when the job has ended or the node closes.
    async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            while let Some(envelope) = self.page.pop_front() {
                self.ended = envelope.kind == ENDED;
                if self.after.is_none_or(|after| envelope.position.0 > after) {
                    return journaled(envelope).map(Some);
                }
            }
            if self.ended || *self.closing.borrow() {
                return Ok(None);
            }
            if self.fill().await? {
                continue;
            }
            if !self.stay {
                self.ended = true;
                return Ok(Some(Event::default().event(CAUGHT_UP).data("{}")));
            }
            match self.wait().await {
                Woken::Look => {}
                Woken::Tell(progress) => return passing(progress).map(Some),
                Woken::Close => return Ok(None),
            }
        }
    }

    /// Reads the next page; false when there is nothing new.
    async fn fill(&mut self) -> Result<bool, ApiError> {
        // Marked as seen before reading, so that a commit in between wakes us again.
        self.committed.borrow_and_update();
        let page = self.journal.read_stream(&self.stream, self.next, PAGE).await.map_err(ApiError::internal)?;
        if let Some(last) = page.last() {
            self.next = last.seq.next();
        }
        self.page.extend(page);
        Ok(!self.page.is_empty())
    }

    async fn wait(&mut self) -> Woken {
        loop {
            tokio::select! {
                changed = self.committed.changed() => {
                    return if changed.is_ok() { Woken::Look } else { Woken::Close };
                }
                _ = self.closing.changed() => return Woken::Close,
                () = self.leave.pass.over() => return Woken::Close,
                heard = self.progress.next() => match heard {
                    Some(ProgressItem::Progress(told)) if told.job == self.job => return Woken::Tell(told),
                    // Of another job, or missed because this client was slow: progress is told in passing.
                    Some(_) => {}
                    None => return Woken::Close,
                },
            }
        }
    }
}

enum Woken {
    Look,
    Tell(Progress),
    Close,
}

fn journaled(envelope: Envelope) -> Result<Event, ApiError> {
    let event = Event::default().id(envelope.position.to_string()).event(plain::line(&envelope.kind));
    let line = narrate::line(&envelope).map(|line| plain::line(&line).into_owned());
    event.json_data(EventData { envelope, line }).map_err(ApiError::internal)
}

fn passing(progress: Progress) -> Result<Event, ApiError> {
    let data = ProgressData {
        source: plain::line(&progress.source).into_owned(),
        text: plain::line(&progress.text).into_owned(),
        tokens: progress.tokens,
    };
    Event::default().event(PROGRESS).json_data(data).map_err(ApiError::internal)
}
