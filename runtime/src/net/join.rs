//! How a machine becomes a node: a token in, a certificate out.
//!
//! The new machine dials the join plane, which checks the control node's CA against the token's
//! fingerprint. It sends one frame, the server answers with one: credentials, or why not. A frame is
//! a length (4 bytes, big-endian) and JSON.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::dial;
use super::error::NetError;
use super::identity::{ClusterId, NodeName};
use super::options::NetOptions;
use super::pki::{Authority, NodeCredentials, NodeKey, certificate_from_pem, certificate_to_pem};
use super::token::{JoinToken, TokenBook};
use crate::id::NodeId;
use crate::time::Timestamp;

/// Raised when what the two sides say changes.
pub const JOIN_PROTOCOL: u16 = 1;
/// The largest frame of a join, in bytes.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// A host name has at most 253 characters.
const MAX_ADDRESS_CHARS: usize = 260;

/// What a machine says about itself when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Chosen by the machine, at random, once.
    pub node: NodeId,
    /// For people; no other node of the cluster may have it.
    pub name: NodeName,
    /// `HOST:PORT` at which other nodes can reach it.
    pub advertised: String,
}

/// A machine with a genuine token that wants to become a node.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// What it says about itself.
    pub newcomer: Newcomer,
    /// Its token; not used yet.
    pub token: JoinToken,
    /// Where the connection came from; for logs only.
    pub addr: SocketAddr,
}

/// What a node learns beyond its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// `HOST:PORT` of the control node, best first.
    pub control: Vec<String>,
}

/// Decides who becomes a node. The token's authenticity, expiry and single use aren't its concern.
///
/// Whoever holds a token chooses its node id and name. So a desk must refuse
/// ([`NetError::NameTaken`], [`NetError::NodeTaken`]) a name that another node has, and a node id that
/// is in use unless it means to let that node join again: a token must not buy another's identity.
/// The control node's own id is refused before the desk is asked.
pub trait JoinDesk: Send + Sync + 'static {
    /// Asked before the token is spent; changes nothing. A refusal leaves the token good.
    fn review<'a>(&'a self, applicant: &'a Applicant) -> BoxFuture<'a, Result<(), NetError>>;

    /// Asked when the token is spent: records the node. Must review again, since two may come at once.
    fn admit<'a>(&'a self, applicant: &'a Applicant) -> BoxFuture<'a, Result<Admission, NetError>>;
}

/// The control node's side of joins. Cheap to clone.
#[derive(Clone)]
pub struct JoinServer(Arc<Inner>);

struct Inner {
    authority: Arc<Authority>,
    control: NodeId,
    book: Arc<TokenBook>,
    desk: Arc<dyn JoinDesk>,
    options: NetOptions,
}

#[derive(Serialize, Deserialize)]
struct JoinRequest {
    protocol: u16,
    token: String,
    node: NodeId,
    name: String,
    advertised: String,
    /// PKCS #10, DER, base64.
    csr: String,
}

/// Only the version: whatever else changes, this can be read.
#[derive(Deserialize)]
struct Versioned {
    protocol: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
enum JoinAnswer {
    Welcome { certificate: String, ca: String, cluster: ClusterId, control: Vec<String> },
    Refused { code: String, text: String },
}

impl JoinServer {
    /// `control`: the control node's own id.
    pub fn new(
        authority: Arc<Authority>,
        control: NodeId,
        book: Arc<TokenBook>,
        desk: Arc<dyn JoinDesk>,
        options: NetOptions,
    ) -> Self {
        Self(Arc::new(Inner { authority, control, book, desk, options }))
    }

