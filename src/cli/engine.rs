//! `fleet engine …`: the engines that can be asked, on this node and on the others.

use std::time::Duration;

use fleet_api::wire::EngineStatus;

use super::args::{EngineCommand, Global, WhichEngine};
use super::client::Client;
use super::exit::Exit;
use super::failure::Outcome;
use super::table;
use super::terminal::Terminal;

/// How often an engine that is waited for is looked at.
const GLANCE: Duration = Duration::from_millis(500);

/// Runs a `fleet engine` command.
pub async fn run(global: &Global, terminal: &Terminal, command: &EngineCommand) -> Outcome {
    let client = Client::open(global).await?;
    match command {
        EngineCommand::Status => show(terminal, &client.engines().await?),
        EngineCommand::Drain { which, wait } => drain(&client, terminal, which, *wait).await,
        EngineCommand::Resume(which) => {
            let node = which.node.as_deref();
            show(terminal, &client.drain_engine(&which.engine, node, false).await?)
        }
    }
}

async fn drain(client: &Client, terminal: &Terminal, which: &WhichEngine, wait: bool) -> Outcome {
    let node = which.node.as_deref();
    let mut drained = client.drain_engine(&which.engine, node, true).await?;
    let busy = |engine: &EngineStatus| engine.stats.active + engine.stats.queued > 0;
    let mut told = 0;
    while wait && drained.iter().any(busy) {
        let left: u32 = drained.iter().map(|engine| engine.stats.active + engine.stats.queued).sum();
        if left != told {
            terminal.note(format_args!("{}: {left} requests to go", which.engine));
            told = left;
        }
        tokio::time::sleep(GLANCE).await;
        // Once more is no harm, and says of the same engines how they are.
        drained = client.drain_engine(&which.engine, node, true).await?;
    }
    show(terminal, &drained)
}

fn show(terminal: &Terminal, engines: &[EngineStatus]) -> Outcome {
    if terminal.json_wanted() {
        terminal.json(&engines)?;
        return Ok(Exit::Ok);
    }
    terminal.data(rows(engines))?;
    for engine in engines.iter().filter(|engine| engine.mock) {
        terminal.note(format_args!("{} is a mock: its replies come from a script, no model is asked", engine.name));
    }
    for (engine, why) in engines.iter().filter_map(|engine| Some((engine, engine.why.as_ref()?))) {
        terminal.note(format_args!("{}: {why}", engine.name));
    }
    Ok(Exit::Ok)
}

/// The engines as a table. Tokens and requests are counted from the engine's start; CACHED is the share of prompt tokens
/// that were taken from the prefix cache.
fn rows(engines: &[EngineStatus]) -> String {
    let header = [
        "ENGINE",
        "NODE",
        "KIND",
        "MODEL",
        "STATE",
        "CONTEXT",
        "ACTIVE",
        "QUEUED",
        "DONE",
        "TOKENS IN",
        "OUT",
        "CACHED",
    ];
    let mut table = table::table(header);
    for engine in engines {
        let stats = &engine.stats;
        let cells = [
            engine.name.clone(),
            engine.node.clone(),
            engine.kind.clone(),
            engine.model.clone(),
            engine.state.clone(),
            engine.context.to_string(),
            stats.active.to_string(),
            stats.queued.to_string(),
            stats.completed.to_string(),
            stats.prompt_tokens.to_string(),
            stats.completion_tokens.to_string(),
            share(stats.cached_tokens, stats.prompt_tokens),
        ];
        table::row(&mut table, cells);
    }
    table::text(&table)
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.0} %", part as f64 * 100.0 / whole as f64) }
}
