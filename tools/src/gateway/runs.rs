//! Tools that run something in the sandbox.

use serde_json::json;

use super::ToolResult;
use super::desk::Desk;
use super::output::{BUDGET, fit};
use super::tools::ExecArgs;
use crate::repo::RepoError;
use crate::results::{TestReport, parse};
use crate::run::{RunSummary, Workbench};
use crate::sandbox::SandboxError;

/// A run that didn't come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Repo(#[from] RepoError),
    #[error("the work was given up: {0}")]
    GivenUp(String),
}

/// Builds, if the story says how, and runs its tests.
pub(super) async fn run_tests(bench: &Workbench, desk: &Desk) -> Result<ToolResult, RunError> {
    let mut touched = Vec::new();
    if let Some(build) = &desk.spec.build {
        let run = bench.shell(&desk.workspace, build, &desk.spec.limits).await?;
        touched = restore(desk).await?;
        let summary = RunSummary::of(build, &run);
        if !summary.succeeded() {
            return Ok(with_touched(ran("the build failed", summary), touched));
        }
    }
    let run = bench.shell(&desk.workspace, &desk.spec.test, &desk.spec.limits).await?;
    touched.extend(restore(desk).await?);
    let report = parse(desk.spec.format, &run);
    let summary = RunSummary::of(&desk.spec.test, &run);
    let mut result = ToolResult::said(fit(&told(&report, &summary), BUDGET));
    result.ok = report.ok;
    result.data = json!({ "report": report });
    result.run = Some(summary);
    Ok(with_touched(result, touched))
}

/// Runs a command line.
pub(super) async fn exec(bench: &Workbench, desk: &Desk, args: &ExecArgs) -> Result<ToolResult, RunError> {
    let run = bench.shell(&desk.workspace, &args.command, &desk.spec.limits).await?;
    let touched = restore(desk).await?;
    let summary = RunSummary::of(&args.command, &run);
    let head = summary.ending();
    Ok(with_touched(ran(&head, summary), touched))
}

fn ran(head: &str, summary: RunSummary) -> ToolResult {
    let outputs = [("stdout", &summary.stdout), ("stderr", &summary.stderr)];
    let mut text = format!("{head} ({})\n", summary.ending());
    for (name, output) in outputs.into_iter().filter(|(_, output)| !output.trim().is_empty()) {
        text.push_str(&format!("{name}:\n{}\n", output.trim_end()));
    }
    if outputs.iter().all(|(_, output)| output.trim().is_empty()) {
        text.push_str("it wrote no output\n");
    }
    ToolResult { ok: summary.succeeded(), text: fit(&text, BUDGET), run: Some(summary), ..ToolResult::default() }
}

/// What the tests showed, for an agent: figures first, then what failing tests said.
fn told(report: &TestReport, summary: &RunSummary) -> String {
    let mut text = format!(
        "{} passed, {} failed, {} skipped ({})\n",
        report.passed,
        report.failed,
        report.skipped,
        summary.ending()
    );
    if !report.complete {
        text.push_str("the run didn't come to its end, or its output couldn't be read whole\n");
    }
    for failure in &report.failures {
        text.push_str(&format!("\n{}:\n{}\n", failure.test, failure.text));
    }
    text
}

async fn restore(desk: &Desk) -> Result<Vec<String>, RunError> {
    let desk = desk.clone();
    let restored = tokio::task::spawn_blocking(move || desk.restore_protected()).await;
    Ok(restored.map_err(|error| RunError::GivenUp(error.to_string()))??)
}

/// A run that touched what it mustn't has it undone, is told so, and the record says so too.
fn with_touched(mut result: ToolResult, touched: Vec<String>) -> ToolResult {
    if touched.is_empty() {
        return result;
    }
    let names = touched.join(", ");
    result.text = format!("the command changed protected files, which were put back: {names}\n{}", result.text);
    result.ok = false;
    result.denied = Some("protected-paths".to_owned());
    result
}
