//! `fleet approval …`: what waits for a person, and the person's word.

use std::time::Duration;

use fleet_actors::gate::Approval;
use fleet_api::{plain, wire};
use fleet_runtime::job::{JobRecord, JobState};

use super::args::{ApprovalCommand, Global, Verdict};
use super::client::Client;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::gate::{describe, how_to_decide};
use super::table;
use super::terminal::Terminal;

/// How long a gate is waited for that must be on its way.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);

/// Runs a `fleet approval` command.
pub async fn run(global: &Global, terminal: &Terminal, command: &ApprovalCommand) -> Outcome {
    let client = Client::open(global).await?;
    match command {
        ApprovalCommand::List => list(&client, terminal).await,
        ApprovalCommand::Show { id } => show(&client, terminal, id).await,
        ApprovalCommand::Approve(args) => decide(&client, terminal, args, wire::Verdict::Approve).await,
        ApprovalCommand::Reject(args) => decide(&client, terminal, args, wire::Verdict::Reject).await,
    }
}

async fn list(client: &Client, terminal: &Terminal) -> Outcome {
    let waiting = client.approvals().await?;
    if terminal.json_wanted() {
        terminal.json(&waiting)?;
        return Ok(Exit::Ok);
    }
    if waiting.is_empty() {
        terminal.note("nothing waits for a decision");
        return Ok(Exit::Ok);
    }
    let mut table = table::table(["APPROVAL", "JOB", "OPENED", "EXPIRES", "QUESTION"]);
    for approval in &waiting {
        let cells = [
            approval.id.clone(),
            approval.job.clone(),
            table::time(approval.opened_at),
            table::time(approval.expires_at),
            approval.question.clone(),
        ];
        table::row(&mut table, cells);
    }
    terminal.data(table::text(&table))?;
    Ok(Exit::Ok)
}

async fn show(client: &Client, terminal: &Terminal, given: &str) -> Outcome {
    let waiting = waiting(client, given).await?;
    let id = resolve(&waiting, given)?;
    let Some(approval) = waiting.iter().find(|approval| approval.id == id) else {
        return Err(Failure::new(
            Exit::NotFoundOrConflict,
            format!("no approval {:?} is open", plain::line(given)),
            "list what waits with `fleet approval list`",
        ));
    };
    let patch = client.patch(&approval.job, approval.attempt).await?;
    if terminal.json_wanted() {
        let mut shown = serde_json::to_value(approval).unwrap_or_default();
        shown["patch"] = patch.into();
        terminal.json(&shown)?;
        return Ok(Exit::Ok);
    }
    terminal.data(describe(approval))?;
    terminal.data(format_args!("\n{}", plain::text(patch.trim_end())))?;
    terminal.note(format_args!("\n{}", how_to_decide(&approval.id)));
    Ok(Exit::Ok)
}

async fn decide(client: &Client, terminal: &Terminal, args: &Verdict, verdict: wire::Verdict) -> Outcome {
    let id = resolve(&waiting(client, &args.id).await?, &args.id)?;
    let decided = client.decide(&id, verdict, &args.comment).await?;
    if terminal.json_wanted() {
        terminal.json(&decided)?;
        return Ok(Exit::Ok);
    }
    let word = match verdict {
        wire::Verdict::Approve => "approved",
        wire::Verdict::Reject => "rejected",
    };
    terminal.good(format_args!("{id} {word}"));
    Ok(Exit::Ok)
}

/// What waits. The gate of a job whose node was lost a moment ago is on its way to another node, or to the same one begun
/// anew: if that is the one that is meant, it is waited for.
async fn waiting(client: &Client, given: &str) -> Result<Vec<Approval>, Failure> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let job = given.split_once('-').map_or(given, |(job, _)| job);
    loop {
        let waiting = client.approvals().await?;
        let is_there = waiting.iter().any(|approval| approval.id == given || approval.job == given);
        let comes = async || client.job(job).await.is_ok_and(|job| may_open(&job));
        if is_there || tokio::time::Instant::now() > until || !comes().await {
            return Ok(waiting);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether a gate of this job may be on its way: it waits for one, or it runs and comes to one, perhaps to where it
/// waited before its node was lost.
fn may_open(job: &JobRecord) -> bool {
    job.started_at.is_some() && matches!(job.state, JobState::Waiting | JobState::Queued | JobState::Running)
}

/// The approval that is meant: by its id, or by its job's where only one is open.
fn resolve(waiting: &[Approval], given: &str) -> Result<String, Failure> {
    let of_job: Vec<&Approval> = waiting.iter().filter(|a| a.job == given).collect();
    match of_job.as_slice() {
        [] => Ok(given.to_owned()),
        [one] => Ok(one.id.clone()),
        several => Err(Failure::new(
            Exit::NotFoundOrConflict,
            format!("{} approvals of job {given} are open", several.len()),
            "name one of them: fleet approval list",
        )),
    }
}
