//! The journal for other nodes: answers what [`RemoteJournal`](super::RemoteJournal) asks.
//!
//! What arrives is redacted once more before it is appended, so that this way to the disk can't forget it either;
//! redacting what is redacted changes nothing.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use wincode::{SchemaRead, SchemaWrite};

use super::event::{Author, Envelope, Fact, NewEvent};
use super::store::{Append, Expected, Journal, JournalError, StreamHead};
use crate::actor::{Actor, ActorError, Context, Json, Message, ReplyTo};
use crate::id::{Generation, Position, ProjectId, Seq, StreamId};
use crate::redact::{Redacted, Redactor};

/// Requests that are worked on at a time; more wait in the mailbox, and then at their senders.
const AT_A_TIME: usize = 256;
/// How long a question for the next commit is kept open.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) type Answer<T> = ReplyTo<Json<Result<T, Refused>>>;

/// What the journal is asked from afar.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum JournalMsg {
    #[doc(hidden)]
    Append { append: Json<Asked>, reply: Answer<Vec<Envelope>> },
    #[doc(hidden)]
    ReadStream { stream: StreamId, from: Seq, limit: u32, reply: Answer<Vec<Envelope>> },
    #[doc(hidden)]
    ReadAll { after: Position, limit: u32, reply: Answer<Vec<Envelope>> },
    #[doc(hidden)]
    Streams { prefix: String, reply: Answer<Vec<StreamHead>> },
    #[doc(hidden)]
    Claim { stream: StreamId, reply: Answer<Generation> },
    #[doc(hidden)]
    Delete { stream: StreamId, reply: Answer<u64> },
    /// The last position on disk, as soon as it is behind `after`, or after a while.
    #[doc(hidden)]
    Committed { after: Position, reply: Answer<Position> },
}

impl Message for JournalMsg {
    const KIND: &'static str = "fleet.journal";
}

/// An append, as it travels.
#[doc(hidden)]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    stream: StreamId,
    project: ProjectId,
    /// `None`: wherever it ends. Seq 0: nothing has been appended yet.
    expected: Option<Seq>,
    generation: Generation,
    events: Vec<AskedEvent>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct AskedEvent {
    by: Author,
    kind: String,
    version: u16,
    caused_by: Option<Position>,
    facts: Vec<Fact>,
    payload: Value,
}

impl From<Append> for Asked {
    fn from(append: Append) -> Self {
        let Append { stream, project, expected, generation, events } = append;
        let expected = match expected {
            Expected::Any => None,
            Expected::NoStream => Some(Seq(0)),
            Expected::Seq(seq) => Some(seq),
        };
        let events = events.into_iter().map(|event| event.into_inner().into()).collect();
        Self { stream, project, expected, generation, events }
    }
}

impl Asked {
    fn read(self, redactor: &dyn Redactor) -> Append {
        let Self { stream, project, expected, generation, events } = self;
        let expected = match expected {
            None => Expected::Any,
            Some(Seq(0)) => Expected::NoStream,
            Some(seq) => Expected::Seq(seq),
        };
        let events = events.into_iter().map(|event| Redacted::event(redactor, &project, event.into())).collect();
        Append { stream, project, expected, generation, events }
    }
}

impl From<NewEvent> for AskedEvent {
    fn from(event: NewEvent) -> Self {
        let NewEvent { by, kind, version, caused_by, facts, payload } = event;
        Self { by, kind, version, caused_by, facts, payload }
    }
}

impl From<AskedEvent> for NewEvent {
    fn from(event: AskedEvent) -> Self {
        let AskedEvent { by, kind, version, caused_by, facts, payload } = event;
        Self { by, kind, version, caused_by, facts, payload }
    }
}

/// Why the journal didn't do it, as it travels: what the asker decides by stays what it is, the rest becomes text.
#[doc(hidden)]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Refused {
    WrongSeq {
        stream: StreamId,
        actual: Seq,
    },
    Fenced {
        stream: StreamId,
        have: Generation,
        current: Generation,
    },
    OtherProject {
        stream: StreamId,
        given: ProjectId,
        actual: ProjectId,
    },
    Busy,
    TooLarge {
        bytes: usize,
        limit: usize,
    },
    /// The disk failed in the middle, or the journal is closing: nobody knows yet.
    Unclear(String),
    Other(String),
}

