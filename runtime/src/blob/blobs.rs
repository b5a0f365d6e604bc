//! The blobs of a cluster, as they are reached from one node.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::Stream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::actor::BlobActor;
use super::books::Policy;
use super::fetch::Fetch;
use super::flights::{Ended, Flights, Landed};
use super::message::BlobMsg;
use super::options::BlobsOptions;
use super::shelf::{InUse, Shelf};
use super::stats::BlobStats;
use super::store::BlobStore;
use super::{BlobError, BlobPeers, Digest, NoPeers, sweep};
use crate::actor::{ActorError, Ref, System};
use crate::supervise::ChildOptions;
use crate::time::Timestamp;

/// Where the time is from that ages are counted by: wall time, since they go on while the node is down.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a node is to the blobs of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobRole {
    /// What is put anywhere is kept here; also a node that is alone.
    Keeper,
    /// It has copies.
    Cache,
}

/// What blobs are started with.
pub struct BlobsSetup {
    pub store: BlobStore,
    pub role: BlobRole,
    pub peers: Arc<dyn BlobPeers>,
    pub options: BlobsOptions,
    pub clock: Clock,
}

impl BlobsSetup {
    /// With default options and the wall clock.
    pub fn new(store: BlobStore, role: BlobRole, peers: Arc<dyn BlobPeers>) -> Self {
        Self { store, role, peers, options: BlobsOptions::default(), clock: Arc::new(Timestamp::now) }
    }
}

/// The node's blobs and the way to those of other nodes. Cheap to clone; its tasks end with the last clone.
#[derive(Clone)]
pub struct Blobs {
    pub(super) inner: Arc<Inner>,
    deadline: Duration,
    _ends: Arc<DropGuard>,
}

/// What the tasks have: unlike a [`Blobs`] it doesn't keep them running.
pub(super) struct Inner {
    pub(super) shelf: Arc<Shelf>,
    pub(super) role: BlobRole,
    pub(super) peers: Arc<dyn BlobPeers>,
    pub(super) options: BlobsOptions,
    /// What is being fetched from other nodes.
    fetching: Flights<InUse>,
    fetches: Semaphore,
    /// What is being read into memory.
    reading: Flights<Bytes>,
    reads: Semaphore,
    /// How other nodes reach this one.
    me: RwLock<Option<Ref<BlobMsg>>>,
    pub(super) ended: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Blobs that are read into memory at the same time.
const READS: usize = 4;

impl Blobs {
    /// Begins to look after the blobs of that store. Nothing is removed from a keeper before
    /// [`retain_only`](Self::retain_only) was called.
    pub async fn start(setup: BlobsSetup) -> Result<Self, BlobError> {
        let BlobsSetup { store, role, peers, options, clock } = setup;
        let policy = match role {
            BlobRole::Keeper => Policy::Keep { grace: options.grace },
            BlobRole::Cache => Policy::Cache { bytes: options.cache.as_u64(), idle: options.grace },
        };
        let shelf = Shelf::new(store, policy, options.memory.as_u64(), clock);
        shelf.look().await?;
        let (deadline, ended) = (options.deadline, CancellationToken::new());
        let inner = Arc::new(Inner {
            shelf,
            role,
            peers,
            fetching: Flights::default(),
            fetches: Semaphore::new(options.fetches.max(1)),
            reading: Flights::default(),
            reads: Semaphore::new(READS),
            me: RwLock::default(),
            options,
            ended: ended.clone(),
            tasks: TaskTracker::new(),
        });
        inner.run(sweep::now_and_then(inner.clone()));
        Ok(Self { inner, deadline, _ends: Arc::new(ended.drop_guard()) })
    }

    /// The blobs of a node that is alone.
    pub async fn alone(store: BlobStore) -> Result<Self, BlobError> {
        Self::start(BlobsSetup::new(store, BlobRole::Keeper, Arc::new(NoPeers))).await
    }

    /// Starts the actor by which other nodes reach these blobs. Without it this node can fetch, but not put.
    pub async fn serve(&self, system: &System) -> Result<Ref<BlobMsg>, ActorError> {
        let options = ChildOptions::default();
        let actor = system.spawn_service::<BlobActor>(BlobActor::NAME, self.clone(), options).await?;
        *self.inner.me.write().unwrap_or_else(PoisonError::into_inner) = Some(actor.clone());
        Ok(actor)
    }

