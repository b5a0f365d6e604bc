//! What is left to do when a followed job has ended: import the commit, save the report, say where both are, choose the exit code.

use std::path::{Path, PathBuf};

use fleet_runtime::job::{JobRecord, JobState};
use fleet_tools::repo::{CommitId, RepoError, client as repo};
use serde::Serialize;

use super::args::Global;
use super::client::{Client, state_dir};
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::terminal::Terminal;
use crate::state::create_private;

/// What is to be finished.
pub struct Finish<'a> {
    /// The job.
    pub job: &'a str,
    /// Where the commit is wanted.
    pub repo: Option<&'a Path>,
    /// Where the report is wanted.
    pub report: Option<&'a Path>,
}

/// What came out, as data.
#[derive(Debug, Serialize)]
struct Finished {
    job: String,
    state: JobState,
    success: bool,
    summary: String,
    commit: Option<String>,
    branch: Option<String>,
    report: Option<PathBuf>,
}

/// Finishes an ended job.
pub async fn finish(global: &Global, client: &Client, terminal: &Terminal, wanted: Finish<'_>) -> Outcome {
    let record = client.job(wanted.job).await?;
    let success = record.state == JobState::Succeeded;
    let report = save_report(global, client, &wanted).await?;
    let mut finished = Finished {
        job: wanted.job.to_owned(),
        state: record.state,
        success,
        summary: summary(&record),
        commit: None,
        branch: None,
        report: Some(report),
    };
    if let (true, Some(path)) = (success, wanted.repo) {
        let (commit, branch) = import(client, wanted.job, path).await?;
        finished.commit = Some(commit);
        finished.branch = Some(branch);
    }
    say(terminal, &finished)?;
    Ok(if success { Exit::Ok } else { Exit::JobFailed })
}

fn summary(record: &JobRecord) -> String {
    let told = record.outcome.as_ref().map(|o| o.summary.clone());
    told.or_else(|| record.why.clone()).unwrap_or_default()
}

/// Fetches the job's commit into the repository as branch `fleet/<job>`.
pub async fn import(client: &Client, job: &str, path: &Path) -> Result<(String, String), Failure> {
    let path = path.canonicalize().map_err(|e| {
        Failure::input(
            format!("can't use the repository {}: {e}", path.display()),
            format!("name it again: fleet job fetch {job} --repo PATH"),
        )
    })?;
    let place =
        tempfile::tempdir().map_err(|e| Failure::internal(format!("can't make a temporary directory: {e}"), ""))?;
    let bundle = place.path().join("result.bundle");
    let base = client.result(job, &bundle).await?;
    let base: CommitId = base.parse().map_err(|e: RepoError| Failure::internal(e.to_string(), ""))?;
    let branch = format!("fleet/{job}");
    let imported = repo::import_result(&path, &bundle, &base, &branch);
    let commit = imported.map_err(|e| not_imported(&e, job))?;
    Ok((commit.to_string(), branch))
}

fn not_imported(error: &RepoError, job: &str) -> Failure {
    let exit = match error {
        RepoError::BranchExists { .. } => Exit::NotFoundOrConflict,
        _ => Exit::BadInput,
    };
    Failure::new(exit, error.to_string(), format!("mend that, then: fleet job fetch {job} --repo PATH"))
}

async fn save_report(global: &Global, client: &Client, wanted: &Finish<'_>) -> Result<PathBuf, Failure> {
    let path = match wanted.report {
        Some(path) => path.to_owned(),
        None => {
            let dir = state_dir(global)?.join("reports");
            create_private(&dir).map_err(|e| Failure::internal(e.to_string(), ""))?;
            dir.join(format!("{}.md", wanted.job))
        }
    };
    write_report(client, wanted.job, &path).await?;
    Ok(path)
}

/// Writes the report to a file: JSON where its name says so, else Markdown.
pub async fn write_report(client: &Client, job: &str, path: &Path) -> Result<(), Failure> {
    let json = path.extension().is_some_and(|e| e == "json");
    let text = client.report(job, json).await?;
    std::fs::write(path, text).map_err(|e| {
        Failure::input(
            format!("can't write the report to {}: {e}", path.display()),
            format!("name another place: fleet job report {job} --file FILE"),
        )
    })
}

fn say(terminal: &Terminal, finished: &Finished) -> Result<(), Failure> {
    if terminal.json_wanted() {
        return terminal.json(finished);
    }
    let summary = fleet_api::plain::line(&finished.summary).into_owned();
    if finished.success {
        terminal.good(format_args!("job {} succeeded: {summary}", finished.job));
    } else {
        terminal.careful(format_args!("job {} ended without a commit: {summary}", finished.job));
    }
    let rows = [
        ("job", Some(finished.job.clone())),
        ("commit", finished.commit.clone()),
        ("branch", finished.branch.clone()),
        ("report", finished.report.as_ref().map(|p| p.display().to_string())),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            terminal.data(format_args!("{name:<8}{value}"))?;
        }
    }
    Ok(())
}
