//! `fleet version`: this program's version and, where one answers, the node's.

use super::args::Global;
use super::client::Client;
use super::exit::Exit;
use super::failure::Outcome;
use super::terminal::Terminal;

/// Prints the versions. A node that doesn't answer is no failure: the question was which version this is.
pub async fn run(global: &Global, terminal: &Terminal) -> Outcome {
    let mine = env!("CARGO_PKG_VERSION");
    let node = match Client::open(global).await {
        Ok(client) => client.node().await,
        Err(failure) => Err(failure),
    };
    if terminal.json_wanted() {
        terminal.json(&serde_json::json!({ "fleet": mine, "node": node.as_ref().ok() }))?;
        return Ok(Exit::Ok);
    }
    terminal.data(format_args!("fleet   {mine}"))?;
    match node {
        Ok(node) => terminal.data(format_args!("fleetd  {} ({} at {})", node.version, node.name, node.listen))?,
        Err(failure) => terminal.note(format_args!("no node asked: {}", failure.what)),
    }
    Ok(Exit::Ok)
}