    /// The same blobs with another deadline for each call than [`BlobsOptions::deadline`].
    pub fn within(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// The content, checked against its hash; fetched from another node if it isn't here. All who ask share it.
    ///
    /// At most [`BlobsOptions::memory`] bytes; what is larger is read in place ([`path`](Self::path)).
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let (inner, digest, until) = (&self.inner, *digest, self.until());
        loop {
            if let Some(bytes) = inner.shelf.in_memory(&digest) {
                return Ok(bytes);
            }
            let begin = |landed: Landed<Bytes>| {
                let reader = inner.clone();
                inner.run(async move { landed.with(reader.read(digest, until).await) });
            };
            let (mine, ended) = inner.reading.join(digest, until, begin).await;
            match ended {
                Ended::Landed(Err(BlobError::Away { .. })) if !mine && Instant::now() < until => {}
                Ended::Landed(result) => return result,
                Ended::TooLate => return Err(late(digest)),
            }
        }
    }

    /// The file that has the content; fetched from another node if it isn't here. It stays for as long as the answer lives.
    pub async fn path(&self, digest: &Digest) -> Result<InUse, BlobError> {
        self.inner.here(*digest, self.until()).await
    }

    /// Stores the bytes; resolves once they are on the keeper's disk.
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<Digest, BlobError> {
        let chunks = futures::stream::iter([Ok::<_, BlobError>(bytes.into())]);
        Ok(self.put_stream(chunks).await?.0)
    }

    /// Stores what the stream brings, without holding it in memory, and gives its digest and size once it is on the keeper's
    /// disk. The deadline is for handing it over, not for the stream.
    ///
    /// After [`BlobError::NotKept`] it may be put again; what has reached the keeper isn't sent twice.
    pub async fn put_stream<S, E>(&self, chunks: S) -> Result<(Digest, u64), BlobError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: std::fmt::Display,
    {
        let (digest, bytes, in_use) = self.inner.shelf.store(chunks).await?;
        if !self.keeps() {
            self.inner.hand_over(digest, self.until()).await?;
        }
        drop(in_use);
        self.inner.make_room().await;
        Ok((digest, bytes))
    }

    /// The largest blob that is taken.
    pub fn max_bytes(&self) -> ByteSize {
        self.inner.shelf.store.max_bytes()
    }

    /// What has been done, and what is here.
    pub fn stats(&self) -> BlobStats {
        self.inner.shelf.stats()
    }

    /// Ends what is under way. Who waits for a blob is told.
    pub async fn stop(&self) {
        self.inner.ended.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    pub(super) fn keeps(&self) -> bool {
        self.inner.role == BlobRole::Keeper
    }

    pub(super) fn shelf(&self) -> &Arc<Shelf> {
        &self.inner.shelf
    }

    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// The keeper's part of a put on another node: resolves once the blob is on this disk.
    pub(super) async fn take_over(
        &self,
        digest: Digest,
        from: Ref<BlobMsg>,
        within: Duration,
    ) -> Result<(), BlobError> {
        let until = Instant::now() + within;
        loop {
            // What is damaged here is mended by what was put there.
            if self.inner.shelf.is_sound(digest).await? && self.inner.shelf.renew(digest).await? {
                return Ok(());
            }
            let want = Want { digest, offered: Some(from.clone()), anew: true, until };
            match self.inner.fetch(want).await {
                // Somebody else's fetch: it may have had less time, or not have known who offers the blob.
                (false, Ok(_) | Err(BlobError::Away { .. } | BlobError::NotFound(_))) if Instant::now() < until => {}
                (_, result) => return result.map(drop),
            }
        }
    }
}

/// What is asked of other nodes.
struct Want {
    digest: Digest,
    /// A node that has it, by its own word.
    offered: Option<Ref<BlobMsg>>,
    /// Also if it is here: it is damaged.
    anew: bool,
    until: Instant,
}

impl Inner {
    /// Runs a task that ends with these blobs.
    fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Sees to it that the blob is on this disk.
    async fn here(self: &Arc<Self>, digest: Digest, until: Instant) -> Result<InUse, BlobError> {
        loop {
            if let Some(here) = self.shelf.pin(&digest).await? {
                return Ok(here);
            }
            match self.fetch(Want { digest, offered: None, anew: false, until }).await {
                // Somebody else's fetch had less time.
                (false, Err(BlobError::Away { .. })) if Instant::now() < until => {}
                (_, result) => return result,
            }
        }
    }

