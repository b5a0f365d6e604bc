//! `fleet access …`: tokens for others.

use fleet_api::plain;
use fleet_api::wire::{AccessBody, AccessRecord, AccessState};
use fleet_runtime::auth::AccessLevel;

use super::args::{AccessCommand, Global, Level};
use super::client::Client;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::table;
use super::terminal::Terminal;

/// Runs a `fleet access` command.
pub async fn run(global: &Global, terminal: &Terminal, command: &AccessCommand) -> Outcome {
    let client = Client::open(global).await?;
    match command {
        AccessCommand::Create { name, level, expires } => {
            let seconds = expires.map(|lives| lives.as_secs());
            if seconds == Some(0) {
                return Err(Failure::input("--expires is less than a second", "say it as in 12h or 30d"));
            }
            let body = AccessBody { name: name.clone(), level: level_of(*level), expires_in_seconds: seconds };
            create(&client, terminal, &body).await
        }
        AccessCommand::List { all } => list(&client, terminal, *all).await,
        AccessCommand::Revoke { name } => {
            let revoked = client.revoke(name).await?;
            if terminal.json_wanted() {
                terminal.json(&revoked)?;
            } else {
                terminal.note(format_args!("the token of {} is revoked", plain::line(name)));
            }
            Ok(Exit::Ok)
        }
    }
}

async fn create(client: &Client, terminal: &Terminal, body: &AccessBody) -> Outcome {
    let grant = client.issue(body).await?;
    if terminal.json_wanted() {
        terminal.json(&grant)?;
        return Ok(Exit::Ok);
    }
    let until = grant.access.expires_at.map(|end| format!("until {}", table::time(end)));
    let until = until.unwrap_or_else(|| "until it is revoked".to_owned());
    terminal.note(format_args!(
        "{} may act as {} {until}; the token isn't shown again: keep it in a file of mode 600, for --token-file",
        grant.access.name,
        grant.access.level.as_str()
    ));
    terminal.data(&grant.token)?;
    Ok(Exit::Ok)
}

async fn list(client: &Client, terminal: &Terminal, all: bool) -> Outcome {
    let mut tokens = client.access().await?;
    tokens.retain(|token| all || token.state == AccessState::Valid);
    if terminal.json_wanted() {
        terminal.json(&tokens)?;
        return Ok(Exit::Ok);
    }
    if tokens.is_empty() {
        terminal.note("no tokens but the nodes' own");
        return Ok(Exit::Ok);
    }
    let mut table = table::table(["NAME", "LEVEL", "STATE", "ISSUED", "BY", "EXPIRES"]);
    for token in &tokens {
        let cells = [
            token.name.clone(),
            token.level.as_str().to_owned(),
            state(token),
            table::time(token.issued_at),
            token.issued_by.to_string(),
            token.expires_at.map_or_else(|| "-".to_owned(), table::time),
        ];
        table::row(&mut table, cells);
    }
    terminal.data(table::text(&table))?;
    Ok(Exit::Ok)
}

fn state(token: &AccessRecord) -> String {
    match (token.state, token.revoked_at) {
        (AccessState::Valid, _) => "valid".to_owned(),
        (AccessState::Revoked, Some(at)) => format!("revoked {}", table::time(at)),
        (AccessState::Revoked, None) => "revoked".to_owned(),
        (AccessState::Expired, _) => "expired".to_owned(),
    }
}

fn level_of(level: Level) -> AccessLevel {
    match level {
        Level::Viewer => AccessLevel::Viewer,
        Level::Operator => AccessLevel::Operator,
        Level::Po => AccessLevel::Po,
    }
}
