//! Judges a patch: fresh checkout of the base, the patch, tests and protected paths restored from the base, build,
//! tests, and a comparison with what the base itself showed.
//!
//! Nothing in a verdict but the figures of its runs depends on the clock, and nothing on the order in which proposals
//! arrive.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::repo::{BaseRepo, ChangeKind, Patch, PathRules, RepoError, TreeId, Workspace};
use crate::results::{Format, RUN, TestOutcome, TestReport, parse};
use crate::run::{RunSummary, Workbench};
use crate::sandbox::{Limits, SandboxError};
use crate::syntax::{Language, touched_tests};

/// How a patch is to be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifySpec {
    /// Command that builds; none if the tests do.
    pub build: Option<String>,
    /// Command that runs the tests.
    pub test: String,
    /// How its output is read.
    pub format: Format,
    /// Globs of what no proposal may touch.
    pub protected: Vec<String>,
    /// Globs of test files: existing ones mustn't be touched, new ones are welcome.
    pub test_files: Vec<String>,
    /// What the base showed; see [`baseline`].
    pub baseline: TestReport,
    /// Tests that must pass now; empty means all that failed at the base.
    pub expected: Vec<String>,
    /// How much each run may use.
    pub limits: Limits,
}

/// What a fresh checkout with the patch showed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The patch fits the base.
    pub applies: bool,
    /// Why it doesn't, or why it could not be judged further.
    pub reason: Option<String>,
    /// What it touched and mustn't have; disqualifies.
    pub touched_protected: Vec<String>,
    /// What it changed, all told.
    pub changed: Vec<String>,
    /// The build succeeded; true when there is no build command.
    pub builds: bool,
    /// What the tests showed; none when it didn't come to that.
    pub tests: Option<TestReport>,
    /// Every test that was to be fixed passes now.
    pub target_fixed: bool,
    /// Tests that fail, or are gone, and weren't failing at the base.
    pub newly_failing: Vec<String>,
    /// Tests that failed at the base and don't any more.
    pub newly_passing: Vec<String>,
    /// The runs that it rests on.
    pub runs: Vec<RunSummary>,
    /// Lines added plus lines removed.
    pub lines_changed: u32,
}

impl Verdict {
    /// Nothing speaks against it: it fits, touches nothing protected, builds, fixes the target and breaks nothing.
    pub fn accepted(&self) -> bool {
        self.applies
            && self.touched_protected.is_empty()
            && self.builds
            && self.target_fixed
            && self.newly_failing.is_empty()
    }
}

/// A verdict could not be given; says nothing about the patch.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The repository failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A glob of the story isn't one.
    #[error("{0}")]
    Glob(String),
    /// The work was given up because the node is stopping.
    #[error("the work was given up: {0}")]
    GivenUp(String),
}

/// Judges `patch`. Dropping the future kills what runs.
pub async fn verify(
    bench: &Workbench,
    base: &BaseRepo,
    patch: &[u8],
    spec: &VerifySpec,
) -> Result<Verdict, VerifyError> {
    let rules = PathRules::compile(&spec.protected, &spec.test_files).map_err(VerifyError::Glob)?;
    let prepared = {
        let (base, patch) = (base.clone(), patch.to_vec());
        blocking(move || prepare(&base, &patch, &rules)).await?
    };
    let (tree, mut verdict) = match prepared {
        Prepared::Fits(tree, verdict) => (tree, verdict),
        Prepared::Unfit(verdict) => return Ok(verdict),
    };
    let place = Place::make(bench, base, tree).await?;
    let shown = show(bench, &place.workspace, spec, &mut verdict.runs).await?;
    place.discard().await;
    verdict.builds = shown.is_some();
    if let Some(report) = shown {
        compare(&spec.baseline, &spec.expected, &report, &mut verdict);
        verdict.tests = Some(report);
    }
    Ok(verdict)
}

