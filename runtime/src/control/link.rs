//! One link to a peer, from the moment its stream is given until ractor_cluster has let go of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use ring::hmac;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::error::ControlError;
use super::gateway::RemoteGateway;
use super::lock;
use super::options::ControlOptions;
use super::seal::{self, Claims, Kind, LinkId};
use crate::id::NodeId;

/// Who opened the connection below a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node.
    Dialled,
    /// The peer.
    Accepted,
}

/// A link as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Who is at the other end.
    pub node: NodeId,
    /// Who dialled.
    pub side: Side,
    /// How long it has been there.
    pub age: Duration,
    /// Calls and casts to the peer without an answer yet.
    pub in_flight: usize,
    /// Bytes that came, before encryption.
    pub bytes_read: u64,
    /// Bytes that went, before encryption.
    pub bytes_written: u64,
}

/// How far a link has come. It changes under the table's lock, and only forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// ractor_cluster's handshake.
    Starting,
    /// The peer's gateway is known.
    Up,
    /// It carries nothing any more.
    Closing,
    /// ractor_cluster has forgotten it: the next one may come.
    Gone,
}

pub(super) struct Link {
    pub id: LinkId,
    pub peer: NodeId,
    pub side: Side,
    pub since: Instant,
    /// Cancelled when nothing can come over it any more, whoever notices first.
    pub closed: CancellationToken,
    /// Why it was closed, where it was this node that did.
    pub why: OnceLock<&'static str>,
    pub stage: watch::Sender<Stage>,
    pub read: AtomicU64,
    pub written: AtomicU64,
    key: hmac::Key,
    sent: Mutex<u64>,
    seen: Mutex<u64>,
    gateway: OnceLock<RemoteGateway>,
    slots: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    max_in_flight: usize,
}

/// A message's share of what may be under way.
pub(super) struct Share {
    _held: [OwnedSemaphorePermit; 2],
}

impl Link {
    pub fn new(id: LinkId, secret: &[u8; 32], peer: NodeId, side: Side, options: &ControlOptions) -> Self {
        let bytes = usize::try_from(options.max_in_flight_bytes.0).unwrap_or(usize::MAX);
        Self {
            id,
            peer,
            side,
            since: Instant::now(),
            closed: CancellationToken::new(),
            why: OnceLock::new(),
            stage: watch::Sender::new(Stage::Starting),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            key: seal::key(secret),
            sent: Mutex::new(0),
            seen: Mutex::new(0),
            gateway: OnceLock::new(),
            slots: Arc::new(Semaphore::new(options.max_in_flight)),
            bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
            max_in_flight: options.max_in_flight,
        }
    }

    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Resolves when the link has come as far as that.
    pub async fn reached(&self, stage: Stage) -> Stage {
        let mut watch = self.stage.subscribe();
        // The sender is this link's own.
        watch.wait_for(|now| *now >= stage).await.map_or(Stage::Gone, |now| *now)
    }

    pub fn set_gateway(&self, gateway: RemoteGateway) {
        // A session is ready once.
        let _ = self.gateway.set(gateway);
    }

    pub fn close(&self, why: &'static str) {
        let _ = self.why.set(why);
        self.closed.cancel();
    }

    /// A share for a message of that size, if there is room.
    pub fn share(&self, bytes: usize) -> Option<Share> {
        let slot = self.slots.clone().try_acquire_owned().ok()?;
        let bytes = self.bytes.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        Some(Share { _held: [slot, bytes] })
    }

    /// Hands a message to ractor_cluster. The receiver ends without a value when the link is lost.
    pub fn send(
        &self,
        from: NodeId,
        kind: Kind,
        mut message: Vec<u8>,
        deadline: Duration,
    ) -> Result<oneshot::Receiver<Vec<u8>>, ControlError> {
        let gateway = self.gateway.get().ok_or(ControlError::NotSent(self.peer))?;
        // Held until it is queued, so that counters arrive in order.
        let mut sent = lock(&self.sent);
        *sent += 1;
        seal::seal(&mut message, &Claims { link: self.id, sender: from, counter: *sent, kind }, &self.key);
        gateway.ask(message, deadline).map_err(|_| ControlError::NotSent(self.peer))
    }

    /// Whether a message that claims to have come over this link did, and wasn't here before.
    pub fn admits(&self, claims: &Claims, sealed: &[u8]) -> bool {
        if claims.sender != self.peer || !seal::verify(sealed, &self.key) {
            return false;
        }
        let mut seen = lock(&self.seen);
        let new = claims.counter > *seen;
        *seen = claims.counter.max(*seen);
        new
    }

    pub fn info(&self) -> LinkInfo {
        LinkInfo {
            node: self.peer,
            side: self.side,
            age: self.since.elapsed(),
            in_flight: self.max_in_flight.saturating_sub(self.slots.available_permits()),
            bytes_read: self.read.load(Ordering::Relaxed),
            bytes_written: self.written.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_admitted_once_and_only_from_the_peer_of_that_link() {
        let peer = NodeId::new_random();
        let link = |n| Link::new(LinkId([n; 8]), &[n; 32], peer, Side::Dialled, &ControlOptions::default());
        let (ours, other) = (link(1), link(2));
        let sealed = |from: &Link, sender, counter| {
            let claims = Claims { link: ours.id, sender, counter, kind: Kind::Call };
            let mut message = b"hello".to_vec();
            seal::seal(&mut message, &claims, &from.key);
            (claims, message)
        };
        let admitted = |(claims, message): &(Claims, Vec<u8>)| ours.admits(claims, message);

        let (first, third) = (sealed(&ours, peer, 1), sealed(&ours, peer, 3));
        assert!(admitted(&first));
        assert!(!admitted(&first), "replayed");
        assert!(!admitted(&sealed(&other, peer, 2)), "another link's key");
        assert!(!admitted(&sealed(&ours, NodeId::new_random(), 2)), "another sender");
        assert!(admitted(&third), "what is refused doesn't count");
        assert!(!admitted(&sealed(&ours, peer, 2)), "older than what came");
    }

    #[test]
    fn what_is_under_way_is_bounded_in_number_and_in_bytes() {
        let options =
            ControlOptions { max_in_flight: 2, max_in_flight_bytes: bytesize::ByteSize(100), ..Default::default() };
        let link = Link::new(LinkId([1; 8]), &[1; 32], NodeId::new_random(), Side::Dialled, &options);
        let large = link.share(90).unwrap();
        assert!(link.share(11).is_none());
        let small = link.share(10).unwrap();
        assert!(link.share(0).is_none());
        assert_eq!(link.info().in_flight, 2);
        drop((large, small));
        assert!(link.share(100).is_some());
    }
}
