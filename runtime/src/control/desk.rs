//! What becomes of a message that came: who sent it is checked, then it gets a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::RpcReplyPort;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::ControlError;
use super::options::ControlOptions;
use super::seal::{self, Kind, TRAILER};
use super::table::Table;
use crate::actor::panic_text;
use crate::id::NodeId;

/// Answers what other nodes ask.
pub trait ControlHandler: Send + Sync + 'static {
    /// Answers a call, or takes a cast (whose answer goes nowhere). `from` is who sent it for certain. Runs in a task
    /// of its own, which is dropped when the node stops; an `Err` and a panic become
    /// [`Refused`](ControlError::Refused) at the caller.
    fn handle(&self, from: NodeId, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>>;
}

/// The last byte of an answer: what it is.
#[derive(Clone, Copy)]
enum Verdict {
    Answer = 0,
    Refused = 1,
    AnswerTooLarge = 2,
    Busy = 3,
    Stopping = 4,
}

fn answer(mut content: Vec<u8>, verdict: Verdict) -> Vec<u8> {
    content.push(verdict as u8);
    content
}

/// What an answer of `node` says.
pub(super) fn read_answer(node: NodeId, mut answer: Vec<u8>) -> Result<Vec<u8>, ControlError> {
    match answer.pop() {
        Some(0) => Ok(answer),
        Some(1) => Err(ControlError::Refused(String::from_utf8_lossy(&answer).into_owned())),
        Some(2) => Err(ControlError::AnswerTooLarge(node)),
        Some(3) => Err(ControlError::Busy { node, there: true }),
        Some(4) => Err(ControlError::NotSent(node)),
        _ => Err(ControlError::Unknown { node, why: "its answer can't be read" }),
    }
}

pub(super) struct Desk {
    handler: Arc<dyn ControlHandler>,
    table: Arc<Table>,
    room: Arc<Semaphore>,
    max_message: usize,
    tasks: TaskTracker,
    end: CancellationToken,
    pub dropped: AtomicU64,
    pub busy: AtomicU64,
}

impl Desk {
    pub fn new(handler: Arc<dyn ControlHandler>, table: Arc<Table>, options: &ControlOptions) -> Self {
        Self {
            handler,
            table,
            room: Arc::new(Semaphore::new(options.max_handlers)),
            max_message: options.max_message(),
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
            dropped: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        }
    }

    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    pub fn drop_stray(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("a message of a kind that no gateway sends was dropped");
    }

    /// Starts the handler on a message, or says why not.
    pub fn take(&self, mut sealed: Vec<u8>, reply: RpcReplyPort<Vec<u8>>) {
        let Some((from, kind)) = self.check(&sealed) else { return };
        sealed.truncate(sealed.len() - TRAILER);
        if self.tasks.is_closed() {
            let _ = reply.send(answer(Vec::new(), Verdict::Stopping));
            return;
        }
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            self.busy.fetch_add(1, Ordering::Relaxed);
            let _ = reply.send(answer(Vec::new(), Verdict::Busy));
            return;
        };
        let (handler, max, end) = (self.handler.clone(), self.max_message, self.end.clone());
        self.tasks.spawn(async move {
            let _permit = permit;
            let work = async {
                match kind {
                    Kind::Call => {
                        let _ = reply.send(outcome(run(&*handler, from, sealed).await, max));
                    }
                    Kind::Cast => {
                        let _ = reply.send(answer(Vec::new(), Verdict::Answer));
                        if let Err(why) = run(&*handler, from, sealed).await {
                            tracing::warn!(%from, why, "a cast failed");
                        }
                    }
                }
            };
            end.run_until_cancelled(work).await;
        });
    }

    /// Who sent it. A message that doesn't check is dropped: who sends such isn't owed an answer.
    fn check(&self, sealed: &[u8]) -> Option<(NodeId, Kind)> {
        let claims = seal::read(sealed);
        let link = claims.and_then(|claims| self.table.by_id(claims.link));
        if let (Some(claims), Some(link)) = (&claims, &link)
            && link.admits(claims, sealed)
        {
            return Some((link.peer, claims.kind));
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        let (claimed, link) = (claims.map(|claims| claims.sender), link.map(|link| link.peer));
        tracing::warn!(?claimed, ?link, "a message was dropped: it isn't from who it says");
        None
    }

    /// Takes nothing more and gives what runs that long to finish.
    pub async fn stop(&self, grace: Duration) {
        self.tasks.close();
        if timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(handlers = self.tasks.len(), "handlers still ran when the node stopped");
        }
        self.end.cancel();
        self.tasks.wait().await;
    }

    /// Drops what runs, at once.
    pub fn abandon(&self) {
        self.tasks.close();
        self.end.cancel();
    }
}

async fn run(handler: &dyn ControlHandler, from: NodeId, message: Vec<u8>) -> Result<Vec<u8>, String> {
    // The handler may also panic before it has made its future.
    let work = async { handler.handle(from, message).await };
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic_text(&*panic);
        tracing::error!(%from, text, "a control handler panicked");
        Err(format!("the handler panicked: {text}"))
    })
}

/// An oversize frame would end the link at the caller, so it mustn't leave.
fn outcome(result: Result<Vec<u8>, String>, max: usize) -> Vec<u8> {
    match result {
        Ok(content) if content.len() > max => answer(Vec::new(), Verdict::AnswerTooLarge),
        Ok(content) => answer(content, Verdict::Answer),
        Err(mut why) => {
            why.truncate(why.floor_char_boundary(max));
            answer(why.into_bytes(), Verdict::Refused)
        }
    }
}
