//! `cargo test`: one block a test binary, each with a head, a line a test, and totals.

use super::{FailureExcerpt, TestOutcome, TestReport, excerpt};

pub(super) fn parse(stdout: &str, stderr: &str) -> TestReport {
    let labels = labels(stdout, stderr);
    let mut report = TestReport::default();
    let mut blocks = Vec::new();
    for line in stdout.lines() {
        if let Some(total) = announced(line) {
            let label = labels.get(blocks.len()).cloned().unwrap_or_default();
            blocks.push(Block { label, announced: total, ..Block::default() });
        } else if let Some(block) = blocks.last_mut() {
            block.take(line);
        }
    }
    report.complete = !blocks.is_empty() && blocks.iter().all(Block::adds_up);
    for block in &blocks {
        for (name, outcome) in &block.tests {
            let name = free_name(&report, &block.label, name);
            report.tests.insert(name, *outcome);
        }
    }
    failures(stdout, &mut report);
    report.count();
    report
}

/// One test binary.
#[derive(Default)]
struct Block {
    label: String,
    announced: usize,
    tests: Vec<(String, TestOutcome)>,
    /// Passed, failed, ignored, as the totals say.
    totals: Option<[usize; 3]>,
    too_many_totals: bool,
}

impl Block {
    fn take(&mut self, line: &str) {
        if let Some(totals) = totals(line) {
            // A second line of totals is the doing of the program under test.
            self.too_many_totals |= self.totals.replace(totals).is_some();
        } else if let Some((name, outcome)) = test_line(line) {
            self.tests.push((name, outcome));
        }
    }

    fn adds_up(&self) -> bool {
        let of = |wanted| self.tests.iter().filter(|(_, outcome)| *outcome == wanted).count();
        let counted = [of(TestOutcome::Passed), of(TestOutcome::Failed), of(TestOutcome::Skipped)];
        !self.too_many_totals && self.tests.len() == self.announced && self.totals == Some(counted)
    }
}

fn announced(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("running ")?;
    let (count, what) = rest.split_once(' ')?;
    matches!(what, "test" | "tests").then(|| count.parse().ok())?
}

fn test_line(line: &str) -> Option<(String, TestOutcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match outcome.split(',').next()?.trim() {
        "ok" => TestOutcome::Passed,
        "FAILED" => TestOutcome::Failed,
        "ignored" => TestOutcome::Skipped,
        _ => return None,
    };
    Some((name.trim_end_matches(" - should panic").to_owned(), outcome))
}

fn totals(line: &str) -> Option<[usize; 3]> {
    let rest = line.strip_prefix("test result: ")?;
    let (_, counts) = rest.split_once(". ")?;
    let of = |what: &str| counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok());
    Some([of("passed")?, of("failed")?, of("ignored")?])
}

/// What cargo says it runs, in order: nothing for a crate's own tests, the file for others.
fn labels(stdout: &str, stderr: &str) -> Vec<String> {
    let text = if stdout.contains("     Running ") { stdout } else { stderr };
    let label = |line: &str| {
        let line = line.trim_start();
        if let Some(doc) = line.strip_prefix("Doc-tests ") {
            return Some(format!("doc {doc}"));
        }
        let what = line.strip_prefix("Running ")?;
        if what.starts_with("unittests ") {
            return Some(String::new());
        }
        what.split(" (").next().map(str::to_owned)
    };
    text.lines().filter_map(label).collect()
}

/// Tests of a crate keep their names; those of other binaries carry the file; a name that is taken gets a number.
fn free_name(report: &TestReport, label: &str, name: &str) -> String {
    let name = if label.is_empty() { name.to_owned() } else { format!("{label}: {name}") };
    let numbered = (2..).map(|n| format!("{name} #{n}"));
    std::iter::once(name.clone()).chain(numbered).find(|name| !report.tests.contains_key(name)).unwrap_or(name)
}

/// `---- name stdout ----` and what follows, up to the next or to the list of failures.
fn failures(stdout: &str, report: &mut TestReport) {
    let mut rest = stdout;
    while let Some(at) = rest.find("\n---- ") {
        rest = &rest[at + 6..];
        let Some((head, body)) = rest.split_once('\n') else {
            break;
        };
        let Some(name) = head.strip_suffix(" ----").map(|head| head.trim_end_matches(" stdout")) else {
            continue;
        };
        let end = ["\n---- ", "\nfailures:\n"].iter().filter_map(|mark| body.find(mark)).min().unwrap_or(body.len());
        let failing = |(known, outcome): (&String, &TestOutcome)| {
            *outcome == TestOutcome::Failed && (known == name || known.ends_with(&format!(": {name}")))
        };
        let test = report.tests.iter().find(|entry| failing(*entry)).map_or(name, |(known, _)| known).to_owned();
        report.failures.push(FailureExcerpt { test, text: excerpt::clip(&body[..end]) });
    }
}
