//! State of an actor that outlives the actor: each change is in the journal before it counts.
//!
//! An actor of the cluster that begins anew, on its node or on another, finds it as it was after the last change that was
//! acknowledged. Beginning to keep it claims it: a life of the actor that was given up, because its node was cut off say,
//! can't change it any more. The cluster forgets it when the actor is over for good.
//!
//! It lies in segments, `actor/ID/1`, `actor/ID/2` and so on, each event with the whole state; a segment that has grown
//! long says in its last event that the next one has begun, and is deleted.

use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::actor::{ActorError, Context};
use crate::id::{ActorId, Generation, ProjectId, StreamId};
use crate::journal::{Author, Journal, JournalError, NewEvent};
use crate::redact::Redactor;
use crate::stream::StreamWriter;

const PREFIX: &str = "actor/";
const PROJECT: &str = "fleet-actors";
const VERSION: u16 = 1;
const SAVED: &str = "actor.saved";
/// The last event of a segment: the state goes on in the next one.
const MOVED: &str = "actor.moved";
/// Changes in one segment.
const SEGMENT: u64 = if cfg!(test) { 10 } else { 1000 };

/// Where a node keeps the state of its actors. What a node is launched with provides it ([`Context::provided`]).
#[derive(Clone)]
pub struct StateStore {
    journal: Arc<dyn Journal>,
    redactor: Arc<dyn Redactor>,
}

impl StateStore {
    pub fn new(journal: Arc<dyn Journal>, redactor: Arc<dyn Redactor>) -> Self {
        Self { journal, redactor }
    }
}

/// A value that its actor keeps in the journal. Reading it is reading a field.
///
/// The value is written as JSON, whole, with each change: up to about a megabyte; what is larger belongs into a blob, and
/// its digest in here. Text in it that looks like a secret is kept as a placeholder.
#[derive(Debug)]
pub struct Kept<S> {
    value: S,
    store: StateStore,
    actor: ActorId,
    generation: Generation,
    segment: u64,
    /// Changes in this segment.
    changes: u64,
    writer: StreamWriter,
}

#[derive(Serialize, Deserialize)]
struct Saved<S> {
    /// Of the actor that wrote it.
    generation: Generation,
    value: S,
}

impl<S: Serialize + DeserializeOwned + Clone + Send> Kept<S> {
    /// What this actor kept before it began anew; `first` if it has kept nothing yet. For actors of the cluster: others
    /// are somebody else at each start. Call it in [`Actor::start`](crate::Actor::start); while the journal can't be
    /// reached it fails, and the actor's supervisor tries again.
    pub async fn load<M: Send + 'static>(ctx: &Context<M>, first: S) -> Result<Self, ActorError> {
        let store: StateStore = ctx.provided().await?;
        let me = ctx.myself().addr();
        Self::open(store, me.actor, me.generation, first).await.map_err(ActorError::failed)
    }

    async fn open(store: StateStore, actor: ActorId, generation: Generation, first: S) -> Result<Self, JournalError> {
        let found = segments(&*store.journal, actor).await?;
        let mut segment = found.last().copied().unwrap_or(1);
        loop {
            // Claimed before it is read: nobody adds to it meanwhile.
            let writer = claim(&store, actor, segment).await?;
            let last = last_event::<S>(&*store.journal, writer.stream()).await?;
            let (kind, saved) = match last {
                Some((kind, saved)) => (Some(kind), Some(saved)),
                None => (None, None),
            };
            if let Some(saved) = saved.as_ref().filter(|saved| saved.generation > generation) {
                let (have, current) = (generation, saved.generation);
                return Err(JournalError::Fenced { stream: writer.stream().clone(), have, current });
            }
            let changes = u64::from(kind.is_some());
            let value = saved.map_or_else(|| first.clone(), |saved| saved.value);
            let mut kept = Self { value, store: store.clone(), actor, generation, segment, changes, writer };
            if kind.as_deref() == Some(MOVED) {
                segment += 1;
                if segments(&*store.journal, actor).await?.last().is_some_and(|last| *last >= segment) {
                    continue;
                }
                // Whoever wrote that came no further: the next one begins with what was said last here.
                kept.begin(segment).await?;
            }
            for old in found.into_iter().filter(|old| *old < kept.segment) {
                store.journal.delete_stream(&stream(actor, old)?).await?;
            }
            return Ok(kept);
        }
    }

    /// Changes it. When this returns `Ok` the change is on disk; on an error nothing has changed here, and the actor
    /// should end with that error, since the journal may have it.
    ///
    /// While the journal is away this waits for it.
    pub async fn change<R>(&mut self, change: impl FnOnce(&mut S) -> R + Send) -> Result<R, JournalError> {
        let mut next = self.value.clone();
        let result = change(&mut next);
        self.write(SAVED, &next).await?;
        self.value = next;
        self.changes += 1;
        if self.changes >= SEGMENT {
            self.write(MOVED, &self.value).await?;
            self.begin(self.segment + 1).await?;
        }
        Ok(result)
    }

    async fn begin(&mut self, segment: u64) -> Result<(), JournalError> {
        let before = std::mem::replace(&mut self.writer, claim(&self.store, self.actor, segment).await?);
        (self.segment, self.changes) = (segment, 1);
        self.write(SAVED, &self.value).await?;
        self.store.journal.delete_stream(before.stream()).await.map(drop)
    }

    async fn write(&self, kind: &str, value: &S) -> Result<(), JournalError> {
        let saved = Saved { generation: self.generation, value };
        let payload = serde_json::to_value(saved)?;
        let by = Author::Node(self.actor.to_string());
        let kind = kind.to_owned();
        let event = NewEvent { by, kind, version: VERSION, caused_by: None, facts: Vec::new(), payload };
        self.writer.append(event).await.map(drop)
    }
}