    /// Serves one connection of the join plane to its end, at most for the join deadline. Gives who
    /// joined, or why nobody did (which the other side was told, if it could be).
    pub async fn serve<S>(&self, mut stream: S, addr: SocketAddr) -> Result<Applicant, NetError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let exchange = self.exchange(&mut stream, addr);
        let late = || NetError::Deadline { addr: addr.to_string(), what: "the join" };
        timeout(self.0.options.join_deadline, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    async fn exchange<S>(&self, stream: &mut S, addr: SocketAddr) -> Result<Applicant, NetError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let decided = match read_frame(stream, &addr.to_string()).await {
            Ok(frame) => self.decide(&frame, addr).await,
            Err(error) => Err(error),
        };
        let (answer, outcome) = match decided {
            Ok((answer, applicant)) => (answer, Ok(applicant)),
            Err(e) => (JoinAnswer::Refused { code: e.code().to_owned(), text: e.to_string() }, Err(e)),
        };
        let written = write_frame(stream, &answer, &addr.to_string()).await;
        // The answer is out; whether the goodbye arrives doesn't matter.
        let _ = stream.shutdown().await;
        outcome.and_then(|applicant| written.map(|()| applicant))
    }

    async fn decide(&self, frame: &[u8], addr: SocketAddr) -> Result<(JoinAnswer, Applicant), NetError> {
        let Inner { authority, book, desk, options, .. } = &*self.0;
        let theirs = parse::<Versioned>(frame, &addr.to_string())?.protocol;
        if theirs != JOIN_PROTOCOL {
            return Err(NetError::JoinVersion { ours: JOIN_PROTOCOL, theirs });
        }
        let request: JoinRequest = parse(frame, &addr.to_string())?;
        let now = Timestamp::now();
        let token = JoinToken::parse(&request.token)?;
        authority.tokens().verify(&token, authority.identity(), now)?;
        book.check(&token)?;
        check_address(&request.advertised)?;
        if request.node == self.0.control {
            return Err(NetError::NodeTaken(request.node));
        }
        let newcomer = Newcomer { node: request.node, name: request.name.try_into()?, advertised: request.advertised };
        let applicant = Applicant { newcomer, token, addr };
        desk.review(&applicant).await?;
        let csr = STANDARD.decode(&request.csr).map_err(|_| NetError::BadRequest("it isn't base64".into()))?;
        let Newcomer { node, name, .. } = &applicant.newcomer;
        // Made before the token is spent, sent only after.
        let certificate = authority.sign(&csr, *node, name, options.certificate_lifetime)?;
        book.spend(&applicant.token, now).await?;
        let Admission { control } = desk.admit(&applicant).await?;
        let identity = authority.identity();
        let answer = JoinAnswer::Welcome {
            certificate: certificate_to_pem(&certificate),
            ca: certificate_to_pem(&identity.ca),
            cluster: identity.cluster,
            control,
        };
        Ok((answer, applicant))
    }
}

impl fmt::Debug for JoinServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinServer").field("authority", &self.0.authority).finish_non_exhaustive()
    }
}

/// What a machine has once it is a node.
#[derive(Clone, Debug)]
pub struct Joined {
    /// To be kept with [`NodeCredentials::store`].
    pub credentials: NodeCredentials,
    /// `HOST:PORT` of the control node, best first.
    pub control: Vec<String>,
}

