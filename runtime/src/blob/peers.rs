//! Where other nodes' blobs are reached.

use super::Digest;
use super::message::BlobMsg;
use crate::actor::Ref;

/// The way to the blobs of other nodes: a port, since who they are is the cluster's to know. References have to be good for
/// whichever life a node is in ([`ActorAddr::service`](crate::ActorAddr::service) under [`BlobActor::NAME`](super::BlobActor::NAME)).
pub trait BlobPeers: Send + Sync + 'static {
    /// The node that keeps blobs, as it is reached from this one. `None` on the keeper itself, and while it isn't known.
    fn keeper(&self) -> Option<Ref<BlobMsg>>;

    /// Other nodes that may have this blob; asked after the keeper.
    fn holders(&self, digest: &Digest) -> Vec<Ref<BlobMsg>> {
        let _ = digest;
        Vec::new()
    }

    /// All nodes that cache blobs: the keeper tells them what was deleted.
    fn caches(&self) -> Vec<Ref<BlobMsg>> {
        Vec::new()
    }
}

/// A node that is alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl BlobPeers for NoPeers {
    fn keeper(&self) -> Option<Ref<BlobMsg>> {
        None
    }
}

/// A node that knows the keeper and nobody else.
impl BlobPeers for Ref<BlobMsg> {
    fn keeper(&self) -> Option<Ref<BlobMsg>> {
        Some(self.clone())
    }
}
