//! What a lost node costs: three nodes, each a process, with a hundred actors that keep state; one is killed or frozen.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fleet_runtime::cluster::{ActorKind, ActorKinds, ClusterNode, ControlPorts, RunningNode};
use fleet_runtime::membership::{Member, MemberState};
use fleet_runtime::placement::{Demand, Strategy};
use fleet_runtime::{Actor, ActorError, Context, Kept, Message, Ref, ReplyTo, Restart};
use tokio::task::JoinSet;
use wincode::{SchemaRead, SchemaWrite};

use super::nodes::{Killed, LONG, join, launch, on_the_worker, until_orphaned};
use super::{ROLE, Run};
use crate::{Figure, Target};

/// How this program is told to be a worker.
pub const WORKER: &str = "faults-worker";
const ACTORS: u64 = 100;
const ROUNDS: usize = 5;
/// The default of `[cluster] limits`, by which the targets are stated.
const LEASE: Duration = Duration::from_secs(3);
const AFTER_LEASE: Duration = Duration::from_secs(2);
const ADDED: u64 = 7;

struct Counter(Kept<u64>);

#[derive(Debug, SchemaWrite, SchemaRead)]
enum CounterMsg {
    Add(u64, ReplyTo<u64>),
}

impl Message for CounterMsg {
    const KIND: &'static str = "bench.counter";
}

impl Actor for Counter {
    type Msg = CounterMsg;
    type Args = u64;

    async fn start(first: u64, ctx: &Context<CounterMsg>) -> Result<Self, ActorError> {
        Ok(Self(Kept::load(ctx, first).await?))
    }

    async fn handle(&mut self, msg: CounterMsg, _: &Context<CounterMsg>) -> Result<(), ActorError> {
        let CounterMsg::Add(n, reply) = msg;
        let add = |count: &mut u64| {
            *count += n;
            *count
        };
        reply.send(self.0.change(add).await.map_err(ActorError::failed)?);
        Ok(())
    }
}

impl ActorKind for Counter {
    const NAME: &'static str = "bench.counter";
    const VERSION: u16 = 1;
}

/// The worker's process; ends with the one that started it.
pub fn worker(args: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _node = runtime.block_on(join(args, ActorKinds::builder().with::<Counter>()))?;
    until_orphaned();
    Ok(())
}

/// Medians of the rounds.
pub fn measure(run: &Run) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(faults(run.count(ROUNDS, 1)))
}

async fn faults(rounds: usize) -> Result<Vec<Figure>> {
    let state = tempfile::tempdir()?;
    let ports = ControlPorts::alone(&state.path().join("journal"))?;
    let launch = launch(&state.path().join("control"), "control", 0, ActorKinds::builder())?;
    let control = launch.control(ports).await?;
    let (mut killed, mut suspected, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        for freeze in [false, true] {
            let mut workers = Vec::new();
            for n in 0..2 {
                workers.push(start(&state.path().join(format!("{round}-{freeze}-{n}")), &control)?);
            }
            alive(control.cluster(), 3).await?;
            let keys = format!("{round}-{freeze}");
            let counters = counters(control.cluster(), &keys).await?;
            all_answer(&counters, ADDED).await?;
            let began = Instant::now();
            if freeze {
                signal(&workers[0].0, "STOP")?;
                suspected.push(until_suspected(control.cluster(), began).await?);
            } else {
                workers[0].0.kill()?;
            }
            all_answer(&counters, 2 * ADDED).await?;
            if freeze { &mut frozen } else { &mut killed }.push(began.elapsed().as_secs_f64());
            for n in 0..ACTORS {
                control.cluster().stop_actor(&format!("{keys}/{n}")).await?;
            }
            drop(workers);
            alive(control.cluster(), 1).await?;
        }
    }
    control.shutdown().await;
    let (killed, frozen) = (median(killed), median(frozen));
    Ok(vec![
        Figure::new(
            format!("kill -9 of a node: all of its part of {ACTORS} actors answer elsewhere, with their state, after"),
            killed,
            "s",
        )
        .must(Target::AtMost(5.0))
        .aim(Target::AtMost(4.0)),
        Figure::new("SIGSTOP of a node: it is suspected after", median(suspected), "s").must(Target::AtMost(3.0)),
        Figure::new("SIGSTOP of a node: all answer elsewhere after (of that the lease is 3 s)", frozen, "s")
            .must(Target::AtMost((LEASE + AFTER_LEASE).as_secs_f64())),
    ])
}

fn start(state: &std::path::Path, control: &RunningNode) -> Result<Killed> {
    let process = Command::new(std::env::current_exe()?)
        .args([ROLE, WORKER])
        .arg(state)
        .args([control.advertised(), &control.invite()?.expose()])
        .stdin(Stdio::piped())
        .spawn()?;
    Ok(Killed(process))
}

async fn alive(cluster: &ClusterNode, count: usize) -> Result<()> {
    let mut members = cluster.members();
    let of = |m: &Vec<Member>, state| m.iter().filter(|member| member.state == state).count();
    // None of an earlier round may be in doubt still: it would be taken for the one that is frozen next.
    let so_many = |m: &Vec<Member>| of(m, MemberState::Alive) == count && of(m, MemberState::Suspect) == 0;
    tokio::time::timeout(LONG, members.wait_for(so_many)).await.context("the workers didn't come or go")??;
    Ok(())
}

async fn counters(cluster: &ClusterNode, keys: &str) -> Result<Vec<Ref<CounterMsg>>> {
    let mut counters = Vec::new();
    for n in 0..ACTORS {
        let demand = Demand { strategy: Strategy::Spread, ..on_the_worker() };
        counters.push(cluster.spawn::<Counter>(&format!("{keys}/{n}"), &n, Restart::Permanent, demand, LONG).await?);
    }
    Ok(counters)
}

/// Asks all at the same time, each until it answers; a change may have been made by a question that got no answer.
async fn all_answer(counters: &[Ref<CounterMsg>], at_least: u64) -> Result<()> {
    let mut asking = JoinSet::new();
    for (n, counter) in counters.iter().cloned().enumerate() {
        asking.spawn(async move {
            let until = Instant::now() + LONG;
            loop {
                match counter.ask(Duration::from_secs(5), |reply| CounterMsg::Add(ADDED, reply)).await {
                    Ok(count) => break Ok((n as u64, count)),
                    Err(e) if Instant::now() > until => break Err(e),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
    }
    while let Some(asked) = asking.join_next().await {
        let (n, count) = asked??;
        ensure!(count >= n + at_least, "counter {n} has forgotten something: it counts {count}");
    }
    Ok(())
}

async fn until_suspected(cluster: &ClusterNode, began: Instant) -> Result<f64> {
    let mut members = cluster.members();
    let suspect = |m: &Vec<Member>| m.iter().any(|member| matches!(member.state, MemberState::Suspect));
    tokio::time::timeout(LONG, members.wait_for(suspect)).await.context("it was never suspected")??;
    Ok(began.elapsed().as_secs_f64())
}

fn signal(process: &Child, name: &str) -> Result<()> {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status()?;
    ensure!(sent.success(), "kill -{name} failed");
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
