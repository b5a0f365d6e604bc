//! Two nodes of Fleet, each a process as `fleetd` is: what more than one area measures between.

use std::io::{BufRead as _, stdin};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use fleet_runtime::cluster::{ActorKinds, ControlPorts, KindsBuilder, Launch, LaunchOptions, RunningNode};
use fleet_runtime::membership::{Member, MemberState};
use fleet_runtime::net::JoinToken;
use fleet_runtime::placement::{Amounts, Demand, Request, Resources};
use tempfile::TempDir;

use super::ROLE;

/// For whatever has to come about at all.
pub const LONG: Duration = Duration::from_secs(60);

/// A process that is killed when nobody needs it any more.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns when standard input ends: whoever started this process has ended, even if by a kill.
pub fn until_orphaned() {
    let mut line = String::new();
    while stdin().lock().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        line.clear();
    }
}

/// The control node in this process, the worker in another.
pub struct Nodes {
    pub control: RunningNode,
    _worker: Killed,
    /// Where both keep their state; goes last.
    pub state: TempDir,
}

impl Nodes {
    /// Starts both, the worker as that role of this program. Returns when they are alive to each other.
    pub async fn start(worker: &str) -> Result<Self> {
        Self::start_with(worker, |launch| launch).await
    }

    /// The same with other options of the control node; those of the worker are its own affair.
    pub async fn start_with(worker: &str, options: impl FnOnce(Launch) -> Launch) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let ports = ControlPorts::alone(&state.path().join("journal"))?;
        let launch = launch(&state.path().join("control"), "control", 0, ActorKinds::builder())?;
        let control = options(launch).control(ports).await?;
        let process = Command::new(std::env::current_exe()?)
            .args([ROLE, worker])
            .arg(state.path().join("worker"))
            .args([control.advertised(), &control.invite()?.expose()])
            .stdin(Stdio::piped())
            .spawn()?;
        let process = Killed(process);
        let mut members = control.cluster().members();
        let two = |m: &Vec<Member>| m.iter().filter(|member| member.state == MemberState::Alive).count() == 2;
        tokio::time::timeout(LONG, members.wait_for(two)).await.context("the worker didn't join")??;
        Ok(Self { control, state, _worker: process })
    }
}

/// The worker's side: joins with what [`Nodes::start`] gave it.
pub async fn join(args: &[String], kinds: KindsBuilder) -> Result<RunningNode> {
    join_with(args, kinds, |launch| launch).await
}

/// The same with other options.
pub async fn join_with(
    args: &[String],
    kinds: KindsBuilder,
    options: impl FnOnce(Launch) -> Launch,
) -> Result<RunningNode> {
    let [state, address, token] = args else { anyhow::bail!("a worker takes a folder, an address and a token") };
    let name = format!("worker-{}", std::process::id());
    let launch = launch(Path::new(state), &name, 1_000_000_000, kinds)?;
    options(launch).join(address, &JoinToken::parse(token)?).await.context("joining")
}

/// Large messages take the connection, as between two machines.
pub fn apart(mut launch: Launch) -> Launch {
    launch.options.network.lane.shared_memory = ByteSize::b(0);
    launch
}

/// A place on the worker: the control node offers nothing.
pub fn on_the_worker() -> Demand {
    Demand { request: Request { cpu_milli: 1, ..Request::default() }, ..Demand::default() }
}

pub fn launch(state: &Path, name: &str, cpu_milli: u64, kinds: KindsBuilder) -> Result<Launch> {
    let amounts = Amounts { cpu_milli, ..Amounts::default() };
    Ok(Launch {
        state_dir: state.to_owned(),
        name: name.parse()?,
        listen: "127.0.0.1:0".parse()?,
        advertised: None,
        totals: Resources { amounts, ..Resources::default() },
        kinds,
        options: LaunchOptions::default(),
    })
}