/// What the base shows by itself: the same build and tests, no patch. `spec.baseline` is ignored.
pub async fn baseline(
    bench: &Workbench,
    base: &BaseRepo,
    spec: &VerifySpec,
) -> Result<(TestReport, Vec<RunSummary>), VerifyError> {
    let tree = {
        let base = base.clone();
        blocking(move || base.apply(b"")).await?
    };
    let place = Place::make(bench, base, tree).await?;
    let mut runs = Vec::new();
    let shown = show(bench, &place.workspace, spec, &mut runs).await?;
    place.discard().await;
    // A base that doesn't build shows nothing but that; a proposal then has to make it build and pass.
    Ok((shown.unwrap_or_default(), runs))
}

/// What a patch shows when these files stand beside it: the same build and tests. None: it doesn't apply or build.
pub async fn examine(
    bench: &Workbench,
    base: &BaseRepo,
    patch: &[u8],
    added: &[(String, String)],
    spec: &VerifySpec,
) -> Result<Option<TestReport>, VerifyError> {
    let rules = PathRules::compile(&spec.protected, &spec.test_files).map_err(VerifyError::Glob)?;
    let prepared = {
        let (base, patch) = (base.clone(), patch.to_vec());
        blocking(move || prepare(&base, &patch, &rules)).await?
    };
    let Prepared::Fits(tree, _) = prepared else { return Ok(None) };
    let place = Place::make(bench, base, tree).await?;
    for (path, text) in added {
        place.workspace.write(path, text.as_bytes())?;
    }
    let shown = show(bench, &place.workspace, spec, &mut Vec::new()).await?;
    place.discard().await;
    Ok(shown)
}

/// Builds and tests; none if the build fails.
async fn show(
    bench: &Workbench,
    workspace: &Workspace,
    spec: &VerifySpec,
    runs: &mut Vec<RunSummary>,
) -> Result<Option<TestReport>, VerifyError> {
    if let Some(build) = &spec.build {
        let run = bench.shell(workspace, build, &spec.limits).await?;
        let summary = RunSummary::of(build, &run);
        let built = summary.succeeded();
        runs.push(summary);
        if !built {
            return Ok(None);
        }
    }
    let run = bench.shell(workspace, &spec.test, &spec.limits).await?;
    runs.push(RunSummary::of(&spec.test, &run));
    Ok(Some(parse(spec.format, &run)))
}

enum Prepared {
    Fits(TreeId, Verdict),
    Unfit(Verdict),
}

/// Applies the patch, finds what it touched, and makes the tree that is judged: touched tests and protected paths as in the base.
fn prepare(base: &BaseRepo, patch: &[u8], rules: &PathRules) -> Result<Prepared, RepoError> {
    let tree = match base.apply(patch) {
        Ok(tree) => tree,
        Err(error @ (RepoError::DoesNotApply(_) | RepoError::UnsafePath { .. } | RepoError::TooLarge { .. })) => {
            return Ok(Prepared::Unfit(Verdict { reason: Some(error.to_string()), ..Verdict::default() }));
        }
        Err(error) => return Err(error),
    };
    let change = base.patch_of(&tree)?;
    let forbidden: Vec<String> =
        change.paths().into_iter().filter(|path| rules.forbids(path, base.has(path))).collect();
    let mut touched = forbidden.clone();
    touched.extend(touched_rust_tests(base, &tree, &change)?);
    let verdict = Verdict {
        applies: true,
        touched_protected: touched,
        changed: change.paths(),
        lines_changed: change.lines,
        ..Verdict::default()
    };
    Ok(Prepared::Fits(base.restored(&tree, &forbidden)?, verdict))
}

/// Test modules inside Rust sources that the patch altered, as `path: module`.
fn touched_rust_tests(base: &BaseRepo, tree: &TreeId, change: &Patch) -> Result<Vec<String>, RepoError> {
    let mut touched = Vec::new();
    let old = change.changes.iter().filter(|change| change.kind != ChangeKind::Added);
    for change in old.filter(|change| Language::of(&change.path) == Some(Language::Rust)) {
        let text = |content: Option<Vec<u8>>| String::from_utf8_lossy(&content.unwrap_or_default()).into_owned();
        let (before, after) = (text(base.read(&change.path)?), text(base.read_in(tree, &change.path)?));
        // Both are parsed leniently; a failure of the parser itself can't be told from a touched test, so it counts as one.
        let names = touched_tests(&before, &after).unwrap_or_else(|error| vec![error.to_string()]);
        touched.extend(names.into_iter().map(|name| format!("{}: {name}", change.path)));
    }
    Ok(touched)
}