impl<S> Deref for Kept<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.value
    }
}

async fn claim(store: &StateStore, actor: ActorId, segment: u64) -> Result<StreamWriter, JournalError> {
    let stream = stream(actor, segment)?;
    let project = PROJECT.parse::<ProjectId>().map_err(|e| JournalError::corrupt(PROJECT, e))?;
    StreamWriter::open(store.journal.clone(), store.redactor.clone(), stream, project).await
}

fn stream(actor: ActorId, segment: u64) -> Result<StreamId, JournalError> {
    format!("{PREFIX}{actor}/{segment}").parse().map_err(|e| JournalError::corrupt(PREFIX, e))
}

/// The actor whose state a stream has, and the segment.
fn parts(stream: &StreamId) -> Option<(ActorId, u64)> {
    let (actor, segment) = stream.as_str().strip_prefix(PREFIX)?.split_once('/')?;
    Some((actor.parse().ok()?, segment.parse().ok()?))
}

/// Those that there are, in their order.
async fn segments(journal: &dyn Journal, actor: ActorId) -> Result<Vec<u64>, JournalError> {
    let heads = journal.streams(&format!("{PREFIX}{actor}/")).await?;
    let mut segments: Vec<u64> =
        heads.iter().filter_map(|head| parts(&head.stream)).map(|(_, segment)| segment).collect();
    segments.sort_unstable();
    Ok(segments)
}

async fn last_event<S: DeserializeOwned>(
    journal: &dyn Journal,
    stream: &StreamId,
) -> Result<Option<(String, Saved<S>)>, JournalError> {
    let heads = journal.streams(stream.as_str()).await?;
    let Some(head) = heads.into_iter().find(|head| head.stream == *stream) else { return Ok(None) };
    let Some(last) = journal.read_stream(stream, head.last_seq, 1).await?.pop() else { return Ok(None) };
    let unreadable = |e| JournalError::corrupt(format!("{stream} {}", last.seq), e);
    let saved = serde_json::from_value(last.payload).map_err(unreadable)?;
    Ok(Some((last.kind, saved)))
}

/// Forgets the state of that actor.
pub(crate) async fn forget(journal: &dyn Journal, actor: ActorId) -> Result<(), JournalError> {
    forget_where(journal, &format!("{PREFIX}{actor}/"), |_| true).await
}

/// Forgets the state of all actors but these.
pub(crate) async fn forget_others(
    journal: &dyn Journal,
    kept: impl Fn(ActorId) -> bool + Send + Sync,
) -> Result<(), JournalError> {
    forget_where(journal, PREFIX, |actor| !kept(actor)).await
}

async fn forget_where(
    journal: &dyn Journal,
    prefix: &str,
    which: impl Fn(ActorId) -> bool + Send + Sync,
) -> Result<(), JournalError> {
    for head in journal.streams(prefix).await? {
        if parts(&head.stream).is_some_and(|(actor, _)| which(actor)) {
            journal.delete_stream(&head.stream).await?;
        }
    }
    Ok(())
}

impl std::fmt::Debug for StateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateStore")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