impl From<JournalError> for Refused {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::WrongSeq { stream, actual, .. } => Self::WrongSeq { stream, actual },
            JournalError::Fenced { stream, have, current } => Self::Fenced { stream, have, current },
            JournalError::OtherProject { stream, given, actual } => Self::OtherProject { stream, given, actual },
            JournalError::Busy => Self::Busy,
            JournalError::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            e @ (JournalError::Closed(_) | JournalError::Storage(_) | JournalError::Unclear(_)) => {
                Self::Unclear(e.to_string())
            }
            e => Self::Other(e.to_string()),
        }
    }
}

impl From<Refused> for JournalError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::WrongSeq { stream, actual } => Self::WrongSeq { stream, actual, expected: Expected::Any },
            Refused::Fenced { stream, have, current } => Self::Fenced { stream, have, current },
            Refused::OtherProject { stream, given, actual } => Self::OtherProject { stream, given, actual },
            Refused::Busy => Self::Busy,
            Refused::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            Refused::Unclear(why) => Self::Unclear(why.into()),
            Refused::Other(why) => Self::Unreadable(why.into()),
        }
    }
}

/// What the service is started with.
#[derive(Clone)]
pub struct JournalServiceArgs {
    pub journal: Arc<dyn Journal>,
    pub redactor: Arc<dyn Redactor>,
}

/// Serves the journal of this node to the others. Started by [`System::spawn_service`](crate::System::spawn_service)
/// under [`JournalService::NAME`].
pub struct JournalService {
    args: JournalServiceArgs,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl JournalService {
    /// Where other nodes look for it.
    pub const NAME: &'static str = "journal";
}

impl Actor for JournalService {
    type Msg = JournalMsg;
    type Args = JournalServiceArgs;

    async fn start(args: JournalServiceArgs, _: &Context<JournalMsg>) -> Result<Self, ActorError> {
        Ok(Self { args, room: Arc::new(Semaphore::new(AT_A_TIME)), tasks: TaskTracker::new() })
    }

    async fn handle(&mut self, msg: JournalMsg, ctx: &Context<JournalMsg>) -> Result<(), ActorError> {
        // Side by side, so that appends of many writers share an fsync; and a wait for the next commit holds up nobody.
        let waits = matches!(msg, JournalMsg::Committed { .. });
        let room = match waits {
            true => None,
            false => Some(self.room.clone().acquire_owned().await.map_err(ActorError::failed)?),
        };
        let (args, ended) = (self.args.clone(), ctx.cancelled());
        self.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = answer(&args, msg) => {}
            }
            drop(room);
        });
        Ok(())
    }

    async fn stopped(&mut self, _: &Context<JournalMsg>) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn answer(args: &JournalServiceArgs, msg: JournalMsg) {
    let journal = &*args.journal;
    match msg {
        JournalMsg::Append { append, reply } => send(reply, append_to(args, append).await),
        JournalMsg::ReadStream { stream, from, limit, reply } => {
            send(reply, journal.read_stream(&stream, from, limit as usize).await);
        }
        JournalMsg::ReadAll { after, limit, reply } => send(reply, journal.read_all(after, limit as usize).await),
        JournalMsg::Streams { prefix, reply } => send(reply, journal.streams(&prefix).await),
        JournalMsg::Claim { stream, reply } => send(reply, journal.claim(&stream).await),
        JournalMsg::Delete { stream, reply } => send(reply, journal.delete_stream(&stream).await),
        JournalMsg::Committed { after, reply } => {
            let mut committed = journal.committed();
            // Too long a wait, or the end of the journal: the position that it has then is the answer.
            let _ = tokio::time::timeout(PATIENCE, committed.wait_for(|at| *at > after)).await;
            let at = *committed.borrow();
            send(reply, Ok(at));
        }
    }
}

async fn append_to(args: &JournalServiceArgs, append: Json<Asked>) -> Result<Vec<Envelope>, JournalError> {
    let asked = append.take().map_err(|why| JournalError::Unreadable(why.into()))?;
    args.journal.append(asked.read(&*args.redactor)).await
}

fn send<T>(reply: Answer<T>, result: Result<T, JournalError>)
where
    T: Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    reply.send(Json::new(result.map_err(Refused::from)));
}