/// Sets what the tests showed against what they had shown at the base.
fn compare(baseline: &TestReport, expected: &[String], now: &TestReport, verdict: &mut Verdict) {
    let failed_before: BTreeSet<&str> = baseline.failing().collect();
    let fails = |test: &str| now.tests.get(test) == Some(&TestOutcome::Failed);
    let passes = |test: &str| match now.tests.get(test) {
        Some(outcome) => *outcome == TestOutcome::Passed,
        // Terse runners don't name what passes; then a whole run that didn't skip more than before has to do.
        None => names_only_failures(now) && now.complete && now.skipped <= baseline.skipped,
    };
    verdict.newly_passing = failed_before.iter().filter(|test| passes(test)).map(|test| (*test).to_owned()).collect();
    verdict.newly_failing = now.failing().filter(|test| !failed_before.contains(test)).map(str::to_owned).collect();
    verdict.newly_failing.extend(gone(baseline, now));
    if !now.complete || (now.failed == 0 && !now.ok) {
        verdict.newly_failing.push(format!("{RUN}: the test run didn't come to a proper end"));
    }
    let wanted: Vec<&str> = if expected.is_empty() {
        failed_before.into_iter().collect()
    } else {
        expected.iter().map(String::as_str).collect()
    };
    let fixed = wanted.iter().all(|test| passes(test) && !fails(test));
    // A base whose run broke names no test; then the whole run has to pass.
    let run_was_broken = !baseline.complete;
    verdict.target_fixed = now.complete && fixed && (!run_was_broken || now.ok);
}

fn names_only_failures(report: &TestReport) -> bool {
    usize::try_from(report.total()).is_ok_and(|total| total > report.tests.len()) || report.tests.is_empty()
}

/// Tests that passed at the base and aren't run any more, or of a terse runner, how many are missing.
fn gone(baseline: &TestReport, now: &TestReport) -> Vec<String> {
    let ran = |report: &TestReport| report.passed + report.failed;
    if names_only_failures(baseline) || names_only_failures(now) {
        let missing = ran(baseline).saturating_sub(ran(now));
        return if missing > 0 { vec![format!("({missing} tests are gone)")] } else { Vec::new() };
    }
    let ran_before = baseline.tests.iter().filter(|(_, outcome)| **outcome != TestOutcome::Skipped);
    let runs_now = |test: &String| now.tests.get(test).is_some_and(|outcome| *outcome != TestOutcome::Skipped);
    ran_before
        .filter(|(test, _)| !runs_now(test) && test.as_str() != RUN)
        .map(|(test, _)| format!("{test} (gone)"))
        .collect()
}

/// A fresh workspace, removed at the end, however it comes.
pub(crate) struct Place {
    pub(crate) workspace: Workspace,
    guard: RemoveAtEnd,
}

struct RemoveAtEnd(PathBuf);

impl Drop for RemoveAtEnd {
    fn drop(&mut self) {
        // After `discard` there is nothing left to do; this is for a future that was dropped.
        if let Err(error) = crate::repo::remove_tree(&self.0) {
            tracing::warn!(%error, "a verdict's workspace could not be removed");
        }
    }
}

impl Place {
    pub(crate) async fn make(bench: &Workbench, base: &BaseRepo, tree: TreeId) -> Result<Self, VerifyError> {
        let dest = bench.dir.join("verdicts").join(uuid::Uuid::new_v4().simple().to_string());
        let guard = RemoveAtEnd(dest.clone());
        let (base, owner) = (base.clone(), bench.runner.owner());
        let workspace = blocking(move || base.checkout_tree(&tree, &dest, owner)).await?;
        Ok(Self { workspace, guard })
    }

    pub(crate) async fn discard(self) {
        let Self { workspace, guard } = self;
        let removed = blocking(move || {
            drop(workspace);
            drop(guard);
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "a verdict's workspace could not be removed");
        }
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RepoError> + Send + 'static,
) -> Result<T, VerifyError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| VerifyError::GivenUp(error.to_string()))??)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
