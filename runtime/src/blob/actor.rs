//! What a node does with blobs for other nodes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Digest;
use super::blobs::Blobs;
use super::error::BlobError;
use super::fetch::LARGEST_PIECE;
use super::message::{BlobMsg, Done, Piece};
use super::stats::count;
use crate::actor::{Actor, ActorError, Context, Payload};

/// Pieces that are read from the disk at a time; more wait in the mailbox, and then at those who ask.
const READS: usize = 32;
/// Blobs that are taken over at a time; another one is told to come again.
const KEEPS: usize = 64;
/// A blob that is taken over isn't waited for longer, whatever its sender says.
const LONGEST_KEEP: Duration = Duration::from_secs(3600);

/// Gives pieces of this node's blobs to other nodes and, on the keeper, takes blobs over from them. Started by
/// [`Blobs::serve`].
pub struct BlobActor {
    blobs: Blobs,
    reads: Arc<Semaphore>,
    keeps: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl BlobActor {
    /// Where other nodes look for it: see [`ActorAddr::service`](crate::ActorAddr::service).
    pub const NAME: &'static str = "blobs";
}

impl Actor for BlobActor {
    type Msg = BlobMsg;
    type Args = Blobs;

    async fn start(blobs: Blobs, _: &Context<BlobMsg>) -> Result<Self, ActorError> {
        let (reads, keeps) = (Arc::new(Semaphore::new(READS)), Arc::new(Semaphore::new(KEEPS)));
        Ok(Self { blobs, reads, keeps, tasks: TaskTracker::new() })
    }

    async fn handle(&mut self, msg: BlobMsg, ctx: &Context<BlobMsg>) -> Result<(), ActorError> {
        let room = match &msg {
            BlobMsg::Keep { .. } => self.keeps.clone().try_acquire_owned().ok(),
            _ => Some(self.reads.clone().acquire_owned().await.map_err(ActorError::failed)?),
        };
        let (blobs, ended) = (self.blobs.clone(), ctx.cancelled());
        self.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = act(&blobs, msg, room.is_some()) => {}
            }
            drop(room);
        });
        Ok(())
    }

    async fn stopped(&mut self, _: &Context<BlobMsg>) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn act(blobs: &Blobs, msg: BlobMsg, room: bool) {
    match msg {
        BlobMsg::Read { digest, offset, len, reply } => reply.send(piece(blobs, digest, offset, len).await),
        BlobMsg::Deleted { digests } => blobs.deleted_elsewhere(&digests).await,
        BlobMsg::Keep { reply, .. } | BlobMsg::Hold { reply, .. } | BlobMsg::Release { reply, .. }
            if !blobs.keeps() =>
        {
            reply.send(not_the_keeper());
        }
        BlobMsg::Forget { reply, .. } if !blobs.keeps() => reply.send(not_the_keeper()),
        BlobMsg::Keep { reply, .. } if !room => reply.send(Done::NotNow("it takes over many blobs already".into())),
        BlobMsg::Keep { digest, from, within_ms, reply } => {
            let within = Duration::from_millis(within_ms).min(LONGEST_KEEP);
            reply.send(done(blobs.take_over(digest, from, within).await));
        }
        BlobMsg::Hold { digest, holder, reply } => reply.send(done(blobs.hold(&digest, &holder).await)),
        BlobMsg::Release { digest, holder, reply } => reply.send(done(blobs.release(&digest, &holder).await)),
        BlobMsg::Forget { holder, reply } => reply.send(done(blobs.forget(&holder).await)),
    }
}

fn not_the_keeper() -> Done {
    Done::NotNow("this node doesn't keep blobs".into())
}

async fn piece(blobs: &Blobs, digest: Digest, offset: u64, len: u32) -> Piece {
    let len = usize::try_from(u64::from(len).min(LARGEST_PIECE)).unwrap_or(usize::MAX);
    match blobs.shelf().store.piece(&digest, offset, len).await {
        Ok((bytes, whole)) => {
            let counters = &blobs.shelf().counters;
            count(&counters.served_pieces, 1);
            count(&counters.served_bytes, bytes.len() as u64);
            Piece::Bytes { whole, bytes: Payload::new(bytes) }
        }
        Err(BlobError::NotFound(_)) => Piece::NotHere,
        Err(e) => Piece::Unreadable(e.to_string()),
    }
}

fn done(result: Result<(), BlobError>) -> Done {
    match result {
        Ok(()) => Done::Yes,
        Err(BlobError::NotFound(_)) => Done::NotFound,
        Err(e @ (BlobError::Away { .. } | BlobError::Busy)) => Done::NotNow(e.to_string()),
        Err(e) => Done::Refused(e.to_string()),
    }
}
