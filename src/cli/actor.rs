//! `fleet actor …`: the actors of the cluster.

use fleet_api::plain;
use fleet_runtime::cluster::{ActorFilter, ActorState};

use super::args::{ActorCommand, ActorList, Global};
use super::client::Client;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::table;
use super::terminal::Terminal;

/// Runs a `fleet actor` command.
pub async fn run(global: &Global, terminal: &Terminal, command: &ActorCommand) -> Outcome {
    let client = Client::open(global).await?;
    match command {
        ActorCommand::List(args) => list(&client, terminal, args).await,
        ActorCommand::Explain { key } => {
            let explained = client.explain_actor(key).await?;
            if terminal.json_wanted() {
                terminal.json(&explained)?;
                return Ok(Exit::Ok);
            }
            for line in explained.to_string().lines() {
                terminal.data(plain::line(line))?;
            }
            Ok(Exit::Ok)
        }
        ActorCommand::Stop { key } => {
            let stopped = client.stop_actor(key).await?;
            if terminal.json_wanted() {
                terminal.json(&stopped)?;
            } else {
                terminal.note(format_args!("{} is over, and isn't started again", plain::line(key)));
            }
            Ok(Exit::Ok)
        }
    }
}

async fn list(client: &Client, terminal: &Terminal, args: &ActorList) -> Outcome {
    let state = args.state.as_deref().map(state).transpose()?;
    let filter = ActorFilter {
        key_prefix: args.prefix.clone(),
        kind: args.kind.clone(),
        node: args.node.clone(),
        state,
        with_over: args.all || state == Some(ActorState::Over),
    };
    let actors = client.actors(&filter).await?;
    if terminal.json_wanted() {
        terminal.json(&actors)?;
        return Ok(Exit::Ok);
    }
    if actors.is_empty() {
        terminal.note("no actors");
        return Ok(Exit::Ok);
    }
    let mut table = table::table(["ACTOR", "KIND", "STATE", "NODE", "SINCE", "RESTARTS"]);
    for actor in actors {
        let node = actor.node.unwrap_or_else(|| "-".to_owned());
        let (since, state) = (table::time(actor.since), actor.state.to_string());
        table::row(&mut table, [actor.key, actor.kind, state, node, since, actor.restarts.to_string()]);
    }
    terminal.data(table::text(&table))?;
    Ok(Exit::Ok)
}

fn state(name: &str) -> Result<ActorState, Failure> {
    let quoted = serde_json::Value::String(name.to_owned());
    serde_json::from_value(quoted).map_err(|_| {
        Failure::input(
            format!("{:?} isn't a state of an actor", plain::line(name)),
            "use placing, starting, up, moving, recovering, stopping or over",
        )
    })
}