/// Joins the cluster of the token through its control node at `addr` (`HOST:PORT`). Makes the node's
/// key here; only a request for a certificate leaves the machine. If the connection breaks after the
/// control node took the token, a new token is needed.
pub async fn join_cluster(
    addr: &str,
    token: &JoinToken,
    newcomer: &Newcomer,
    options: &NetOptions,
) -> Result<Joined, NetError> {
    options.check()?;
    check_address(&newcomer.advertised)?;
    let key = NodeKey::generate()?;
    let request = JoinRequest {
        protocol: JOIN_PROTOCOL,
        token: token.expose(),
        node: newcomer.node,
        name: newcomer.name.as_str().to_owned(),
        advertised: newcomer.advertised.clone(),
        csr: STANDARD.encode(key.csr()?),
    };
    let (mut stream, _) = dial::to_join(addr, token, options).await?;
    let exchange = async {
        write_frame(&mut stream, &request, addr).await?;
        parse(&read_frame(&mut stream, addr).await?, addr)
    };
    let late = |_| NetError::Deadline { addr: addr.to_owned(), what: "the join" };
    match timeout(options.join_deadline, exchange).await.map_err(late)?? {
        JoinAnswer::Refused { code, text } => {
            Err(NetError::JoinRefused { code: printable(&code), text: printable(&text) })
        }
        JoinAnswer::Welcome { certificate, ca, cluster, control } => {
            let unreadable =
                || NetError::Protocol { addr: addr.to_owned(), why: "its certificates can't be read".into() };
            let certificate = certificate_from_pem(&certificate).ok_or_else(unreadable)?;
            let ca = certificate_from_pem(&ca).ok_or_else(unreadable)?;
            let credentials = NodeCredentials::assemble(key, certificate, ca)?;
            check_answer(&credentials, cluster, token, newcomer)?;
            Ok(Joined { credentials, control })
        }
    }
}

/// The answer must be what was asked for.
fn check_answer(
    credentials: &NodeCredentials,
    cluster: ClusterId,
    token: &JoinToken,
    newcomer: &Newcomer,
) -> Result<(), NetError> {
    let (ours, identity) = (credentials.cluster(), credentials.identity());
    if ours.fingerprint != token.fingerprint() {
        return Err(NetError::OtherAuthority { expected: token.fingerprint() });
    }
    if cluster != token.cluster() || ours.cluster != cluster {
        return Err(NetError::OtherCluster { expected: token.cluster(), found: ours.cluster });
    }
    if identity.node != newcomer.node || identity.name != newcomer.name {
        return Err(NetError::OtherNode { expected: newcomer.node, found: identity.node });
    }
    Ok(())
}

/// `HOST:PORT` that means the same machine for everyone.
fn check_address(text: &str) -> Result<(), NetError> {
    let bad = || NetError::BadAddress(printable(&text.chars().take(MAX_ADDRESS_CHARS).collect::<String>()));
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port_fits = port.parse::<u16>().is_ok_and(|port| port != 0);
    let fits = text.len() <= MAX_ADDRESS_CHARS && port_fits && host_fits(host, text);
    if fits { Ok(()) } else { Err(bad()) }
}

fn host_fits(host: &str, address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => !address.ip().is_unspecified(),
        Err(_) => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)),
    }
}

/// What a terminal can show without being steered by it.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

fn parse<T: DeserializeOwned>(frame: &[u8], addr: &str) -> Result<T, NetError> {
    let strange = |e: serde_json::Error| NetError::Protocol { addr: addr.to_owned(), why: e.to_string().into() };
    serde_json::from_slice(frame).map_err(strange)
}

async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S, addr: &str) -> Result<Vec<u8>, NetError> {
    let broken = |e: std::io::Error| NetError::Broken { addr: addr.to_owned(), why: e.to_string().into() };
    let length = stream.read_u32().await.map_err(broken)? as usize;
    if length > MAX_FRAME_BYTES {
        return Err(NetError::FrameTooLarge { bytes: length, limit: MAX_FRAME_BYTES });
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await.map_err(broken)?;
    Ok(frame)
}

async fn write_frame<S, T>(stream: &mut S, content: &T, addr: &str) -> Result<(), NetError>
where
    S: AsyncWrite + Unpin,
    T: Serialize,
{
    let broken = |e: std::io::Error| NetError::Broken { addr: addr.to_owned(), why: e.to_string().into() };
    let frame = serde_json::to_vec(content).map_err(|e| NetError::crypto(format_args!("a frame: {e}")))?;
    if frame.len() > MAX_FRAME_BYTES {
        return Err(NetError::FrameTooLarge { bytes: frame.len(), limit: MAX_FRAME_BYTES });
    }
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    stream.write_all(&length.to_be_bytes()).await.map_err(broken)?;
    stream.write_all(&frame).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}
