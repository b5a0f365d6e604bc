//! `fleet node …`: the nodes of the cluster.

use fleet_api::plain;
use fleet_runtime::cluster::{NodeExplanation, NodeRecord};
use fleet_runtime::placement::Amounts;

use super::args::{Global, NodeCommand};
use super::client::Client;
use super::exit::Exit;
use super::failure::Outcome;
use super::table;
use super::terminal::Terminal;

/// Runs a `fleet node` command.
pub async fn run(global: &Global, terminal: &Terminal, command: &NodeCommand) -> Outcome {
    let client = Client::open(global).await?;
    match command {
        NodeCommand::Invite => invite(&client, terminal).await,
        NodeCommand::List => list(&client, terminal).await,
        NodeCommand::Explain { node } => {
            let explained = client.explain_node(node).await?;
            show(terminal, &explained)
        }
        NodeCommand::Drain { node } => {
            let drained = client.drain(node).await?;
            terminal.note("it gets nothing new; what can begin elsewhere moves off it");
            show(terminal, &drained)
        }
    }
}

async fn invite(client: &Client, terminal: &Terminal) -> Outcome {
    let invitation = client.invite().await?;
    if terminal.json_wanted() {
        terminal.json(&invitation)?;
        return Ok(Exit::Ok);
    }
    terminal.note("run this on the new node; the token works once, and not for long");
    terminal.data(format_args!("fleetd --join {} --token {}", invitation.control, invitation.token))?;
    Ok(Exit::Ok)
}

async fn list(client: &Client, terminal: &Terminal) -> Outcome {
    let nodes = client.nodes().await?;
    if terminal.json_wanted() {
        terminal.json(&nodes)?;
        return Ok(Exit::Ok);
    }
    terminal.data(rows(&nodes))?;
    Ok(Exit::Ok)
}

/// The nodes as a table.
pub fn rows(nodes: &[NodeRecord]) -> String {
    let mut table = table::table(["NODE", "STATE", "SINCE", "ADDRESS", "ACTORS", "FREE OF", "LABELS"]);
    for node in nodes {
        let name = if node.is_control { format!("{} (control)", node.name) } else { node.name.clone() };
        let labels: Vec<String> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let cells = [
            name,
            node.state.as_str().to_owned(),
            table::time(node.since),
            node.addr.clone(),
            node.actors.to_string(),
            free_of(node.free.as_ref(), &node.totals),
            labels.join(" "),
        ];
        table::row(&mut table, cells);
    }
    table::text(&table)
}

/// `1.5/2 cpu, 14/16 GiB`
fn free_of(free: Option<&Amounts>, all: &Amounts) -> String {
    let nothing = Amounts::default();
    let of = free.unwrap_or(&nothing);
    let cpu = format!("{}/{} cpu", milli(of.cpu_milli), milli(all.cpu_milli));
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / (1u64 << 30) as f64);
    let memory = format!("{}/{} GiB", gib(of.memory_bytes), gib(all.memory_bytes));
    let gpus = (!all.gpus.is_empty()).then(|| {
        let whole = all.gpus.iter().filter(|(uuid, bytes)| of.gpus.get(*uuid) == Some(bytes)).count();
        format!("{whole}/{} gpu", all.gpus.len())
    });
    [Some(cpu), Some(memory), gpus].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn milli(n: u64) -> String {
    let text = format!("{:.2}", n as f64 / 1000.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn show(terminal: &Terminal, explained: &NodeExplanation) -> Outcome {
    if terminal.json_wanted() {
        terminal.json(explained)?;
        return Ok(Exit::Ok);
    }
    for line in explained.to_string().lines() {
        terminal.data(plain::line(line))?;
    }
    for actor in &explained.actors {
        terminal.data(format_args!("  actor {}", plain::line(actor)))?;
    }
    Ok(Exit::Ok)
}
