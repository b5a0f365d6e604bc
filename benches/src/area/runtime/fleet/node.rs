//! The two processes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fleet_runtime::cluster::{ActorKinds, ControlPorts, Launch, LaunchOptions, RunningNode};
use fleet_runtime::membership::{Member, MemberState};
use fleet_runtime::net::JoinToken;
use fleet_runtime::placement::{Amounts, Resources};
use tempfile::TempDir;

use super::super::driver::{Killed, until_orphaned};
use super::actors::Sink;

/// For whatever has to come about at all.
pub const LONG: Duration = Duration::from_secs(60);

/// The worker's process; ends with the one that started it.
pub fn worker(state: &str, join: &str, token: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let launch = launch(Path::new(state), "worker", 1_000_000_000)?;
    let _node = runtime.block_on(async { launch.join(join, &JoinToken::parse(token)?).await.context("joining") })?;
    until_orphaned();
    Ok(())
}

/// The control node in this process, the worker in another.
pub struct Nodes {
    pub control: RunningNode,
    _worker: Killed,
    _state: TempDir,
}

impl Nodes {
    /// Returns when both are alive to each other.
    pub async fn start() -> Result<Self> {
        let state = tempfile::tempdir()?;
        let ports = ControlPorts::alone(&state.path().join("journal"))?;
        let control = launch(&state.path().join("control"), "control", 0)?.control(ports).await?;
        let worker = Command::new(std::env::current_exe()?)
            .args(["__runtime", "fleet-worker"])
            .arg(state.path().join("worker"))
            .args([control.advertised(), &control.invite()?.expose()])
            .stdin(Stdio::piped())
            .spawn()?;
        let worker = Killed(worker);
        let mut members = control.cluster().members();
        let two = |m: &Vec<Member>| m.iter().filter(|member| member.state == MemberState::Alive).count() == 2;
        tokio::time::timeout(LONG, members.wait_for(two)).await.context("the worker didn't join")??;
        Ok(Self { control, _worker: worker, _state: state })
    }
}

fn launch(state: &Path, name: &str, cpu_milli: u64) -> Result<Launch> {
    let amounts = Amounts { cpu_milli, ..Amounts::default() };
    Ok(Launch {
        state_dir: state.to_owned(),
        name: name.parse()?,
        listen: "127.0.0.1:0".parse()?,
        advertised: None,
        totals: Resources { amounts, ..Resources::default() },
        kinds: ActorKinds::builder().with::<Sink>(),
        options: LaunchOptions::default(),
    })
}
