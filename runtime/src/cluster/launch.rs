//! Starts a node with everything that it needs to be one: identity, links, control plane, lanes, its part in the cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ClusterError;
use super::archive::ControlPorts;
use super::carrier::{Carrier, CarrierError};
use super::control::{Desk, Inviter};
use super::kinds::KindsBuilder;
use super::network::{Network, NetworkOptions};
use super::node::{ClusterNode, ClusterSetup, Role};
use super::options::ClusterOptions;
use super::records::{self, Identity, Register};
use super::renewal::{Renewal, Signer, certifier};
use crate::actor::System;
use crate::control::{ControlError, ControlHandler, ControlOptions, ControlPlane, LinkEvent, Side};
use crate::id::{Incarnation, NodeId};
use crate::journal::{JournalService, JournalServiceArgs, RemoteJournal};
use crate::kept::StateStore;
use crate::membership::NodeFacts;
use crate::net::{
    Accepted, Authority, Endpoint, JoinServer, JoinToken, Listener, NetOptions, Newcomer, NodeCredentials, NodeName,
    Plane, TokenBook, join_cluster,
};
use crate::placement::Resources;
use crate::redact::NoSecrets;
use crate::supervise::ChildOptions;
use crate::time::Timestamp;

/// The limits of all parts of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LaunchOptions {
    /// Leases, placement.
    pub cluster: ClusterOptions,
    /// Connections before and while they are authenticated.
    pub net: NetOptions,
    /// Lanes.
    pub network: NetworkOptions,
    /// Calls between nodes and the control node.
    pub control: ControlOptions,
}

/// A node that is to be started.
pub struct Launch {
    /// Where it keeps who it is; one node a folder.
    pub state_dir: PathBuf,
    /// Its name, unique in the cluster.
    pub name: NodeName,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `HOST:PORT` at which others reach it. Default: where it listens.
    pub advertised: Option<String>,
    /// What it offers.
    pub totals: Resources,
    /// What it can start.
    pub kinds: KindsBuilder,
    pub options: LaunchOptions,
}

/// A node that runs.
pub struct RunningNode {
    system: System,
    cluster: ClusterNode,
    network: Network,
    plane: ControlPlane,
    listener: Listener,
    node: NodeId,
    advertised: String,
    inviter: Option<Inviter>,
    ended: CancellationToken,
    tasks: TaskTracker,
}

const TOKENS: usize = 100_000;
/// Pause between attempts to reach the control node.
const REDIAL: Duration = Duration::from_millis(200);

impl Launch {
    /// Starts the control node of a cluster. The cluster, with its certificate authority, is made at the first start; from
    /// then on it goes on from what the journal has of it.
    pub async fn control(self, ports: ControlPorts) -> Result<RunningNode, ClusterError> {
        let authority = Arc::new(Authority::open_or_create(&self.state_dir.join("authority"))?);
        let identity = self.next_life()?;
        let credentials = match NodeCredentials::load(&self.state_dir) {
            Ok(credentials) => credentials,
            Err(crate::net::NetError::NotJoined(_)) => {
                let lifetime = self.options.net.certificate_lifetime;
                let made = authority.control_credentials(identity.node, &self.name, lifetime)?;
                made.store(&self.state_dir)?;
                made
            }
            Err(e) => return Err(e.into()),
        };
        self.run(identity, credentials, Some((authority, ports))).await
    }

    /// Joins a cluster with a token that its control node gave out, and starts.
    pub async fn join(mut self, control: &str, token: &JoinToken) -> Result<RunningNode, ClusterError> {
        let node = NodeId::new_random();
        self.listen = settled(self.listen)?;
        let advertised = self.advertised.clone().unwrap_or_else(|| self.listen.to_string());
        let newcomer = Newcomer { node, name: self.name.clone(), advertised };
        let joined = join_cluster(control, token, &newcomer, &self.options.net).await?;
        joined.credentials.store(&self.state_dir)?;
        let identity = Identity { node, incarnation: Incarnation(0), control: vec![control.to_owned()] };
        records::write(&self.identity_file(), &identity)?;
        self.rejoin().await
    }

