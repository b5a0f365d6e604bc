//! The cluster's journal, seen from a node that doesn't keep it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::event::Envelope;
use super::service::{Answer, Asked, JournalMsg, PATIENCE};
use super::store::{Append, Journal, JournalError, StreamHead};
use crate::actor::{AskError, Json, Ref};
use crate::id::{Generation, Position, Seq, StreamId};

/// Longest time for one answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a read is tried again while the control node is away.
const READS_WAIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Asks the control node's [`JournalService`](super::JournalService). Cheap to clone.
///
/// While the control node is away a read waits for it, up to a minute; an append or a claim is answered with
/// [`JournalError::Away`] or [`JournalError::Unclear`], and [`StreamWriter`](crate::StreamWriter) waits with it.
#[derive(Clone)]
pub struct RemoteJournal {
    service: Ref<JournalMsg>,
    committed: watch::Receiver<Position>,
    _follows: Arc<DropGuard>,
}

impl RemoteJournal {
    /// Through that reference, which has to be the service's address and not one life's.
    pub fn new(service: Ref<JournalMsg>) -> Self {
        let (tell, committed) = watch::channel(Position::default());
        let ended = CancellationToken::new();
        let follows = follow(service.clone(), tell);
        let until = ended.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = until.cancelled() => {}
                () = follows => {}
            }
        });
        Self { service, committed, _follows: Arc::new(ended.drop_guard()) }
    }

    /// Asks for what may be asked for again.
    async fn read<T>(&self, question: impl Fn(Answer<T>) -> JournalMsg) -> Result<T, JournalError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let until = tokio::time::Instant::now() + READS_WAIT;
        loop {
            match ask(&self.service, DEADLINE, &question).await {
                Err(JournalError::Away(_) | JournalError::Unclear(_)) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(JournalError::Unclear(why)) => return Err(JournalError::Away(why)),
                answer => return answer,
            }
        }
    }
}

async fn ask<T>(
    service: &Ref<JournalMsg>,
    deadline: Duration,
    question: impl FnOnce(Answer<T>) -> JournalMsg,
) -> Result<T, JournalError>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let answer = service.ask(deadline, question).await.map_err(|e| match e {
        AskError::Unknown(why) => JournalError::Unclear(why.into()),
        // A service that is gone is one that has not come up yet.
        e @ (AskError::NotSent(_) | AskError::Busy | AskError::Gone) => JournalError::Away(e.to_string().into()),
    })?;
    answer.take().map_err(|why| JournalError::Unclear(why.into()))?.map_err(Into::into)
}

/// Keeps the last committed position up to date.
async fn follow(service: Ref<JournalMsg>, tell: watch::Sender<Position>) {
    loop {
        let after = *tell.borrow();
        match ask(&service, PATIENCE * 2, |reply| JournalMsg::Committed { after, reply }).await {
            Ok(at) => drop(tell.send_if_modified(|known| at > std::mem::replace(known, at.max(*known)))),
            Err(error) => {
                tracing::debug!(%error, "the journal doesn't say how far it is");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn page(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

impl Journal for RemoteJournal {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        let append = Json::new(Asked::from(append));
        Box::pin(ask(&self.service, DEADLINE, |reply| JournalMsg::Append { append, reply }))
    }

    fn read_stream(
        &self,
        stream: &StreamId,
        from: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        let (stream, limit) = (stream.clone(), page(limit));
        Box::pin(self.read(move |reply| JournalMsg::ReadStream { stream: stream.clone(), from, limit, reply }))
    }

    fn read_all(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Envelope>, JournalError>> {
        let limit = page(limit);
        Box::pin(self.read(move |reply| JournalMsg::ReadAll { after, limit, reply }))
    }

    fn streams(&self, prefix: &str) -> BoxFuture<'_, Result<Vec<StreamHead>, JournalError>> {
        let prefix = prefix.to_owned();
        Box::pin(self.read(move |reply| JournalMsg::Streams { prefix: prefix.clone(), reply }))
    }

    fn claim(&self, stream: &StreamId) -> BoxFuture<'_, Result<Generation, JournalError>> {
        let stream = stream.clone();
        // A claim whose answer was lost costs a generation and nothing else.
        Box::pin(self.read(move |reply| JournalMsg::Claim { stream: stream.clone(), reply }))
    }

    fn committed(&self) -> watch::Receiver<Position> {
        self.committed.clone()
    }

    fn delete_stream(&self, stream: &StreamId) -> BoxFuture<'_, Result<u64, JournalError>> {
        let stream = stream.clone();
        Box::pin(ask(&self.service, DEADLINE, |reply| JournalMsg::Delete { stream, reply }))
    }
}
