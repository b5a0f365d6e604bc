//! A hundred supervised actors over the processes of a small cluster, one of which is killed.
//!
//!     cargo run -p actor_kind            # all by itself: a control node, two workers, a kill -9
//!     actor_kind control --state DIR     # or by hand: prints how workers join
//!     actor_kind worker --state DIR --join HOST:PORT --token TOKEN

mod counter;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use counter::{Counter, CounterMsg};
use fleet_runtime::cluster::{ActorKinds, ControlPorts, Launch, LaunchOptions, RunningNode, Standing};
use fleet_runtime::membership::MemberState;
use fleet_runtime::net::JoinToken;
use fleet_runtime::placement::{Amounts, Demand, Request, Resources, Strategy};
use fleet_runtime::{Ref, Restart};

const COUNTERS: u64 = 100;
const WORKERS: usize = 2;
const LONG: Duration = Duration::from_secs(60);

#[derive(Parser)]
#[command(about = "A hundred supervised actors over a cluster, one node of which is killed")]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// A control node that waits for workers.
    Control {
        #[arg(long)]
        state: PathBuf,
        #[arg(long, default_value = "127.0.0.1:7411")]
        listen: SocketAddr,
    },
    /// A node that runs what it is given.
    Worker {
        #[arg(long)]
        state: PathBuf,
        #[arg(long)]
        join: String,
        #[arg(long)]
        token: String,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    // What is said about the nodes goes to stderr; stdout is what the example shows.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    log.with_max_level(tracing_subscriber::filter::LevelFilter::WARN).init();
    match Args::parse().part {
        None => by_itself().await,
        Some(Part::Control { state, listen }) => {
            let node =
                launch(&state, "control", listen, 0)?.control(ControlPorts::alone(&state.join("journal"))?).await?;
            say(&format!(
                "join with: actor_kind worker --state DIR --join {} --token {}",
                node.advertised(),
                node.invite()?.expose()
            ));
            watch(&node).await
        }
        Some(Part::Worker { state, join, token }) => {
            let name = format!("worker-{}", std::process::id());
            let listen = "127.0.0.1:0".parse()?;
            let node = launch(&state, &name, listen, 1000 * COUNTERS)?.join(&join, &JoinToken::parse(&token)?).await?;
            watch(&node).await
        }
    }
}

/// A node that can start counters and has so much processor to offer, in thousandths.
fn launch(state: &Path, name: &str, listen: SocketAddr, cpu_milli: u64) -> Result<Launch> {
    let amounts = Amounts { cpu_milli, ..Amounts::default() };
    Ok(Launch {
        state_dir: state.to_owned(),
        name: name.parse()?,
        listen,
        advertised: None,
        totals: Resources { amounts, ..Resources::default() },
        kinds: ActorKinds::builder().with::<Counter>(),
        options: LaunchOptions::default(),
    })
}

/// Until this life of the node is over.
async fn watch(node: &RunningNode) -> Result<()> {
    let mut standing = node.cluster().standing();
    let over = |standing: &Standing| matches!(standing, Standing::MustRejoin { .. });
    let why = standing.wait_for(over).await?.to_owned();
    bail!("this node has to start anew: {why:?}")
}

async fn by_itself() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let state = dir.path().join("control");
    let ports = ControlPorts::alone(&state.join("journal"))?;
    let node = launch(&state, "control", "127.0.0.1:0".parse()?, 0)?.control(ports).await?;
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        workers.push(Worker::start(&dir.path().join(n.to_string()), &node)?);
    }
    let mut members = node.cluster().members();
    let all_up = |m: &Vec<fleet_runtime::membership::Member>| {
        m.iter().filter(|member| member.state == MemberState::Alive).count() == WORKERS + 1
    };
    tokio::time::timeout(LONG, members.wait_for(all_up)).await.context("the workers didn't join")??;
    say(&format!("{} nodes", WORKERS + 1));

    let began = Instant::now();
    let mut counters: Vec<Ref<CounterMsg>> = Vec::new();
    for n in 0..COUNTERS {
        let request = Request { cpu_milli: 1000, ..Request::default() };
        let demand = Demand { request, strategy: Strategy::Spread, ..Demand::default() };
        counters.push(
            node.cluster().spawn::<Counter>(&format!("counter/{n}"), &n, Restart::Permanent, demand, LONG).await?,
        );
    }
    say(&format!("{COUNTERS} counters started in {:.0?}: {}", began.elapsed(), census(&counters).await?));

    let victim = workers.remove(0);
    let killed = Instant::now();
    say(&format!("kill -9 {}", victim.0.id()));
    drop(victim);
    let census = census(&counters).await?;
    say(&format!("all {COUNTERS} answer again after {:.1?}: {census}", killed.elapsed()));
    drop(workers);
    Ok(())
}

/// Asks every counter where it lives; one that is on its way to another node is asked again.
async fn census(counters: &[Ref<CounterMsg>]) -> Result<String> {
    let mut by_process: BTreeMap<u32, u32> = BTreeMap::new();
    for (n, counter) in counters.iter().enumerate() {
        let until = Instant::now() + LONG;
        let (count, process) = loop {
            match counter.ask(Duration::from_secs(5), CounterMsg::Where).await {
                Ok(answer) => break answer,
                Err(e) if Instant::now() > until => bail!("counter {n}: {e}"),
                Err(_) => {}
            }
        };
        if count != n as u64 {
            bail!("counter {n} counts {count}");
        }
        *by_process.entry(process).or_default() += 1;
    }
    let parts: Vec<String> = by_process.iter().map(|(process, n)| format!("{n} in process {process}")).collect();
    Ok(parts.join(", "))
}

/// A worker process; killed when it is dropped.
struct Worker(Child);

impl Worker {
    fn start(state: &Path, control: &RunningNode) -> Result<Self> {
        let token = control.invite()?.expose();
        let worker = Command::new(std::env::current_exe()?)
            .args(["worker", "--join", control.advertised(), "--token", &token, "--state"])
            .arg(state)
            .spawn()?;
        Ok(Self(worker))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::print_stdout, reason = "what this example shows")]
fn say(line: &str) {
    println!("{line}");
}
