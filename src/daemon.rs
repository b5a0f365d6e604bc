//! The program `fleetd`: arguments, log, banner, signals. What a node is made of is in [`crate::node`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use fleet_runtime::net::JoinToken;
use futures::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{ClusterConfig, Config, LogFormat, LogOptions};
use crate::node::{Ended, Join, Node};
use crate::state::StateDir;

/// A Fleet node: keeps the journal, runs jobs, serves the API.
#[derive(Debug, Parser)]
#[command(name = "fleetd", version)]
struct Args {
    /// The configuration; without it every key has its default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the node keeps its state; goes before the configuration.
    #[arg(long, env = "FLEET_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where to listen; goes before the configuration. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Join the cluster of the control node there; `fleet node invite` prints the whole command. Afterwards the node
    /// finds its cluster by itself.
    #[arg(long, value_name = "HOST:PORT")]
    join: Option<String>,
    /// The one-time token to join with.
    #[arg(long, value_name = "TOKEN", env = "FLEET_JOIN_TOKEN", hide_env_values = true, requires = "join")]
    token: Option<String>,
    /// A file that holds the token to join with, so that it isn't seen among the processes.
    #[arg(long, value_name = "FILE", conflicts_with = "token", requires = "join")]
    token_file: Option<PathBuf>,
    /// The node's name, unique in its cluster; goes before the configuration.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where other nodes reach this one; goes before the configuration. Port 0 takes a free one and keeps it.
    #[arg(long, value_name = "ADDR")]
    cluster_listen: Option<SocketAddr>,
    /// Be the worker of that GPU, for a node that is the parent of this process.
    #[arg(long, hide = true, value_name = "UUID", requires = "gpu_engines")]
    gpu_worker: Option<String>,
    /// The engines of the configuration that the worker runs.
    #[arg(long, hide = true, value_name = "NAME", value_delimiter = ',', requires = "gpu_worker")]
    gpu_engines: Vec<String>,
    /// Read the configuration, say what is wrong with it, and start nothing.
    #[arg(long)]
    check: bool,
}

/// The whole program. The caller has dealt with the sandbox's re-execution already: from here on there may be threads.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let config = configure(args)?;
    if args.check {
        say(format_args!("the configuration is right"));
        return Ok(());
    }
    start_log(&config.log)?;
    let state = StateDir::resolve(config.node.state_dir.as_deref())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("can't start the runtime")?;
    let join = join(args)?;
    let served = runtime.block_on(serve(config, state, join));
    // What still blocks (a model that is being read) must not hold the end up; nothing of it needs saving.
    runtime.shutdown_background();
    served
}

fn configure(args: &Args) -> anyhow::Result<Config> {
    let path = args.config.as_deref().unwrap_or(Path::new("(built-in)"));
    let mut config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    if let Some(dir) = &args.state_dir {
        config.node.state_dir = Some(dir.clone());
    }
    if let Some(listen) = args.listen {
        config.node.listen = listen;
    }
    if let Some(name) = &args.name {
        config.node.name.clone_from(name);
    }
    if let Some(listen) = args.cluster_listen {
        config.cluster.listen = listen;
    } else if args.join.is_some() && config.cluster.listen == ClusterConfig::default().listen {
        // Nobody has to know where a member listens, and there may be several on one machine.
        config.cluster.listen.set_port(0);
    }
    if let Some(gpu) = &args.gpu_worker {
        config = config.into_worker(gpu.clone(), &args.gpu_engines);
    }
    config.check(path)?;
    Ok(config)
}

fn join(args: &Args) -> anyhow::Result<Option<Join>> {
    let Some(control) = args.join.clone() else { return Ok(None) };
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => {
            Some(std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?)
        }
        (None, None) => None,
    };
    let token = token
        .map(|text| {
            JoinToken::parse(text.trim())
                .context("FLT-N015: --token isn't a join token\n  next: copy all of what `fleet node invite` prints")
        })
        .transpose()?;
    Ok(Some(Join { control, token }))
}

async fn serve(config: Config, state: StateDir, mut join: Option<Join>) -> anyhow::Result<()> {
    // Before anything is started: a signal in between must not be lost.
    let (signal, parent) = (stop_signal()?, parent_gone(config.worker_of.is_some()));
    let mut stop = std::pin::pin!(futures::future::select(Box::pin(signal), Box::pin(parent)).map(drop));
    loop {
        let node = Node::start(config.clone(), state.clone(), join.take()).await?;
        for line in node.banner() {
            say(format_args!("{line}"));
        }
        match node.run(stop.as_mut()).await? {
            Ended::Stopped => break,
            Ended::Outlived => say(format_args!("the cluster gave this node up; it joins again in a new life")),
        }
    }
    say(format_args!("stopped; what was running goes on at the next start"));
    Ok(())
}

/// Resolves at the first SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the parent of a worker is gone or lets it end: then its standard input ends. Never for another node.
async fn parent_gone(worker: bool) {
    use tokio::io::AsyncReadExt;
    if !worker {
        return std::future::pending().await;
    }
    let (mut input, mut nothing) = (tokio::io::stdin(), [0; 64]);
    while input.read(&mut nothing).await.is_ok_and(|n| n > 0) {}
}

/// Put before the filter, so that it can overrule it.
const QUIET: &str = "ractor=warn,ractor_cluster=error";

fn start_log(options: &LogOptions) -> anyhow::Result<()> {
    let filter = std::env::var("FLEET_LOG").unwrap_or_else(|_| options.filter.clone());
    // What the libraries say of their links we say too, by the names of nodes.
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .with_context(|| format!("[log] filter = {filter:?} isn't a filter; use a level such as \"info\""))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match options.format {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            log.with_ansi(colour).with_target(false).try_init()
        }
    };
    started.map_err(|e| anyhow::anyhow!("can't start the log: {e}"))
}

/// Says something to whoever started the node; stdout stays empty.
fn say(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // A closed stderr is no reason for a node to end.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
