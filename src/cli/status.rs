//! `fleet status`: the cluster at a glance.

use std::collections::BTreeMap;

use fleet_runtime::job::JobRecord;

use super::args::Global;
use super::client::Client;
use super::exit::Exit;
use super::failure::Outcome;
use super::node;
use super::terminal::Terminal;

/// Prints the nodes, and how many jobs are in which state.
pub async fn run(global: &Global, terminal: &Terminal) -> Outcome {
    let client = Client::open(global).await?;
    let (nodes, jobs, waiting) = (client.nodes().await?, client.jobs(&[]).await?, client.approvals().await?);
    if terminal.json_wanted() {
        let waiting: Vec<&str> = waiting.iter().map(|approval| approval.id.as_str()).collect();
        terminal.json(&serde_json::json!({ "nodes": nodes, "jobs": by_state(&jobs), "approvals": waiting }))?;
        return Ok(Exit::Ok);
    }
    terminal.data(node::rows(&nodes))?;
    let counted: Vec<String> = by_state(&jobs).into_iter().map(|(state, n)| format!("{n} {state}")).collect();
    let counted = if counted.is_empty() { "none".to_owned() } else { counted.join(", ") };
    terminal.data(format_args!("\njobs       {counted}"))?;
    if !waiting.is_empty() {
        terminal.data(format_args!("approvals  {} wait for a person (fleet approval list)", waiting.len()))?;
    }
    Ok(Exit::Ok)
}

fn by_state(jobs: &[JobRecord]) -> BTreeMap<&'static str, usize> {
    let mut counted = BTreeMap::new();
    for job in jobs {
        *counted.entry(job.state.as_str()).or_default() += 1;
    }
    counted
}
