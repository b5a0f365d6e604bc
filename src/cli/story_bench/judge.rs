//! Whether a change is right: the base, the change, the hidden tests beside the visible ones, and the story's own test command.
//! All of it here, on the client's machine: no node ever sees a hidden test.

use std::sync::Arc;
use std::time::Duration;

use fleet_actors::story::ResultsFormat;
use fleet_tools::repo::{BaseRepo, Caps, CommitId, RepoError, Workspace};
use fleet_tools::results::{Format, TestReport, parse};
use fleet_tools::run::{RunSummary, Runner, Workbench};
use fleet_tools::sandbox::{Limits, Sandbox, SandboxError, SandboxOptions, Toolchains};

use super::folder::Folder;
use super::outside::Outside;
use super::record::Hidden;
use super::shelf::Shelf;
use crate::cli::failure::Failure;
use crate::cli::sandbox::helper;

/// Where hidden tests go in a repository.
const TESTS: &str = "tests";
/// Longest build or test run.
const WALL: Duration = Duration::from_secs(300);
/// Names of failing tests that are kept.
const NAMED: usize = 5;

/// Runs tests of changes.
pub struct Judge {
    bench: Workbench,
    /// Goes with it.
    place: tempfile::TempDir,
    pub tier: String,
}

/// A story's base, ready to be tried on.
pub struct Base {
    pub repo: BaseRepo,
    /// Tests that the base has, so that it is seen whether the hidden ones were run.
    pub visible: u32,
}

/// What one run of the tests showed.
pub struct Shown {
    pub report: TestReport,
    /// Why there was nothing to run, or the build's failure.
    pub why: Option<String>,
}

impl Judge {
    /// Looks for the sandbox; without one, runs plainly only if that was asked for.
    pub async fn open(without_sandbox: bool) -> Result<Self, Failure> {
        let found = match helper() {
            Ok(helper) => {
                let options = SandboxOptions { helper: Some(helper), ..SandboxOptions::default() };
                let detected = tokio::task::spawn_blocking(move || Sandbox::detect(&options)).await;
                detected.map_err(|e| Failure::internal(format!("looking for a sandbox broke off: {e}"), ""))?
            }
            Err(failure) => Err(SandboxError::Unavailable { what: failure.what, remedy: failure.next }),
        };
        let (runner, tier): (Arc<dyn Runner>, String) = match found {
            Ok(sandbox) => {
                let tier = sandbox.tier().to_owned();
                (Arc::new(sandbox), tier)
            }
            Err(_) if without_sandbox => (Arc::new(Outside), "none".to_owned()),
            Err(error) => {
                let next = "fleet sandbox doctor; or --without-sandbox, by which what a model wrote runs as you";
                return Err(Failure::input(format!("hidden tests can't be run here: {error}"), next).coded("FLT-B004"));
            }
        };
        let place = tempfile::tempdir().map_err(|e| Failure::internal(format!("no temporary directory: {e}"), ""))?;
        let dir = place.path().to_owned();
        Ok(Self { bench: Workbench { runner, dir, toolchains: Toolchains::discover_all() }, place, tier })
    }

    /// Whether it runs without a sandbox.
    pub fn is_outside(&self) -> bool {
        self.tier == "none"
    }

    /// Takes a story's base in, from its pack.
    pub async fn base(&self, name: &str, pack: &std::path::Path, commit: &CommitId) -> Result<BaseRepo, Failure> {
        let dir = self.place.path().join("bases").join(name);
        let base = BaseRepo::import(pack, commit, &dir, &Caps::default(), &*self.bench.runner).await;
        base.map_err(|e| broken(name, &e.to_string()))
    }

    /// What the hidden tests say of a change; known answers are taken from the shelf.
    pub async fn hidden(
        &self,
        shelf: &Shelf,
        folder: &Folder,
        base: &Base,
        (digest, patch): (&str, &[u8]),
    ) -> Result<Hidden, Failure> {
        // A changed story is judged anew.
        let key = format!("{}-{}", base.repo.commit_id(), folder.digest.get(..16).unwrap_or_default());
        let path = shelf.judged(&key, digest);
        if let Some(known) = shelf.read(&path)? {
            return Ok(known);
        }
        let shown = self.show(folder, &base.repo, patch, true).await?;
        let hidden = verdict(&folder.story.results, &shown, base.visible, &self.tier);
        shelf.write(&path, &hidden)?;
        Ok(hidden)
    }