    /// Starts a node that has joined before.
    pub async fn rejoin(self) -> Result<RunningNode, ClusterError> {
        let credentials = NodeCredentials::load(&self.state_dir)?;
        let identity = self.next_life()?;
        self.run(identity, credentials, None).await
    }

    /// Whether there is a node in the state folder that has joined a cluster.
    pub fn has_joined(&self) -> bool {
        NodeCredentials::load(&self.state_dir).is_ok()
    }

    fn identity_file(&self) -> PathBuf {
        self.state_dir.join("member.json")
    }

    /// Every start is a life of its own, and is on disk before anybody hears of it.
    fn next_life(&self) -> Result<Identity, ClusterError> {
        let known: Option<Identity> = records::read(&self.identity_file())?;
        let first = || Identity { node: NodeId::new_random(), incarnation: Incarnation(0), control: Vec::new() };
        let mut identity = known.unwrap_or_else(first);
        identity.incarnation = identity.incarnation.next();
        records::write(&self.identity_file(), &identity)?;
        Ok(identity)
    }

    async fn run(
        self,
        identity: Identity,
        credentials: NodeCredentials,
        control_of: Option<(Arc<Authority>, ControlPorts)>,
    ) -> Result<RunningNode, ClusterError> {
        let (authority, ports) = control_of.unzip();
        let Identity { node, incarnation, control } = identity;
        let Self { state_dir, name, listen, advertised, totals, kinds, options } = self;
        let failed = |source| ClusterError::Start { name: "the node".into(), source };
        let system = System::start(node, incarnation).await.map_err(failed)?;
        let endpoint = Endpoint::new(credentials, options.net.clone())?;
        let planes: &[Plane] = if authority.is_some() { &Plane::ALL } else { &Plane::MEMBER };
        let (listener, accepted) = endpoint.listen(listen, planes, Arc::new(|_: NodeId| true))?;
        let advertised = advertised.unwrap_or_else(|| listener.local_addr().to_string());
        let network = Network::new(&system, incarnation, endpoint.clone(), options.network.clone());
        let inlet = Arc::new(Inlet::default());
        let plane = ControlPlane::start(endpoint.identity(), options.control.clone(), inlet.clone()).await?;
        let (ended, tasks) = (CancellationToken::new(), TaskTracker::new());
        let links = Links { plane: plane.clone(), endpoint: endpoint.clone(), control };
        let register = match &authority {
            Some(_) => Some(Arc::new(register(&state_dir, node, name.as_str(), &advertised)?)),
            None => None,
        };
        let desk = authority.as_ref().zip(register.as_ref()).map(|(authority, register)| Desk {
            invite: inviter(authority.clone(), options.net.token_lifetime),
            certify: certifier(authority.clone(), register.clone(), options.net.certificate_lifetime),
        });
        let role = match ports {
            Some(ports) => {
                let served = JournalServiceArgs { journal: ports.journal.clone(), redactor: ports.redactor.clone() };
                let options = ChildOptions::default();
                system.spawn_service::<JournalService>(JournalService::NAME, served, options).await.map_err(failed)?;
                system.provide(StateStore::new(ports.journal.clone(), ports.redactor.clone()));
                Role::Control(ports)
            }
            None => Role::Member { control: links.find_control(&options.net).await? },
        };
        let setup = ClusterSetup {
            role,
            node,
            incarnation,
            facts: NodeFacts {
                name: name.as_str().to_owned(),
                addr: advertised.clone(),
                labels: totals.labels.clone(),
            },
            totals,
            kinds: kinds.build(&system),
            network: network.clone(),
            carrier: Arc::new(PlaneCarrier(plane.clone())),
            options: options.cluster.clone(),
        };
        let cluster = ClusterNode::start_with(&system, setup, desk.clone()).await?;
        if authority.is_none() {
            // Its secrets are taken out where it is written.
            let journal = RemoteJournal::new(cluster.service(JournalService::NAME));
            system.provide(StateStore::new(Arc::new(journal), Arc::new(NoSecrets)));
        }
        inlet.open(cluster.clone());
        let joins = authority.as_ref().zip(register);
        let joins = joins.map(|(authority, register)| join_server(authority, node, register, &options.net));
        let signer = authority.clone().map_or_else(|| Signer::Control(cluster.clone()), Signer::Me);
        let until = |part: BoxFuture<'static, ()>| {
            let ended = ended.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = part => {}
                }
            });
        };
        until(Box::pin(follow_links(plane.clone(), cluster.clone())));
        until(Box::pin(take(accepted, network.clone(), plane.clone(), joins, tasks.clone())));
        until(Box::pin(Renewal { endpoint, state_dir, signer }.keep()));
        if authority.is_none() {
            until(Box::pin(links.keep()));
        }
        let inviter = desk.map(|desk| desk.invite);
        Ok(RunningNode { system, cluster, network, plane, listener, node, advertised, inviter, ended, tasks })
    }
}

