//! `fleet job …`, all but submit.

use std::io::{BufRead, IsTerminal};

use fleet_api::plain;
use fleet_runtime::Timestamp;
use fleet_runtime::job::JobRecord;

use super::args::{Global, JobCommand, Wait};
use super::client::Client;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::finish::{Finish, finish, import, write_report};
use super::follow::{Follower, Seen};
use super::submit::submit;
use super::table;
use super::terminal::Terminal;
use super::watch::{Watched, watch};

/// Runs a `fleet job` command.
pub async fn run(global: &Global, terminal: &Terminal, command: &JobCommand) -> Outcome {
    if let JobCommand::Submit(args) = command {
        return submit(global, terminal, args).await;
    }
    let client = Client::open(global).await?;
    match command {
        JobCommand::Submit(_) => Ok(Exit::Ok),
        JobCommand::List { state } => list(&client, terminal, state).await,
        JobCommand::Status { job } => status(&client, terminal, job).await,
        JobCommand::Explain { job } => super::explain::run(&client, terminal, job).await,
        JobCommand::Logs { job, follow } => logs(&client, terminal, job, *follow).await,
        JobCommand::Wait(args) => wait(global, &client, terminal, args).await,
        JobCommand::Stop { job, reason } => stop(&client, terminal, job, reason).await,
        JobCommand::Report { job, file } => match file {
            Some(file) => {
                write_report(&client, job, file).await?;
                terminal.note(format_args!("report written to {}", file.display()));
                Ok(Exit::Ok)
            }
            None => {
                let text = client.report(job, terminal.json_wanted()).await?;
                terminal.data(text.trim_end())?;
                Ok(Exit::Ok)
            }
        },
        JobCommand::Fetch { job, repo } => {
            let (commit, branch) = import(&client, job, repo).await?;
            if terminal.json_wanted() {
                terminal.json(&serde_json::json!({"job": job, "commit": commit, "branch": branch}))?;
            } else {
                terminal.data(format_args!("commit  {commit}\nbranch  {branch}"))?;
            }
            Ok(Exit::Ok)
        }
        JobCommand::Delete { job, yes } => delete(&client, terminal, job, *yes).await,
    }
}

async fn list(client: &Client, terminal: &Terminal, states: &[String]) -> Outcome {
    let mut jobs = client.jobs(states).await?;
    jobs.sort_by_key(|job| std::cmp::Reverse(job.submitted_at));
    if terminal.json_wanted() {
        terminal.json(&jobs)?;
        return Ok(Exit::Ok);
    }
    if jobs.is_empty() {
        terminal.note("no jobs");
        return Ok(Exit::Ok);
    }
    let mut table = table::table(["JOB", "STATE", "SUBMITTED", "TOOK", "TITLE"]);
    for job in &jobs {
        let cells =
            [job.id.to_string(), job.state.to_string(), table::time(job.submitted_at), took(job), job.title.clone()];
        table::row(&mut table, cells);
    }
    terminal.data(table::text(&table))?;
    Ok(Exit::Ok)
}

fn took(job: &JobRecord) -> String {
    let Some(started) = job.started_at else {
        return "-".to_owned();
    };
    let until = job.ended_at.unwrap_or_else(Timestamp::now);
    let seconds = until.since(started).as_secs();
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

async fn status(client: &Client, terminal: &Terminal, id: &str) -> Outcome {
    let job = client.job(id).await?;
    if terminal.json_wanted() {
        terminal.json(&job)?;
        return Ok(Exit::Ok);
    }
    let ended = job.ended_at.map(table::time);
    let rows = [
        ("job", Some(job.id.to_string())),
        ("title", Some(job.title.clone())),
        ("project", Some(job.project.to_string())),
        ("state", Some(job.state.to_string())),
        ("why", job.why.clone()),
        ("by", Some(job.by.to_string())),
        ("submitted", Some(table::time(job.submitted_at))),
        ("started", job.started_at.map(table::time)),
        ("ended", ended),
        ("took", Some(took(&job))),
        ("outcome", job.outcome.as_ref().map(|o| o.summary.clone())),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            terminal.data(format_args!("{name:<11}{}", plain::line(&value)))?;
        }
    }
    Ok(Exit::Ok)
}

async fn logs(client: &Client, terminal: &Terminal, id: &str, follow: bool) -> Outcome {
    client.job(id).await?;
    let mut follower = match follow {
        true => Follower::new(client.clone(), id),
        false => Follower::up_to_now(client.clone(), id),
    };
    while let Some(seen) = follower.next().await? {
        let Seen::Event(event) = seen else { continue };
        if terminal.json_wanted() {
            terminal.json_line(&event.envelope)?;
        } else if let Some(line) = &event.line {
            terminal.data(format_args!("{}  {line}", table::time(event.envelope.at)))?;
        }
    }
    Ok(Exit::Ok)
}

async fn wait(global: &Global, client: &Client, terminal: &Terminal, args: &Wait) -> Outcome {
    client.job(&args.job).await?;
    if watch(client, terminal, &args.job, args.timeout).await? != Watched::Ended {
        return Ok(Exit::StillGoing);
    }
    let wanted = Finish { job: &args.job, repo: args.repo.as_deref(), report: args.report.as_deref() };
    finish(global, client, terminal, wanted).await
}

async fn stop(client: &Client, terminal: &Terminal, id: &str, reason: &str) -> Outcome {
    let job = client.stop(id, reason).await?;
    if terminal.json_wanted() {
        terminal.json(&job)?;
    } else {
        terminal.data(format_args!("{}  {}", job.id, job.state))?;
    }
    Ok(Exit::Ok)
}

async fn delete(client: &Client, terminal: &Terminal, id: &str, yes: bool) -> Outcome {
    let job = client.job(id).await?;
    if !yes && !confirmed(terminal, &job)? {
        terminal.note("nothing deleted");
        return Ok(Exit::Ok);
    }
    client.delete(id).await?;
    terminal.note(format_args!("job {id} deleted, with its base pack and patches"));
    Ok(Exit::Ok)
}

fn confirmed(terminal: &Terminal, job: &JobRecord) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::input(
            format!("deleting job {} needs a yes, and there is nobody to ask", job.id),
            format!("fleet job delete {} --yes", job.id),
        ));
    }
    let title = plain::line(&job.title).into_owned();
    terminal.prompt(format_args!("delete job {} ({title}) with all that was recorded? [y/N] ", job.id));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    Ok(read.is_ok() && matches!(line.trim(), "y" | "yes"))
}
