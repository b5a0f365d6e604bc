//! The two processes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ractor::{Actor, ActorRef};
use ractor_cluster::node::NodeConnectionMode;
use ractor_cluster::{IncomingEncryptionMode, NodeServer, NodeServerMessage, client_connect, client_connect_enc};
use rustls::pki_types::ServerName;
use tempfile::TempDir;

use super::super::driver::free_port;
use super::sink::{Sink, SinkMsg};
use super::tls;
use crate::area::ROLE;
use crate::area::nodes::{Killed, until_orphaned};

/// Room for messages of 16 MiB, which its own default would refuse.
const MAX_FRAME: u64 = 256 << 20;
const GROUP: &str = "sink";
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// The sink's process; ends with the one that started it.
pub fn serve(port: &str, pki: Option<&str>) -> Result<()> {
    let port = port.parse()?;
    let encryption = match pki {
        Some(dir) => IncomingEncryptionMode::Tls(tls::acceptor(Path::new(dir))?),
        None => IncomingEncryptionMode::Raw,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (sink, _) = Actor::spawn(None, Sink, ()).await?;
        ractor::pg::join(GROUP.to_owned(), vec![sink.get_cell()]);
        start("sink", port, encryption).await
    })?;
    until_orphaned();
    Ok(())
}

/// The other process, and the way to its actor.
pub struct Other {
    pub sink: ActorRef<SinkMsg>,
    _process: Killed,
    _pki: TempDir,
}

impl Other {
    pub async fn start(encrypted: bool) -> Result<Self> {
        let (pki, port) = (tempfile::tempdir()?, free_port()?);
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ROLE, "stock-sink", &port.to_string()]).stdin(Stdio::piped());
        if encrypted {
            tls::make(pki.path())?;
            command.arg(pki.path());
        }
        let process = Killed(command.spawn()?);
        let server = start("driver", 0, IncomingEncryptionMode::Raw).await?;
        let until = Instant::now() + PATIENCE;
        connect(&server, port, encrypted.then(|| pki.path()), until).await?;
        Ok(Self { sink: remote(until).await?, _process: process, _pki: pki })
    }
}

async fn start(name: &str, port: u16, encryption: IncomingEncryptionMode) -> Result<ActorRef<NodeServerMessage>> {
    let (cookie, host) = ("bench".to_owned(), "localhost".to_owned());
    let server =
        NodeServer::new(port, cookie, name.to_owned(), host, Some(encryption), Some(NodeConnectionMode::Isolated))
            .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
            .with_max_inbound_frame_size(MAX_FRAME);
    Ok(Actor::spawn(None, server, ()).await?.0)
}

/// Tries until the other process listens.
async fn connect(server: &ActorRef<NodeServerMessage>, port: u16, pki: Option<&Path>, until: Instant) -> Result<()> {
    let address = (Ipv4Addr::LOCALHOST, port);
    loop {
        let connected = match pki {
            Some(dir) => {
                let name = ServerName::try_from(tls::SINK)?;
                client_connect_enc(server, address, tls::connector(dir)?, name).await
            }
            None => client_connect(server, address).await,
        };
        match connected {
            Ok(()) => return Ok(()),
            Err(e) if Instant::now() > until => bail!("the other node isn't reached: {e}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The other node's actor, once it is known here.
async fn remote(until: Instant) -> Result<ActorRef<SinkMsg>> {
    loop {
        let members = ractor::pg::get_members(&GROUP.to_owned());
        if let Some(sink) = members.into_iter().find(|member| !member.get_id().is_local()) {
            return Ok(sink.into());
        }
        if Instant::now() > until {
            bail!("the other node's actor wasn't seen");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
