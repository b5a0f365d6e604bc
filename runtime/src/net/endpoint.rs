//! A node's end of all its links.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::error::NetError;
use super::listener::{Accepted, Gate, Listener};
use super::options::NetOptions;
use super::pki::NodeCredentials;
use super::plane::Plane;
use super::stream::PlaneStream;
use super::{PeerIdentity, dial};
use crate::id::NodeId;

/// Dials and listens with a node's credentials. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    credentials: watch::Sender<NodeCredentials>,
    options: NetOptions,
}

impl Endpoint {
    /// Opens nothing yet.
    pub fn new(credentials: NodeCredentials, options: NetOptions) -> Result<Self, NetError> {
        options.check()?;
        Ok(Self(Arc::new(Inner { credentials: watch::Sender::new(credentials), options })))
    }

    /// Who this node is.
    pub fn identity(&self) -> PeerIdentity {
        self.0.credentials.borrow().identity().clone()
    }

    /// The credentials in use.
    pub fn credentials(&self) -> NodeCredentials {
        self.0.credentials.borrow().clone()
    }

    /// Uses renewed credentials from the next connection on; those that are open stay. Refused where
    /// they are of another node or cluster.
    pub fn renew(&self, credentials: NodeCredentials) -> Result<(), NetError> {
        let ours = self.identity();
        let theirs = credentials.identity();
        if theirs.cluster != ours.cluster {
            return Err(NetError::OtherCluster { expected: ours.cluster, found: theirs.cluster });
        }
        if theirs.node != ours.node {
            return Err(NetError::OtherNode { expected: ours.node, found: theirs.node });
        }
        self.0.credentials.send_replace(credentials);
        Ok(())
    }

    /// Connects to `addr` (`HOST:PORT`). Resolves once the peer has taken this node's certificate and
    /// let it in; the peer is then a node of the same cluster, and `expected` if that is given. Where
    /// the peer has no room it tries again until the dial deadline.
    pub async fn dial(
        &self,
        addr: &str,
        plane: Plane,
        expected: Option<NodeId>,
    ) -> Result<(PlaneStream, PeerIdentity), NetError> {
        let credentials = self.credentials();
        dial::to_node(addr, plane, expected, &credentials, &self.0.options).await
    }

    /// Listens on `addr` for the planes. Accepted connections come out of the receiver, at most
    /// `accept_queue` waiting; dropping the receiver refuses all further ones. Must be called within a
    /// tokio runtime.
    pub fn listen(
        &self,
        addr: SocketAddr,
        planes: &[Plane],
        gate: Arc<dyn Gate>,
    ) -> Result<(Listener, mpsc::Receiver<Accepted>), NetError> {
        let credentials = self.0.credentials.subscribe();
        Listener::start(addr, planes, gate, credentials, self.0.options.clone())
    }

    /// The limits that it keeps to.
    pub fn options(&self) -> &NetOptions {
        &self.0.options
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("identity", &self.identity()).finish_non_exhaustive()
    }
}
