//! Messages between two nodes: two processes on this machine, mutual TLS, everything bounded as by default.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fleet_runtime::cluster::{ActorKind, ActorKinds, ControlPorts, Launch, LaunchOptions, RunningNode};
use fleet_runtime::membership::MemberState;
use fleet_runtime::net::JoinToken;
use fleet_runtime::placement::{Amounts, Demand, Request, Resources};
use fleet_runtime::{Actor, ActorError, Context, Message, Payload, Ref, ReplyTo, Restart};
use wincode::{SchemaRead, SchemaWrite};

use crate::Figure;

const LONG: Duration = Duration::from_secs(60);
const ROUNDS: usize = 5;

/// Takes messages and counts them.
struct Sink(u64);

#[derive(Debug, SchemaWrite, SchemaRead)]
enum SinkMsg {
    Take(Payload),
    Echo(Payload, ReplyTo<Payload>),
    Count(ReplyTo<u64>),
}

impl Message for SinkMsg {
    const KIND: &'static str = "bench.sink";
}

impl Actor for Sink {
    type Msg = SinkMsg;
    type Args = u64;

    async fn start(from: u64, _: &Context<SinkMsg>) -> Result<Self, ActorError> {
        Ok(Self(from))
    }

    async fn handle(&mut self, msg: SinkMsg, _: &Context<SinkMsg>) -> Result<(), ActorError> {
        match msg {
            SinkMsg::Take(_) => self.0 += 1,
            SinkMsg::Echo(payload, reply) => reply.send(payload),
            SinkMsg::Count(reply) => reply.send(self.0),
        }
        Ok(())
    }
}

impl ActorKind for Sink {
    const NAME: &'static str = "bench.sink";
    const VERSION: u16 = 1;
}

/// Median of five rounds each.
pub fn measure() -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // On a worker thread, as actors are: a thread of its own would have to be woken for each answer.
    runtime.block_on(async { tokio::spawn(both()).await? })
}

/// The other process; runs until it is killed.
pub fn worker(args: &[String]) -> Result<()> {
    let [state, join, token] = args else { bail!("the worker takes a folder, an address and a token") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let _node = launch(Path::new(state), "worker", 64_000)?.join(join, &JoinToken::parse(token)?).await?;
        std::future::pending::<Result<()>>().await
    })
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

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn both() -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let ports = ControlPorts::alone(&dir.path().join("journal"))?;
    let node = launch(&dir.path().join("control"), "control", 0)?.control(ports).await?;
    let worker = Command::new(std::env::current_exe()?)
        .arg("__worker")
        .arg(dir.path().join("worker"))
        .args([node.advertised(), &node.invite()?.expose()])
        .spawn()?;
    let _worker = Killed(worker);
    let mut members = node.cluster().members();
    let two = |m: &Vec<fleet_runtime::membership::Member>| {
        m.iter().filter(|member| member.state == MemberState::Alive).count() == 2
    };
    tokio::time::timeout(LONG, members.wait_for(two)).await.context("the worker didn't join")??;
    let sink = spawn(&node, 0).await?;
    let mut figures = Vec::new();
    for (what, size, count) in [("64 B", 64, 200_000), ("1 KB", 1024, 100_000), ("64 KB", 65_536, 5_000)] {
        let rate = median_of(|| tells(&sink, size, count)).await?;
        figures.push(Figure::new(format!("remote tell, {what}, one sender to one actor, mutual TLS"), rate, "1/s"));
    }
    let bytes = median_of(|| tells(&sink, 16 << 20, 20)).await? * 16.0 / 1024.0;
    figures.push(Figure::new("16 MiB payloads, mutual TLS", bytes, "GiB/s"));
    figures.push(Figure::new("remote ask p50, 64 B, one in flight", median_of(|| ask(&sink)).await?, "µs"));
    for flying in [64, 1024] {
        let rate = median_of(|| asks(&sink, flying)).await?;
        figures.push(Figure::new(format!("remote ask, 64 B, {flying} in flight"), rate, "1/s"));
    }
    figures.push(Figure::new("remote supervised spawn, one after the other", spawns(&node).await?, "1/s"));
    Ok(figures)
}

async fn spawn(node: &RunningNode, n: u64) -> Result<Ref<SinkMsg>> {
    let demand = Demand { request: Request { cpu_milli: 1, ..Request::default() }, ..Demand::default() };
    Ok(node.cluster().spawn::<Sink>(&format!("sink/{n}"), &0, Restart::Permanent, demand, LONG).await?)
}

async fn median_of<F: Future<Output = Result<f64>>>(round: impl Fn() -> F) -> Result<f64> {
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        values.push(round().await?);
    }
    values.sort_by(f64::total_cmp);
    Ok(values[ROUNDS / 2])
}

/// Messages a second, until the last has been taken.
async fn tells(sink: &Ref<SinkMsg>, size: usize, count: u64) -> Result<f64> {
    let payload = Payload::new(vec![7; size]);
    let before = sink.ask(LONG, SinkMsg::Count).await?;
    let began = Instant::now();
    for _ in 0..count {
        sink.tell(SinkMsg::Take(payload.clone())).await?;
    }
    let after = sink.ask(LONG, SinkMsg::Count).await?;
    anyhow::ensure!(after - before == count, "{count} sent, {} taken", after - before);
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

async fn ask(sink: &Ref<SinkMsg>) -> Result<f64> {
    let payload = Payload::new(vec![7; 64]);
    let mut times = Vec::new();
    for _ in 0..5_000 {
        let began = Instant::now();
        sink.ask(LONG, |reply| SinkMsg::Echo(payload.clone(), reply)).await?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

async fn asks(sink: &Ref<SinkMsg>, flying: usize) -> Result<f64> {
    let each = 100_000 / flying;
    let began = Instant::now();
    let askers: Vec<_> = (0..flying)
        .map(|_| {
            let (sink, payload) = (sink.clone(), Payload::new(vec![7; 64]));
            tokio::spawn(async move {
                for _ in 0..each {
                    sink.ask(LONG, |reply| SinkMsg::Echo(payload.clone(), reply)).await?;
                }
                Ok::<_, anyhow::Error>(())
            })
        })
        .collect();
    for asker in askers {
        asker.await??;
    }
    Ok((each * flying) as f64 / began.elapsed().as_secs_f64())
}

async fn spawns(node: &RunningNode) -> Result<f64> {
    let began = Instant::now();
    for n in 1..=1_000 {
        spawn(node, n).await?;
    }
    Ok(1_000.0 / began.elapsed().as_secs_f64())
}
