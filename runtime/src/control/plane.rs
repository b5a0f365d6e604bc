//! The control plane of a node.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorRef};
use ractor_cluster::node::NodeConnectionMode;
use ractor_cluster::{IncomingEncryptionMode, NodeServer, NodeServerMessage};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::desk::{ControlHandler, Desk, read_answer};
use super::error::ControlError;
use super::events::LinkEvents;
use super::gateway::{Gateway, GatewayMsg};
use super::link::{Link, LinkInfo, Share, Side, Stage};
use super::lock;
use super::options::ControlOptions;
use super::seal::{EXPORTER, EXPORTER_ID, Kind, LinkId};
use super::session::{HOST, SessionWatch};
use super::table::{REPLACED, Table};
use super::transport::Transport;
use crate::id::NodeId;
use crate::net::{PeerIdentity, PlaneStream};

/// For ractor_cluster to let go of a session that was closed: some milliseconds, unless the machine is swamped.
const LET_GO: Duration = Duration::from_secs(1);

/// A node's end of the control plane. Cheap to clone; the last one dropped ends it abruptly, [`ControlPlane::stop`]
/// in good order.
#[derive(Clone)]
pub struct ControlPlane(Arc<Inner>);

pub(super) struct Inner {
    me: PeerIdentity,
    options: ControlOptions,
    pub(super) table: Arc<Table>,
    desk: Arc<Desk>,
    pub(super) server: ActorRef<NodeServerMessage>,
    gateway: ActorRef<GatewayMsg>,
    tasks: TaskTracker,
    only: Mutex<Option<OnlyOne>>,
}

/// What the control plane has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlStats {
    /// Messages that weren't from who they said, were here before, or couldn't be read.
    pub dropped: u64,
    /// Messages refused because too many handlers ran.
    pub busy: u64,
    /// Handlers that run now.
    pub handlers: usize,
}

impl ControlPlane {
    /// Starts without any link. `me` is who this node's certificate says it is. Must be called within a tokio runtime.
    pub async fn start(
        me: PeerIdentity,
        options: ControlOptions,
        handler: Arc<dyn ControlHandler>,
    ) -> Result<Self, ControlError> {
        options.check()?;
        let only = OnlyOne::take()?;
        let table = Arc::new(Table::default());
        let desk = Arc::new(Desk::new(handler, table.clone(), &options));
        let acceptor = closed_acceptor()?;
        let (gateway, _) = Actor::spawn(None, Gateway(desk.clone()), me.node).await.map_err(ControlError::start)?;
        // All links are authenticated before ractor_cluster sees them: the cookie only keeps clusters apart.
        let cookie = format!("fleet-control/{}", me.cluster);
        let (encryption, mode) = (IncomingEncryptionMode::Tls(acceptor), NodeConnectionMode::Isolated);
        let server = NodeServer::new(0, cookie, me.node.to_string(), HOST.into(), Some(encryption), Some(mode))
            .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
            .with_max_inbound_frame_size(options.max_frame.0);
        let (server, ended) = match Actor::spawn(None, server, ()).await {
            Ok(started) => started,
            Err(e) => {
                gateway.stop(None);
                return Err(ControlError::start(e));
            }
        };
        let tasks = TaskTracker::new();
        let only = Mutex::new(Some(only));
        let watched = table.clone();
        let plane = Self(Arc::new(Inner { me, options, table, desk, server, gateway, tasks, only }));
        let subscription = Box::new(SessionWatch(watched.clone()));
        let subscribe = NodeServerMessage::SubscribeToEvents { id: "fleet".into(), subscription };
        plane.0.server.cast(subscribe).map_err(ControlError::start)?;
        plane.0.tasks.spawn(async move {
            let _ = ended.await;
            for link in watched.close_all("ractor_cluster's server ended") {
                watched.gone(&link);
            }
        });
        Ok(plane)
    }