impl RunningNode {
    /// Its part in the cluster: spawn actors, find them, ask how it stands.
    pub fn cluster(&self) -> &ClusterNode {
        &self.cluster
    }

    /// The actors of this process.
    pub fn system(&self) -> &System {
        &self.system
    }

    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where others reach it.
    pub fn advertised(&self) -> &str {
        &self.advertised
    }

    /// A one-time token by which another node may join. On the control node only; any node can ask it by
    /// [`ClusterNode::invite`].
    pub fn invite(&self) -> Result<JoinToken, ClusterError> {
        let elsewhere = || ClusterError::Control("only the control node makes tokens; ask it".into());
        let token = self.inviter.as_ref().ok_or_else(elsewhere)?().map_err(ClusterError::Refused)?;
        Ok(JoinToken::parse(&token)?)
    }

    /// Leaves the cluster in good order and ends.
    pub async fn shutdown(self) {
        self.cluster.leave().await;
        self.ended.cancel();
        self.listener.stop().await;
        self.plane.stop().await;
        self.network.stop().await;
        self.tasks.close();
        self.tasks.wait().await;
        self.system.shutdown().await;
    }
}

fn inviter(authority: Arc<Authority>, lifetime: Duration) -> Inviter {
    Arc::new(move || {
        let token = authority.tokens().issue(authority.identity(), Timestamp::now(), lifetime);
        token.map(|token| token.expose()).map_err(|e| e.to_string())
    })
}

/// A free port in place of port 0: what a node advertises when it joins is what it listens on afterwards.
fn settled(listen: SocketAddr) -> Result<SocketAddr, ClusterError> {
    let bound = std::net::TcpListener::bind(listen).and_then(|socket| socket.local_addr());
    bound.map_err(|source| ClusterError::Listen { addr: listen, source })
}

fn register(state_dir: &Path, node: NodeId, name: &str, advertised: &str) -> Result<Register, ClusterError> {
    Register::open(state_dir.join("joined.json"), node, name, vec![advertised.to_owned()])
}

fn join_server(authority: &Arc<Authority>, node: NodeId, register: Arc<Register>, options: &NetOptions) -> JoinServer {
    let book = Arc::new(TokenBook::new(register.clone(), register.tokens(), TOKENS));
    JoinServer::new(authority.clone(), node, book, register, options.clone())
}

