//! One port for all planes, and nobody waits for anybody else's handshake.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::NetError;
use super::identity::PeerIdentity;
use super::options::NetOptions;
use super::pki::NodeCredentials;
use super::plane::Plane;
use super::slots::{ConnectionSlot, Connections, HandshakeRoom, Handshakes};
use super::stats::{Counters, NetStats, RefusedBecause};
use super::stream::{PlaneStream, Socket, prepare};
use super::tls::{ServerTls, tls_error};
use super::verdict::{Verdict, WELCOME};
use crate::id::NodeId;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 1024;
/// After a failed accept, such as for too many open files: time for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who may connect, though its certificate is good: a node that was removed may not.
pub trait Gate: Send + Sync + 'static {
    /// Asked once for each connection, on its own task. Must not block.
    fn allowed(&self, node: NodeId) -> bool;
}

impl<F: Fn(NodeId) -> bool + Send + Sync + 'static> Gate for F {
    fn allowed(&self, node: NodeId) -> bool {
        self(node)
    }
}

/// A connection that stands.
#[derive(Debug)]
pub struct Accepted {
    /// What it is for.
    pub plane: Plane,
    /// Who is at the other end, from its certificate. `None` on the join plane, and only there.
    pub peer: Option<PeerIdentity>,
    /// Where it came from; for logs only.
    pub addr: SocketAddr,
    /// The connection itself.
    pub stream: PlaneStream,
}

/// A listening socket. Dropping it stops it, [`Listener::stop`] also waits for that.
pub struct Listener {
    local: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Listener {
    pub(super) fn start(
        addr: SocketAddr,
        planes: &[Plane],
        gate: Arc<dyn Gate>,
        credentials: watch::Receiver<NodeCredentials>,
        options: NetOptions,
    ) -> Result<(Self, mpsc::Receiver<Accepted>), NetError> {
        let bad = |e: io::Error| NetError::Bind { addr: addr.to_string(), source: Arc::new(e) };
        let listener = bind(addr).map_err(bad)?;
        let local = listener.local_addr().map_err(bad)?;
        let (accepted, receiver) = mpsc::channel(options.accept_queue);
        let tls = Arc::new(ServerTls::new(&credentials.borrow(), planes)?);
        let shared = Arc::new(Shared {
            gate,
            handshakes: Handshakes::new(options.max_handshaking),
            connections: Connections::default(),
            counters: Counters::default(),
            options,
        });
        let stop = CancellationToken::new();
        let work = AcceptLoop {
            listener,
            shared: shared.clone(),
            accepted,
            tls,
            credentials,
            planes: planes.to_vec(),
            stop: stop.clone(),
        };
        let accepting = tokio::spawn(work.run());
        let listener = Self { local, shared, accepting, _stop_on_drop: stop.clone().drop_guard(), stop };
        Ok((listener, receiver))
    }

    /// Where it listens: with the real port if it was bound to port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What was accepted and refused so far.
    pub fn stats(&self) -> NetStats {
        NetStats {
            handshaking: self.shared.handshakes.len(),
            established: self.shared.connections.len(),
            ..self.shared.counters.snapshot()
        }
    }

    /// Closes the socket, then breaks off the handshakes; resolves when all that is done. Connections
    /// that were handed over stay open.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(e) = self.accepting.await {
            tracing::error!(error = %e, "the accept loop failed");
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("local", &self.local).finish_non_exhaustive()
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted node needn't wait for its old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

struct Shared {
    gate: Arc<dyn Gate>,
    handshakes: Handshakes,
    connections: Connections,
    counters: Counters,
    options: NetOptions,
}

struct AcceptLoop {
    listener: TcpListener,
    shared: Arc<Shared>,
    accepted: mpsc::Sender<Accepted>,
    tls: Arc<ServerTls>,
    credentials: watch::Receiver<NodeCredentials>,
    planes: Vec<Plane>,
    stop: CancellationToken,
}

impl AcceptLoop {
    async fn run(mut self) {
        let stop = self.stop.clone();
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = handshakes.join_next() => {}
                incoming = self.listener.accept() => match incoming {
                    Ok((tcp, addr)) => self.take_in(tcp, addr, &mut handshakes),
                    Err(e) => self.accept_failed(&e).await,
                },
            }
        }
        drop(self.listener);
        // They see the token too, and say goodbye.
        while handshakes.join_next().await.is_some() {}
    }

    fn take_in(&mut self, tcp: TcpStream, addr: SocketAddr, handshakes: &mut JoinSet<()>) {
        let Some(room) = self.shared.handshakes.enter() else {
            let detail = "no room for another handshake";
            return self.shared.counters.refused(RefusedBecause::TooManyHandshakes, addr, detail);
        };
        self.follow_credentials();
        let handshake =
            Handshake { shared: self.shared.clone(), accepted: self.accepted.clone(), tls: self.tls.clone(), addr };
        handshakes.spawn(handshake.run(tcp, room, self.stop.clone()));
    }

    fn follow_credentials(&mut self) {
        if !self.credentials.has_changed().unwrap_or(false) {
            return;
        }
        match ServerTls::new(&self.credentials.borrow_and_update(), &self.planes) {
            Ok(tls) => self.tls = Arc::new(tls),
            Err(e) => tracing::error!(error = %e, "the renewed credentials can't be used; the old ones stay"),
        }
    }

