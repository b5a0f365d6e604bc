//! Which node this is going to be: the control node of a cluster, or a member of one; and how it is launched as that.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use fleet_actors::team::PlacedAgent;
use fleet_runtime::cluster::{ActorKinds, ControlPorts, Launch, RunningNode};
use fleet_runtime::job::JobRunner;
use fleet_runtime::net::{JoinToken, NodeName};
use fleet_runtime::placement::Resources;

use crate::config::Config;
use crate::state::{StateDir, create_private};

/// `--join`: whom to join, and by what.
#[derive(Debug)]
pub struct Join {
    /// `HOST:PORT` of the control node.
    pub control: String,
    /// Needed the first time only.
    pub token: Option<JoinToken>,
}

/// What a node is in its cluster.
#[derive(Debug)]
pub(super) enum Part {
    Control,
    /// It joined before.
    Member,
    Newcomer {
        control: String,
        token: JoinToken,
    },
}

impl Part {
    pub(super) fn is_control(&self) -> bool {
        matches!(self, Self::Control)
    }

    /// What the state directory and the flags say together.
    pub(super) fn of(state: &StateDir, join: Option<Join>) -> anyhow::Result<Self> {
        let dir = dir(state);
        let (control, member) = (dir.join("authority").exists(), dir.join("member.json").exists());
        match join {
            Some(Join { control: to, .. }) if control || state.join("journal").exists() => bail!(
                "FLT-N010: {} belongs to a control node, which can't join {to}\n  next: give the new node a directory of its own with --state-dir",
                state.path().display()
            ),
            Some(_) if member => Ok(Self::Member),
            Some(Join { control, token: Some(token) }) => Ok(Self::Newcomer { control, token }),
            Some(Join { control, token: None }) => bail!(
                "FLT-N011: this node isn't in a cluster yet, and joins one only with a token\n  next: `fleet node invite` on a node of the cluster prints one; then fleetd --join {control} --token TOKEN"
            ),
            None if member && !control => Ok(Self::Member),
            None => Ok(Self::Control),
        }
    }
}

fn dir(state: &StateDir) -> PathBuf {
    state.join("cluster")
}

/// The node's name: from the configuration; a newcomer without one gets one that nobody has, and keeps it.
pub(super) fn name(config: &Config, part: &Part, state: &StateDir) -> anyhow::Result<NodeName> {
    let kept = dir(state).join("name");
    if let Ok(name) = std::fs::read_to_string(&kept) {
        return Ok(NodeName::from_str(name.trim())?);
    }
    let unnamed = config.node.name == crate::config::NodeOptions::default().name;
    let name = match part {
        Part::Control => config.node.name.clone(),
        _ if unnamed => format!("node-{}", &uuid::Uuid::new_v4().simple().to_string()[..6]),
        _ => config.node.name.clone(),
    };
    Ok(NodeName::from_str(&name)?)
}

/// Starts the node in its cluster. From here on other nodes may reach it. `kept` is where a control node writes what it
/// knows of the cluster.
pub(super) async fn launch(
    config: &Config,
    part: Part,
    name: NodeName,
    state: &StateDir,
    offers: Resources,
    kept: Option<ControlPorts>,
) -> anyhow::Result<RunningNode> {
    let dir = dir(state);
    create_private(&dir)?;
    let launch = Launch {
        state_dir: dir.clone(),
        name: name.clone(),
        listen: listen(config, &dir)?,
        advertised: config.cluster.advertise.clone(),
        totals: offers,
        kinds: ActorKinds::builder().with::<JobRunner>().with::<PlacedAgent>(),
        options: config.cluster.launch(),
    };
    let started = match (part, kept) {
        (Part::Newcomer { control, token }, _) => launch.join(&control, &token).await,
        (Part::Control, Some(ports)) => launch.control(ports).await,
        (Part::Control | Part::Member, _) => launch.rejoin().await,
    };
    let running = started.map_err(|e| anyhow::anyhow!("{}: {e}{}", e.code(), remedy(&e)))?;
    std::fs::write(dir.join("name"), name.as_str()).context("can't keep the node's name")?;
    Ok(running)
}

fn remedy(error: &fleet_runtime::cluster::ClusterError) -> &'static str {
    use fleet_runtime::cluster::ClusterError::{Listen, Net};
    match error {
        Listen { .. } => "\n  next: stop what listens there, or take another address with --cluster-listen 127.0.0.1:0",
        Net(_) => "\n  next: ask for a new token with `fleet node invite`, and check the address after --join",
        _ => "",
    }
}

/// Where it listens. A port that was found free is kept, since others will look for the node there.
fn listen(config: &Config, dir: &Path) -> anyhow::Result<SocketAddr> {
    let wanted = config.cluster.listen;
    if wanted.port() != 0 {
        return Ok(wanted);
    }
    let kept = dir.join("port");
    let port = std::fs::read_to_string(&kept).ok().and_then(|text| text.trim().parse().ok());
    let port = match port {
        Some(port) => port,
        None => {
            let free = std::net::TcpListener::bind(wanted).and_then(|socket| socket.local_addr());
            let port = free.with_context(|| format!("can't listen on {wanted}"))?.port();
            std::fs::write(&kept, port.to_string()).context("can't keep the port")?;
            port
        }
    };
    Ok(SocketAddr::new(wanted.ip(), port))
}
