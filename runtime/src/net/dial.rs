//! Connecting to a peer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsConnector, TlsStream};

use super::error::NetError;
use super::identity::{PeerIdentity, control_server_name, node_server_name};
use super::options::NetOptions;
use super::pki::NodeCredentials;
use super::plane::Plane;
use super::stream::{PlaneStream, Socket, prepare};
use super::tls::{self, dial_error};
use super::token::JoinToken;
use super::verdict::{Verdict, WELCOME};
use crate::id::NodeId;

/// Waits between two tries, doubled each time: a peer without room gets some by its deadline.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Dials as a node.
pub(super) async fn to_node(
    addr: &str,
    plane: Plane,
    expected: Option<NodeId>,
    credentials: &NodeCredentials,
    options: &NetOptions,
) -> Result<(PlaneStream, PeerIdentity), NetError> {
    let config = Arc::new(tls::node_client(credentials, plane, expected)?);
    // Any name will do where no node is expected: the check goes by the certificate's URI.
    let name = expected.map_or_else(control_server_name, node_server_name)?;
    Dial { addr, plane, config, name, options }.run().await
}

/// Dials the control node with a token instead of a certificate.
pub(super) async fn to_join(
    addr: &str,
    token: &JoinToken,
    options: &NetOptions,
) -> Result<(PlaneStream, PeerIdentity), NetError> {
    let config = Arc::new(tls::join_client(token)?);
    Dial { addr, plane: Plane::Join, config, name: control_server_name()?, options }.run().await
}

struct Dial<'a> {
    addr: &'a str,
    plane: Plane,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    options: &'a NetOptions,
}

impl Dial<'_> {
    async fn run(&self) -> Result<(PlaneStream, PeerIdentity), NetError> {
        let mut last = None;
        let tries = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match self.once().await {
                    Err(error) if has_no_room(&error) => last = Some(error),
                    done => return done,
                }
                sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        match timeout(self.options.dial_deadline, tries).await {
            Ok(done) => done,
            Err(_) => Err(last.unwrap_or_else(|| self.late("the whole dial"))),
        }
    }

    async fn once(&self) -> Result<(PlaneStream, PeerIdentity), NetError> {
        let refused = |e: io::Error| NetError::Connect { addr: self.addr.to_owned(), source: Arc::new(e) };
        let connected = timeout(self.options.connect_deadline, TcpStream::connect(self.addr)).await;
        let tcp = connected.map_err(|_| self.late("the TCP connect"))?.map_err(refused)?;
        let socket = prepare(tcp, self.options).map_err(refused)?;
        let greeted = timeout(self.options.handshake_deadline, self.greet(socket)).await;
        greeted.map_err(|_| self.late("the handshake"))?
    }

    async fn greet(&self, socket: Socket) -> Result<(PlaneStream, PeerIdentity), NetError> {
        let failed = |e: io::Error| dial_error(self.addr, self.plane, &e);
        let connector = TlsConnector::from(self.config.clone());
        let mut stream = connector.connect(self.name.clone(), socket).await.map_err(failed)?;
        let verdict = stream.read_u8().await.map_err(failed)?;
        if verdict != WELCOME {
            return Err(NetError::Refused { addr: self.addr.to_owned(), reason: Verdict::from_byte(verdict) });
        }
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(self.plane.alpn().as_bytes()) {
            return Err(NetError::NoSharedPlane { addr: self.addr.to_owned(), plane: self.plane });
        }
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| NetError::NoIdentity("the server sent none".into()))?;
        let peer = PeerIdentity::from_certificate(leaf)?;
        Ok((PlaneStream::dialled(TlsStream::Client(stream)), peer))
    }

    fn late(&self, what: &'static str) -> NetError {
        NetError::Deadline { addr: self.addr.to_owned(), what }
    }
}

/// A listener that is overrun closes connections before they have a certificate to show.
fn has_no_room(error: &NetError) -> bool {
    matches!(error, NetError::Broken { .. } | NetError::Refused { reason: Verdict::Busy, .. })
}
