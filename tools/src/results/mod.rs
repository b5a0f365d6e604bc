//! Reads what a test runner printed: which tests passed, which failed and what they said.
//!
//! What a program under test prints can look like a runner's output, so a report is *complete* only when the runner's
//! own totals agree with what was counted, the process ended by itself, and nothing of the output was left out.
//! The exit code has the last word: a report is never `ok` when the command failed.

mod excerpt;
mod libtest;
mod node;
mod unittest;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sandbox::RunResult;

/// How the test command's output is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Python's `unittest`, with or without `-v`.
    Unittest,
    /// `cargo test`.
    Libtest,
    /// `node --test`, as TAP or in the `spec` style.
    Node,
    /// Not at all: exit code 0 is success, and the whole run counts as one test.
    Exit,
}

/// What became of one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TestOutcome {
    /// It passed.
    Passed,
    /// It failed, or broke before it could.
    Failed,
    /// It was left out on purpose.
    Skipped,
}

/// What a failing test said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureExcerpt {
    /// The test, as in [`TestReport::tests`].
    pub test: String,
    /// Its message, clipped.
    pub text: String,
}

/// What a test run showed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestReport {
    /// Tests by name. Terse runners name only those that didn't pass; then this holds fewer than were run.
    pub tests: BTreeMap<String, TestOutcome>,
    /// How many passed.
    pub passed: u32,
    /// How many failed.
    pub failed: u32,
    /// How many were skipped.
    pub skipped: u32,
    /// The command succeeded, no test failed, and the report is complete.
    pub ok: bool,
    /// The runner came to its end, and its totals agree with what was counted.
    pub complete: bool,
    /// What failing tests said; for a run that broke, what the build said.
    pub failures: Vec<FailureExcerpt>,
}

/// The name under which a run is reported that broke before any test ran.
pub const RUN: &str = "(run)";

impl TestReport {
    /// How many tests were started.
    pub fn total(&self) -> u32 {
        self.passed + self.failed + self.skipped
    }

    /// The tests that failed, in order.
    pub fn failing(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().filter(|(_, outcome)| **outcome == TestOutcome::Failed).map(|(name, _)| name.as_str())
    }

    fn count(&mut self) {
        let of = |wanted| self.tests.values().filter(|outcome| **outcome == wanted).count();
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (self.passed, self.failed, self.skipped) =
            (clamp(of(TestOutcome::Passed)), clamp(of(TestOutcome::Failed)), clamp(of(TestOutcome::Skipped)));
    }
}

/// Reads the output of a test run.
pub fn parse(format: Format, run: &RunResult) -> TestReport {
    let (stdout, stderr) = (plain(&run.stdout.text()), plain(&run.stderr.text()));
    let whole = !run.output_truncated && run.exit.is_some() && run.stopped.is_none();
    parse_text(format, &stdout, &stderr, run.exit, whole)
}

/// As [`parse`], of text without control sequences; `whole` says that nothing of it is missing.
pub fn parse_text(format: Format, stdout: &str, stderr: &str, exit: Option<i32>, whole: bool) -> TestReport {
    let mut report = match format {
        Format::Unittest => unittest::parse(stdout, stderr),
        Format::Libtest => libtest::parse(stdout, stderr),
        Format::Node => node::parse(stdout, stderr),
        Format::Exit => by_exit(exit),
    };
    report.complete &= whole;
    report.ok = exit == Some(0) && report.failed == 0 && report.complete;
    if exit != Some(0) && report.failures.is_empty() {
        report.failures.push(FailureExcerpt { test: RUN.to_owned(), text: excerpt::of_run(stdout, stderr) });
    }
    report
}

fn by_exit(exit: Option<i32>) -> TestReport {
    let outcome = if exit == Some(0) { TestOutcome::Passed } else { TestOutcome::Failed };
    let mut report = TestReport { complete: exit.is_some(), ..TestReport::default() };
    report.tests.insert(RUN.to_owned(), outcome);
    report.count();
    report
}

fn plain(text: &str) -> String {
    crate::gateway::output::strip_controls(text)
}

#[cfg(test)]
mod tests;