    /// Fetches the blob, or waits for the fetch that is under way; says also whether this call began it.
    async fn fetch(self: &Arc<Self>, want: Want) -> (bool, Result<InUse, BlobError>) {
        let Want { digest, until, .. } = want;
        let begin = |landed: Landed<InUse>| {
            let inner = self.clone();
            self.run(async move { landed.with(inner.bring(want).await) });
        };
        match self.fetching.join(digest, until, begin).await {
            (mine, Ended::Landed(result)) => (mine, result),
            (_, Ended::TooLate) => (true, Err(late(digest))),
        }
    }

    async fn bring(&self, want: Want) -> Result<InUse, BlobError> {
        let Want { digest, offered, anew, until } = want;
        // Another fetch may have ended since it was looked for here.
        if !anew && let Some(here) = self.shelf.pin(&digest).await? {
            return Ok(here);
        }
        let turn = tokio::time::timeout_at(until, self.fetches.acquire()).await;
        let why = || "too many blobs are being fetched at once".to_owned();
        let _turn = turn.map_err(|_| BlobError::Away { digest, why: why() })?;
        let (shelf, peers, options) = (self.shelf.clone(), self.peers.clone(), self.options.clone());
        let keeps = self.role == BlobRole::Keeper;
        Fetch { shelf, peers, options, keeps, digest, offered, until }.run().await
    }

    /// Reads the blob into memory. One that is damaged on this disk is fetched anew.
    async fn read(self: &Arc<Self>, digest: Digest, until: Instant) -> Result<Bytes, BlobError> {
        // Another read may have ended since it was looked for there.
        if let Some(bytes) = self.shelf.in_memory(&digest) {
            return Ok(bytes);
        }
        // Before the turn is waited for: fetches have turns of their own.
        let here = self.here(digest, until).await?;
        let _turn = tokio::time::timeout_at(until, self.reads.acquire()).await.map_err(|_| late(digest))?;
        let limit = self.options.memory;
        if self.shelf.size(&here).await? > limit.as_u64() {
            return Err(BlobError::TooLargeForMemory { digest, limit });
        }
        match self.shelf.read(&digest).await {
            Err(BlobError::Damaged(_)) => {}
            read => return read,
        }
        tracing::warn!(%digest, "a blob is damaged on disk and is fetched anew");
        match self.fetch(Want { digest, offered: None, anew: true, until }).await.1 {
            Ok(_mended) => self.shelf.read(&digest).await,
            Err(BlobError::NotFound(_)) => Err(BlobError::Damaged(digest)),
            Err(e) => Err(e),
        }
    }

    /// Has the keeper fetch the blob from here, again and again until the deadline.
    async fn hand_over(&self, digest: Digest, until: Instant) -> Result<(), BlobError> {
        let me = self.me.read().unwrap_or_else(PoisonError::into_inner).clone();
        let not_kept = |why: String| BlobError::NotKept { digest, why };
        let from = me.ok_or_else(|| not_kept("this node doesn't give its blobs to others".into()))?;
        let keep = |within_ms, reply| BlobMsg::Keep { digest, from: from.clone(), within_ms, reply };
        self.ask_keeper(until, |left, reply| keep(u64::try_from(left.as_millis()).unwrap_or(u64::MAX), reply))
            .await
            .map_err(|e| not_kept(e.to_string()))
    }

    /// Makes room on a cache that has more than it may; that it couldn't is no reason for the caller to fail.
    async fn make_room(&self) {
        if self.shelf.books().is_over(0)
            && let Err(error) = self.shelf.tidy(0).await
        {
            tracing::warn!(%error, "no room can be made for blobs");
        }
    }
}

fn late(digest: Digest) -> BlobError {
    BlobError::Away { digest, why: "the deadline has passed".into() }
}