    /// Builds and tests the base with a change, with or without the hidden tests.
    pub async fn show(&self, folder: &Folder, base: &BaseRepo, patch: &[u8], hidden: bool) -> Result<Shown, Failure> {
        let dest = self.place.path().join("tries").join(uuid::Uuid::new_v4().simple().to_string());
        let tests = if hidden { folder.hidden.clone() } else { Vec::new() };
        let made = {
            let (base, patch, dest, owner) = (base.clone(), patch.to_vec(), dest.clone(), self.bench.runner.owner());
            let make = move || -> Result<Workspace, RepoError> {
                let workspace = base.checkout(&dest, Some(&patch), owner)?;
                for (path, content) in &tests {
                    workspace.write(&format!("{TESTS}/{path}"), content)?;
                }
                Ok(workspace)
            };
            let made = tokio::task::spawn_blocking(make).await;
            made.map_err(|e| Failure::internal(format!("a checkout broke off: {e}"), ""))?
        };
        let workspace = match made {
            Ok(workspace) => workspace,
            Err(e @ (RepoError::DoesNotApply(_) | RepoError::UnsafePath { .. } | RepoError::TooLarge { .. })) => {
                return Ok(Shown { report: TestReport::default(), why: Some(e.to_string()) });
            }
            Err(e) => return Err(broken(&folder.name, &e.to_string())),
        };
        let shown = self.run(folder, &workspace).await;
        let _ = tokio::task::spawn_blocking(move || workspace.discard()).await;
        shown.map_err(|e| broken(&folder.name, &e.to_string()))
    }

    async fn run(&self, folder: &Folder, workspace: &Workspace) -> Result<Shown, SandboxError> {
        let limits = Limits { wall: WALL, ..Limits::default() };
        let story = &folder.story;
        if let Some(build) = &story.build {
            let built = RunSummary::of(build, &self.bench.shell(workspace, build, &limits).await?);
            if !built.succeeded() {
                let why = Some(format!("it doesn't build: {}", built.ending()));
                return Ok(Shown { report: TestReport::default(), why });
            }
        }
        let run = self.bench.shell(workspace, &story.test, &limits).await?;
        Ok(Shown { report: parse(format_of(story.results), &run), why: None })
    }
}

/// Right is what passes everything, and runs more tests than the base has: else the hidden ones weren't run.
pub fn verdict(format: &ResultsFormat, shown: &Shown, visible: u32, tier: &str) -> Hidden {
    let report = &shown.report;
    let ran = report.passed + report.failed;
    let all_ran = *format == ResultsFormat::Exit || ran > visible;
    let right = report.ok && all_ran && shown.why.is_none();
    let not_run = || format!("{ran} tests ran, and the base alone has {visible}: the hidden ones weren't among them");
    let why = shown.why.clone().or_else(|| (report.ok && !all_ran).then(not_run));
    let failing = report.failing().take(NAMED).map(str::to_owned).collect();
    Hidden { right, passed: report.passed, failed: report.failed, failing, why, tier: tier.to_owned() }
}

fn format_of(format: ResultsFormat) -> Format {
    match format {
        ResultsFormat::Unittest => Format::Unittest,
        ResultsFormat::Libtest => Format::Libtest,
        ResultsFormat::Node => Format::Node,
        ResultsFormat::Exit => Format::Exit,
    }
}

fn broken(story: &str, why: &str) -> Failure {
    Failure::internal(format!("a change of {story} can't be judged: {why}"), "fleet sandbox doctor").coded("FLT-B004")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(passed: u32, failed: u32) -> Shown {
        let report = TestReport { passed, failed, ok: failed == 0, complete: true, ..TestReport::default() };
        Shown { report, why: None }
    }

    #[test]
    fn right_is_what_passes_more_tests_than_the_base_has() {
        let right = |shown: &Shown, format| verdict(&format, shown, 4, "x").right;
        assert!(right(&shown(6, 0), ResultsFormat::Unittest));
        assert!(!right(&shown(5, 1), ResultsFormat::Unittest));
        assert!(!right(&shown(4, 0), ResultsFormat::Unittest) && right(&shown(1, 0), ResultsFormat::Exit));
        let skipped = verdict(&ResultsFormat::Libtest, &shown(4, 0), 4, "x");
        assert!(skipped.why.is_some_and(|why| why.contains("weren't among them")));
        assert!(!right(&Shown { why: Some("no".into()), ..shown(9, 0) }, ResultsFormat::Exit));
    }
}