    /// Runs a link to `peer` over a stream of the control plane, whose other end does the same. Resolves once calls
    /// can go through. A link to that peer which is there already is closed first; where both nodes have dialled each
    /// other at the same moment, the lower node id's link stays and the other is
    /// [`Superseded`](ControlError::Superseded). Goes on if dropped.
    ///
    /// One end is up a moment before the other: a handler may be asked by a node to which calls are still
    /// [`NotSent`](ControlError::NotSent).
    pub async fn attach(&self, peer: &PeerIdentity, stream: PlaneStream, side: Side) -> Result<(), ControlError> {
        let Inner { me, options, table, server, tasks, .. } = &*self.0;
        if peer.cluster != me.cluster {
            return Err(ControlError::OtherCluster { expected: me.cluster, found: peer.cluster });
        }
        if peer.node == me.node {
            return Err(ControlError::Oneself(peer.node));
        }
        let secret = stream.export_secret(EXPORTER)?;
        let mut id = LinkId([0; 8]);
        id.0.copy_from_slice(&stream.export_secret(EXPORTER_ID)?[..8]);
        let link = Arc::new(Link::new(id, &secret, peer.node, side, options));
        let older = table.admit(me.node, &link, options.attach_deadline)?;
        let deadline = Instant::now() + options.attach_deadline;
        let transport = Transport { stream, link: link.clone(), read_deadline: options.read_deadline };
        let (server, table) = (server.clone(), table.clone());
        let coming_up = tasks.spawn(async move {
            let result = bring_up(&server, &link, older, transport, deadline).await;
            if result.is_err() {
                table.close(&link, "it didn't come up in time");
                // Where ractor_cluster never took it, nothing will be heard of it.
                let _ = timeout(LET_GO, link.reached(Stage::Gone)).await;
                table.gone(&link);
            }
            result
        });
        coming_up.await.map_err(ControlError::start)?
    }

    /// Asks a node. It is answered within `deadline`, or [`Unknown`](ControlError::Unknown); there is no telling the
    /// other node that the answer isn't wanted any more.
    pub async fn call(&self, to: NodeId, message: Vec<u8>, deadline: Duration) -> Result<Vec<u8>, ControlError> {
        let sent = self.send(to, Kind::Call, message, deadline)?;
        read_answer(to, sent.answer(deadline).await?)
    }

    /// Tells a node. `Ok` says that it is on its way; it is handled at most once, and lost with the link. Casts and
    /// calls to one node are taken in order, but their handlers run side by side. Must be called within a tokio runtime.
    pub fn cast(&self, to: NodeId, message: Vec<u8>) -> Result<(), ControlError> {
        let deadline = self.0.options.cast_deadline;
        let sent = self.send(to, Kind::Cast, message, deadline)?;
        self.0.tasks.spawn(async move {
            let taken = sent.answer(deadline).await.and_then(|answer| read_answer(to, answer));
            if let Err(why) = taken {
                tracing::debug!(%to, %why, "a cast was lost");
            }
        });
        Ok(())
    }

    /// The links that are up.
    pub fn links(&self) -> Vec<LinkInfo> {
        self.0.table.infos()
    }

    /// Closes the link to a node, if there is one. Calls under way become [`Unknown`](ControlError::Unknown).
    pub fn detach(&self, peer: NodeId) {
        if let Ok(link) = self.0.table.usable(peer) {
            self.0.table.close(&link, "this node closed it");
        }
    }

    /// The changes of the links from now on, beginning with those that are up.
    pub fn events(&self) -> LinkEvents {
        self.0.table.listen()
    }

    /// Counters since the start.
    pub fn stats(&self) -> ControlStats {
        let desk = &self.0.desk;
        ControlStats {
            dropped: desk.dropped.load(Ordering::Relaxed),
            busy: desk.busy.load(Ordering::Relaxed),
            handlers: desk.running(),
        }
    }

