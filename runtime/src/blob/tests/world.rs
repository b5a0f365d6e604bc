//! Nodes with blobs in this process, and a gate before one that does to messages what a test says.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};

use crate::actor::{Actor, ActorError, Context, Payload, Ref, System};
use crate::blob::message::Piece;
use crate::blob::*;
use crate::id::{Incarnation, NodeId};
use crate::supervise::{Backoff, ChildOptions};
use crate::time::Timestamp;

pub const SOON: Duration = Duration::from_secs(30);
/// For what is to run out.
pub const SHORT: Duration = Duration::from_millis(300);
pub const PIECE: u64 = 1024;

/// Wall time that a test can move on.
#[derive(Clone, Default)]
pub struct Ahead(Arc<AtomicI64>);

impl Ahead {
    pub fn hours(&self, hours: i64) {
        self.0.fetch_add(hours * 3_600_000, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let ahead = self.0.clone();
        Arc::new(move || Timestamp(Timestamp::now().millis() + ahead.load(Ordering::SeqCst)))
    }
}

/// Small pieces, short pauses.
pub fn options() -> BlobsOptions {
    let backoff = Backoff { initial: Duration::from_millis(2), max: Duration::from_millis(20), jitter: 0.0 };
    BlobsOptions { piece: ByteSize(PIECE), backoff, deadline: SOON, ..BlobsOptions::default() }
}

pub struct Node {
    pub system: System,
    pub blobs: Blobs,
    pub store: BlobStore,
    /// How others reach its blobs.
    pub actor: Ref<BlobMsg>,
    pub ahead: Ahead,
    pub dir: TempDir,
}

impl Node {
    pub async fn keeper() -> Self {
        Self::start(BlobRole::Keeper, Arc::new(NoPeers), options()).await
    }

    pub async fn cache(keeper: &Ref<BlobMsg>, options: BlobsOptions) -> Self {
        Self::start(BlobRole::Cache, Arc::new(keeper.clone()), options).await
    }

    pub async fn start(role: BlobRole, peers: Arc<dyn BlobPeers>, options: BlobsOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
        Self::begin(dir, system, role, peers, options).await
    }

    pub async fn begin(
        dir: TempDir,
        system: System,
        role: BlobRole,
        peers: Arc<dyn BlobPeers>,
        options: BlobsOptions,
    ) -> Self {
        let store = BlobStore::open(dir.path(), BlobOptions::default()).unwrap();
        let ahead = Ahead::default();
        let setup = BlobsSetup { store: store.clone(), role, peers, options, clock: ahead.clock() };
        let blobs = Blobs::start(setup).await.unwrap();
        let actor = blobs.serve(&system).await.unwrap();
        Self { system, blobs, store, actor, ahead, dir }
    }

    /// Ends it and starts it again over the same disk.
    pub async fn restart(self, role: BlobRole, peers: Arc<dyn BlobPeers>, options: BlobsOptions) -> Self {
        self.system.shutdown().await;
        self.blobs.stop().await;
        let system = System::start(NodeId::new_random(), Incarnation(2)).await.unwrap();
        Self::begin(self.dir, system, role, peers, options).await
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.store.path(digest).is_some()
    }

    /// Files of blobs that came in in part.
    pub fn partial(&self, digest: &Digest) -> std::path::PathBuf {
        self.dir.path().join("partial").join(digest.to_string())
    }
}

/// Content without repetition, so that a piece in the wrong place is a wrong piece.
pub fn content(bytes: usize) -> Bytes {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().update(&bytes.to_le_bytes()).finalize_xof().fill(&mut content);
    content.into()
}

/// What happens to a message at the gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Pass,
    /// Nobody answers.
    Drop,
    /// The answer comes back with a byte changed.
    Damage,
    /// It waits until the test lets it through.
    Hold,
}

/// Decides by how many messages have come before.
pub type Script = Arc<dyn Fn(usize) -> Verdict + Send + Sync>;

#[derive(Clone)]
pub struct Gate {
    real: Ref<BlobMsg>,
    script: Script,
    count: Arc<AtomicUsize>,
    offsets: Arc<Mutex<Vec<u64>>>,
    held: mpsc::Sender<()>,
    go: Arc<Semaphore>,
}

/// What a test sees and holds of a gate.
pub struct Gatekeeper {
    pub actor: Ref<BlobMsg>,
    pub held: mpsc::Receiver<()>,
    pub go: Arc<Semaphore>,
    offsets: Arc<Mutex<Vec<u64>>>,
}

impl Gatekeeper {
    pub async fn before(node: &Node, script: impl Fn(usize) -> Verdict + Send + Sync + 'static) -> Self {
        let (held, was_held) = mpsc::channel(64);
        let (go, offsets) = (Arc::new(Semaphore::new(0)), Arc::default());
        let gate = Gate {
            real: node.actor.clone(),
            script: Arc::new(script),
            count: Arc::default(),
            offsets: Arc::clone(&offsets),
            held,
            go: go.clone(),
        };
        let name = format!("gate-{}", uuid::Uuid::new_v4());
        let actor = node.system.spawn::<Gate>(name, gate, ChildOptions::default()).await.unwrap();
        Self { actor, held: was_held, go, offsets }
    }

    /// Where the pieces begin that were asked for, in the order of asking, since it was last looked.
    pub fn offsets(&self) -> Vec<u64> {
        std::mem::take(&mut self.offsets.lock().unwrap())
    }
}

impl Actor for Gate {
    type Msg = BlobMsg;
    type Args = Gate;

    async fn start(gate: Gate, _: &Context<BlobMsg>) -> Result<Self, ActorError> {
        Ok(gate)
    }

    async fn handle(&mut self, msg: BlobMsg, _: &Context<BlobMsg>) -> Result<(), ActorError> {
        if let BlobMsg::Read { offset, .. } = &msg {
            self.offsets.lock().unwrap().push(*offset);
        }
        let verdict = (self.script)(self.count.fetch_add(1, Ordering::SeqCst));
        match (verdict, msg) {
            (Verdict::Drop, _) => return Ok(()),
            (Verdict::Damage, BlobMsg::Read { digest, offset, len, reply }) => {
                let ask = |reply| BlobMsg::Read { digest, offset, len, reply };
                if let Ok(Piece::Bytes { whole, bytes }) = self.real.ask(SOON, ask).await {
                    let mut bytes = bytes.into_bytes().to_vec();
                    bytes[0] ^= 1;
                    reply.send(Piece::Bytes { whole, bytes: Payload::new(bytes) });
                }
                return Ok(());
            }
            (Verdict::Hold, msg) => {
                self.held.send(()).await.unwrap();
                self.go.acquire().await.unwrap().forget();
                self.real.tell(msg).await.map_err(ActorError::failed)
            }
            (_, msg) => self.real.tell(msg).await.map_err(ActorError::failed),
        }
    }
}

/// Waits until it holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}