/// Hands accepted connections to where they belong.
async fn take(
    mut accepted: mpsc::Receiver<Accepted>,
    network: Network,
    plane: ControlPlane,
    joins: Option<JoinServer>,
    tasks: TaskTracker,
) {
    while let Some(connection) = accepted.recv().await {
        match (connection.plane, connection.peer.clone()) {
            (Plane::Lane | Plane::Bulk, _) => network.accept(connection),
            (Plane::Control, Some(peer)) => {
                let plane = plane.clone();
                tasks.spawn(async move {
                    if let Err(error) = plane.attach(&peer, connection.stream, Side::Accepted).await {
                        tracing::warn!(node = %peer.node, %error, "a control link was not made");
                    }
                });
            }
            (Plane::Join, _) => {
                let Some(joins) = joins.clone() else { continue };
                tasks.spawn(async move {
                    match joins.serve(connection.stream, connection.addr).await {
                        Ok(joined) => tracing::info!(name = joined.newcomer.name.as_str(), "a node has joined"),
                        Err(error) => tracing::warn!(from = %connection.addr, %error, "a join was refused"),
                    }
                });
            }
            (Plane::Control, None) => {}
        }
    }
}

async fn follow_links(plane: ControlPlane, cluster: ClusterNode) {
    let mut events = plane.events();
    while let Some(event) = events.next().await {
        match event {
            LinkEvent::Up(node) => cluster.link(node, true).await,
            LinkEvent::Down(node) => cluster.link(node, false).await,
        }
    }
}

/// A member's link to the control node.
struct Links {
    plane: ControlPlane,
    endpoint: Endpoint,
    control: Vec<String>,
}

impl Links {
    /// Reaches the control node for the first time.
    async fn find_control(&self, options: &NetOptions) -> Result<NodeId, ClusterError> {
        let until = tokio::time::Instant::now() + options.join_deadline;
        loop {
            match self.connect().await {
                Ok(node) => return Ok(node),
                Err(e) if tokio::time::Instant::now() >= until => return Err(e),
                Err(_) => tokio::time::sleep(REDIAL).await,
            }
        }
    }

    async fn connect(&self) -> Result<NodeId, ClusterError> {
        let mut last = ClusterError::Control("no address of it is known; join again with a token".into());
        for addr in &self.control {
            match self.endpoint.dial(addr, Plane::Control, None).await {
                Ok((_, peer)) if !peer.control => last = ClusterError::Control(format!("{addr} isn't it")),
                Ok((stream, peer)) => match self.plane.attach(&peer, stream, Side::Dialled).await {
                    Ok(()) => return Ok(peer.node),
                    Err(e) => last = e.into(),
                },
                Err(e) => last = e.into(),
            }
        }
        Err(last)
    }

    /// Makes the link again whenever it is lost.
    async fn keep(self) {
        let mut events = self.plane.events();
        while let Some(event) = events.next().await {
            if matches!(event, LinkEvent::Up(_)) {
                continue;
            }
            while let Err(error) = self.connect().await {
                tracing::debug!(%error, "the control node can't be reached");
                tokio::time::sleep(REDIAL).await;
            }
        }
    }
}

/// Takes calls of other nodes as soon as this one can answer them.
#[derive(Default)]
struct Inlet(std::sync::OnceLock<ClusterNode>);

impl Inlet {
    fn open(&self, cluster: ClusterNode) {
        // Opened once, by whoever made it.
        let _ = self.0.set(cluster);
    }
}

impl ControlHandler for Inlet {
    fn handle(&self, from: NodeId, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let cluster = self.0.get().cloned();
        Box::pin(async move {
            let cluster = cluster.ok_or("this node is starting")?;
            cluster.handle(from, message).await
        })
    }
}

struct PlaneCarrier(ControlPlane);

impl Carrier for PlaneCarrier {
    fn call(
        &self,
        to: NodeId,
        message: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, CarrierError>> {
        let plane = self.0.clone();
        Box::pin(async move {
            plane.call(to, message, deadline).await.map_err(|e| match e {
                ControlError::Refused(why) => CarrierError::Refused(why),
                e if e.may_have_run() => CarrierError::Unknown(e.to_string()),
                e => CarrierError::NotSent(e.to_string()),
            })
        })
    }
}