    /// Ends in good order: nothing more is sent or taken, handlers finish (up to `stop_grace`), links close, then
    /// ractor_cluster. Returns when all has ended. Calls under way become [`Unknown`](ControlError::Unknown).
    pub async fn stop(&self) {
        let Inner { options, table, desk, server, gateway, tasks, only, .. } = &*self.0;
        table.end();
        desk.stop(options.stop_grace).await;
        for link in table.close_all("this node stops") {
            let _ = timeout(LET_GO, link.reached(Stage::Gone)).await;
        }
        let _ = server.stop_and_wait(None, None).await;
        let _ = gateway.stop_and_wait(None, None).await;
        tasks.close();
        tasks.wait().await;
        lock(only).take();
    }

    fn send(&self, to: NodeId, kind: Kind, message: Vec<u8>, deadline: Duration) -> Result<Sent, ControlError> {
        let (bytes, limit) = (message.len(), self.0.options.max_message());
        if bytes > limit {
            return Err(ControlError::TooLarge { bytes, limit });
        }
        let link = self.0.table.usable(to)?;
        let share = link.share(bytes).ok_or(ControlError::Busy { node: to, there: false })?;
        let answer = link.send(self.0.me.node, kind, message, deadline)?;
        Ok(Sent { link, answer, _share: share })
    }

    #[cfg(test)]
    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }
}

#[cfg(test)]
impl Inner {
    pub(super) fn me(&self) -> &PeerIdentity {
        &self.me
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.desk.abandon();
        self.table.close_all("this node's control plane was dropped");
        self.server.stop(None);
        self.gateway.stop(None);
    }
}

/// A message on its way.
struct Sent {
    link: Arc<Link>,
    answer: oneshot::Receiver<Vec<u8>>,
    _share: Share,
}

impl Sent {
    async fn answer(self, deadline: Duration) -> Result<Vec<u8>, ControlError> {
        let unknown = |why| Err(ControlError::Unknown { node: self.link.peer, why });
        tokio::select! {
            biased;
            answer = timeout(deadline, self.answer) => match answer {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => unknown("the link was lost"),
                Err(_) => unknown("the deadline has passed"),
            },
            () = self.link.closed.cancelled() => unknown("the link was lost"),
        }
    }
}

/// Gives the stream to ractor_cluster once the link before it is gone, and waits until the link is up.
async fn bring_up(
    server: &ActorRef<NodeServerMessage>,
    link: &Arc<Link>,
    older: Option<Arc<Link>>,
    transport: Transport,
    deadline: Instant,
) -> Result<(), ControlError> {
    let late = |_| ControlError::AttachDeadline(link.peer);
    if let Some(older) = older {
        timeout_at(deadline, older.reached(Stage::Gone)).await.map_err(late)?;
    }
    if !link.closed.is_cancelled() {
        let is_server = link.side == Side::Accepted;
        let opened = NodeServerMessage::ConnectionOpenedExternal { stream: Box::new(transport), is_server };
        server.cast(opened).map_err(|_| ControlError::Stopped)?;
        if timeout_at(deadline, link.reached(Stage::Up)).await.map_err(late)? == Stage::Up {
            return Ok(());
        }
    }
    match link.why.get() {
        Some(&REPLACED) => Err(ControlError::Superseded(link.peer)),
        why => Err(ControlError::Broken { node: link.peer, why: why.copied().unwrap_or("its session ended") }),
    }
}

/// ractor keeps actors and groups in tables of the process: a second node would tell its peers of the first one's
/// gateway as well, and the two would give the same ids to different actors.
struct OnlyOne;

static TAKEN: AtomicBool = AtomicBool::new(false);

impl OnlyOne {
    fn take() -> Result<Self, ControlError> {
        if TAKEN.swap(true, Ordering::AcqRel) { Err(ControlError::AnotherOne) } else { Ok(Self) }
    }
}

impl Drop for OnlyOne {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

/// ractor_cluster insists on a listener of its own. It is bound to loopback, and no handshake with it can succeed:
/// it has no certificate to show.
fn closed_acceptor() -> Result<TlsAcceptor, ControlError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(ControlError::start)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
