//! Story events on their way into the journal: payload, facts and author put together.

use fleet_runtime::{Author, Envelope, JobId, JournalError, NewEvent, Position, StreamWriter};

use crate::event::{StoryEvent, VERSION};
use crate::facts;

/// A story event as something to append.
pub(crate) fn new_event(
    job: &JobId,
    by: Author,
    event: &StoryEvent,
    cause: Option<Position>,
) -> Result<NewEvent, JournalError> {
    Ok(NewEvent {
        by,
        kind: event.kind().to_owned(),
        version: VERSION,
        caused_by: cause,
        facts: facts::of(job, event),
        payload: serde_json::to_value(event)?,
    })
}

/// Appends one story event; resolves once it is on disk.
pub(crate) async fn append(
    writer: &StreamWriter,
    job: &JobId,
    by: Author,
    event: &StoryEvent,
    cause: Option<Position>,
) -> Result<Envelope, JournalError> {
    writer.append(new_event(job, by, event, cause)?).await
}

/// A story event as it was recorded.
pub(crate) fn read(envelope: &Envelope) -> Result<StoryEvent, JournalError> {
    Ok(serde_json::from_value(envelope.payload.clone())?)
}
