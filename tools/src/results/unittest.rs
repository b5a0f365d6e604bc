//! Python's `unittest`. Terse output names only tests that didn't pass; `-v` names all.

use std::sync::LazyLock;

use regex::Regex;

use super::{FailureExcerpt, TestOutcome, TestReport, excerpt};

static RAN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^Ran (\d+) tests? in ").ok());
static TOTAL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(failures|errors|skipped|expected failures|unexpected successes)=(\d+)").ok());
const RULE: &str = "======================================================================";

pub(super) fn parse(stdout: &str, stderr: &str) -> TestReport {
    // The runner writes to stderr; a story's own script may have joined the streams.
    let text = if stderr.lines().any(|line| ran(line).is_some()) { stderr } else { stdout };
    let mut report = TestReport::default();
    verbose(text, &mut report);
    failures(text, &mut report);
    let Some((ran, totals)) = totals(text) else {
        report.count();
        return report;
    };
    finish(&mut report, ran, &totals);
    report
}

/// What the last lines say.
#[derive(Default)]
struct Totals {
    verdict: bool,
    failures: u32,
    skipped: u32,
    unexpected: u32,
}

fn ran(line: &str) -> Option<u32> {
    RAN.as_ref()?.captures(line)?.get(1)?.as_str().parse().ok()
}

/// The last summary counts: a program under test may print another before it.
fn totals(text: &str) -> Option<(u32, Totals)> {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().rposition(|line| ran(line).is_some())?;
    let mut totals = Totals::default();
    let verdict = lines[at + 1..]
        .iter()
        .find(|line| line.starts_with("OK") || line.starts_with("FAILED") || line.starts_with("NO TESTS RAN"))?;
    totals.verdict = verdict.starts_with("OK");
    for found in TOTAL.as_ref()?.captures_iter(verdict) {
        let count: u32 = found.get(2)?.as_str().parse().ok()?;
        match found.get(1)?.as_str() {
            "failures" | "errors" => totals.failures += count,
            "skipped" => totals.skipped += count,
            "unexpected successes" => totals.unexpected += count,
            _ => {}
        }
    }
    Some((ran(lines[at])?, totals))
}

/// A test with sub-tests may fail several times, so failures are counted by name; each must have its section.
fn finish(report: &mut TestReport, ran: u32, totals: &Totals) {
    report.count();
    let sections = u32::try_from(report.failures.len()).unwrap_or(u32::MAX);
    report.complete =
        ran > 0 && sections == totals.failures && (totals.failures + totals.unexpected == 0) == totals.verdict;
    report.failed = report.failed.max(totals.unexpected);
    report.skipped = totals.skipped;
    report.passed = ran.saturating_sub(report.failed + report.skipped);
}

/// `test_x (pkg.Case.test_x) ... ok`, with a doc line between name and dots where a test has one.
fn verbose(text: &str, report: &mut TestReport) {
    let mut pending: Option<String> = None;
    for line in text.lines() {
        let (head, outcome) = match line.rsplit_once(" ... ") {
            Some((head, outcome)) => (head, Some(outcome)),
            None => (line, None),
        };
        let name = test_name(head).or_else(|| pending.take());
        match (name, outcome.and_then(outcome_of)) {
            (Some(name), Some(outcome)) => worst(report, name, outcome),
            (Some(name), None) => pending = Some(name),
            _ => {}
        }
    }
}

fn outcome_of(text: &str) -> Option<TestOutcome> {
    match text.trim() {
        "ok" | "expected failure" => Some(TestOutcome::Passed),
        "FAIL" | "ERROR" | "unexpected success" => Some(TestOutcome::Failed),
        text if text.starts_with("skipped") => Some(TestOutcome::Skipped),
        _ => None,
    }
}

/// `test_x (pkg.Case.test_x)` (from Python 3.11) and `test_x (pkg.Case)` (before) both become `pkg.Case.test_x`.
fn test_name(text: &str) -> Option<String> {
    let (method, rest) = text.trim().split_once(" (")?;
    let place = rest.split(')').next()?;
    let plain = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() || "_.<>".contains(c));
    if !plain(method) || !plain(place) || !rest.contains(')') {
        return None;
    }
    let qualified = place.rsplit('.').next() == Some(method);
    Some(if qualified { place.to_owned() } else { format!("{place}.{method}") })
}

fn worst(report: &mut TestReport, name: String, outcome: TestOutcome) {
    let entry = report.tests.entry(name).or_insert(outcome);
    if outcome == TestOutcome::Failed {
        *entry = outcome;
    }
}

/// The sections that begin with a rule and `FAIL: name` or `ERROR: name`.
fn failures(text: &str, report: &mut TestReport) {
    for section in text.split(RULE).skip(1) {
        let section = section.trim_start_matches('\n');
        let head = section.lines().next().unwrap_or_default();
        let Some(title) = head.strip_prefix("FAIL: ").or_else(|| head.strip_prefix("ERROR: ")) else {
            continue;
        };
        let name = test_name(title).unwrap_or_else(|| title.trim().to_owned());
        worst(report, name.clone(), TestOutcome::Failed);
        let body = section.split("\nRan ").next().unwrap_or(section);
        let body = body.trim_end_matches(['-', '\n']);
        report.failures.push(FailureExcerpt { test: name, text: excerpt::clip(body) });
    }
}