    async fn accept_failed(&self, error: &io::Error) {
        self.shared.counters.accept_error();
        tracing::warn!(%error, "a connection couldn't be accepted");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(ACCEPT_PAUSE) => {}
        }
    }
}

/// One connection until it is handed over or refused.
struct Handshake {
    shared: Arc<Shared>,
    accepted: mpsc::Sender<Accepted>,
    tls: Arc<ServerTls>,
    addr: SocketAddr,
}

/// Why there is no connection; the text is for the log.
type Refusal = (RefusedBecause, String);

impl Handshake {
    async fn run(self, tcp: TcpStream, room: HandshakeRoom, stop: CancellationToken) {
        let deadline = self.shared.options.handshake_deadline;
        let ended = tokio::select! {
            done = timeout(deadline, self.greet(tcp, &room)) => {
                done.unwrap_or_else(|_| Err((RefusedBecause::Deadline, format!("not done within {deadline:?}"))))
            }
            () = room.shed() => Err((RefusedBecause::TooManyHandshakes, "silent while others wait".to_owned())),
            () = stop.cancelled() => Err((RefusedBecause::Stopping, "the listener stops".to_owned())),
        };
        match ended {
            Ok(()) => self.shared.counters.accepted(),
            Err((why, detail)) => self.shared.counters.refused(why, self.addr, &detail),
        }
    }

    async fn greet(&self, tcp: TcpStream, room: &HandshakeRoom) -> Result<(), Refusal> {
        let socket = prepare(tcp, &self.shared.options).map_err(|e| refusal(&e))?;
        let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await.map_err(|e| refusal(&e))?;
        room.spoke();
        let config = self.tls.for_client(&hello.client_hello());
        let mut stream = hello.into_stream(config).await.map_err(|e| refusal(&e))?;
        match self.admit(&stream).await {
            Ok((plane, peer, slot, place)) => {
                say(&mut stream, WELCOME).await.map_err(|e| refusal(&e))?;
                let stream = PlaneStream::accepted(stream.into(), slot);
                place.send(Accepted { plane, peer, addr: self.addr, stream });
                Ok(())
            }
            Err((verdict, refusal)) => {
                // It may be gone already; it is refused either way.
                let _ = say(&mut stream, verdict as u8).await;
                let _ = stream.shutdown().await;
                Err(refusal)
            }
        }
    }

    /// Decides on a connection whose certificate, if its plane needs one, is the CA's.
    async fn admit(
        &self,
        stream: &TlsStream<Socket>,
    ) -> Result<(Plane, Option<PeerIdentity>, ConnectionSlot, mpsc::Permit<'_, Accepted>), (Verdict, Refusal)> {
        let (_, session) = stream.get_ref();
        let refuse = |verdict, why, detail: String| Err((verdict, (why, detail)));
        let Some(plane) = session.alpn_protocol().and_then(Plane::from_alpn) else {
            return refuse(Verdict::NoPlane, RefusedBecause::NoSharedPlane, "it named no plane".to_owned());
        };
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        let peer = match leaf.map(PeerIdentity::from_certificate).transpose() {
            Ok(peer) => peer,
            Err(e) => return refuse(Verdict::NoIdentity, RefusedBecause::BadCertificate, e.to_string()),
        };
        // TLS has seen to it; whoever changes its settings shall not open this door with them.
        if peer.is_none() != (plane == Plane::Join) {
            return refuse(Verdict::NoIdentity, RefusedBecause::NoCertificate, plane.to_string());
        }
        let node = peer.as_ref().map(|peer| peer.node);
        if let Some(node) = node.filter(|node| !self.shared.gate.allowed(*node)) {
            return refuse(Verdict::NotAllowed, RefusedBecause::NotAllowed, format!("node {node}"));
        }
        let options = &self.shared.options;
        let limit = if node.is_some() { options.max_per_peer } else { options.max_joining };
        let Some(slot) = self.shared.connections.take(node, limit) else {
            let detail = format!("{limit} connections are open already");
            return refuse(Verdict::TooManyConnections, RefusedBecause::TooManyConnections, detail);
        };
        // Half of the time, so that there is some left to say so.
        match timeout(options.handshake_deadline / 2, self.accepted.reserve()).await {
            Ok(Ok(place)) => Ok((plane, peer, slot, place)),
            Ok(Err(_)) => refuse(Verdict::Stopping, RefusedBecause::Stopping, "nobody takes connections".to_owned()),
            Err(_) => refuse(Verdict::Busy, RefusedBecause::Busy, "nobody took it in time".to_owned()),
        }
    }
}

async fn say(stream: &mut TlsStream<Socket>, byte: u8) -> io::Result<()> {
    stream.write_u8(byte).await?;
    stream.flush().await
}

fn refusal(error: &io::Error) -> Refusal {
    let why = match tls_error(error) {
        Some(rustls::Error::NoCertificatesPresented) => RefusedBecause::NoCertificate,
        Some(rustls::Error::InvalidCertificate(_)) => RefusedBecause::BadCertificate,
        Some(rustls::Error::NoApplicationProtocol) => RefusedBecause::NoSharedPlane,
        // The dialling side found fault with our certificate, and said so.
        Some(rustls::Error::AlertReceived(_)) | None => RefusedBecause::BrokeOff,
        Some(_) => RefusedBecause::NotTls,
    };
    (why, error.to_string())
}
