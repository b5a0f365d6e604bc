//! `node --test`: TAP (what it writes to a pipe up to Node 22) and the `spec` style (later).

use super::{FailureExcerpt, TestOutcome, TestReport, excerpt};

pub(super) fn parse(stdout: &str, stderr: &str) -> TestReport {
    let text = if stdout.trim().is_empty() { stderr } else { stdout };
    if text.contains("TAP version") { tap(text) } else { spec(text) }
}

/// One line of a result, with how deep it lies.
struct Line {
    depth: usize,
    name: String,
    outcome: TestOutcome,
}

fn tap(text: &str) -> TestReport {
    let mut lines = Vec::new();
    let mut details: Vec<String> = Vec::new();
    let mut plan = Totals::default();
    // The blank space before the details that are being read: a line `...` ends them only behind the same, since the
    // differences of long values have such lines, too.
    let mut within: Option<&str> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let space = &line[..line.len() - trimmed.len()];
        if let Some(begun) = within {
            if trimmed == "..." && space == begun {
                within = None;
            } else if let Some(last) = details.last_mut() {
                last.push_str(line);
                last.push('\n');
            }
        } else if let Some(found) = tap_line(line) {
            lines.push(found);
            details.push(String::new());
        } else if trimmed == "---" {
            within = Some(space);
        } else {
            plan.take(trimmed.strip_prefix("# ").unwrap_or_default());
        }
    }
    let mut report = TestReport::default();
    fold(&mut report, &lines, &details);
    plan.check(&mut report);
    report
}

fn tap_line(line: &str) -> Option<Line> {
    let trimmed = line.trim_start();
    let (passed, rest) = match trimmed.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, trimmed.strip_prefix("ok ")?),
    };
    let (number, name) = rest.split_once(" - ")?;
    number.parse::<u32>().ok()?;
    let (name, skipped) = match name.split_once(" # ") {
        Some((name, what)) => (name, what.starts_with("SKIP") || what.starts_with("TODO")),
        None => (name, false),
    };
    let outcome = match (skipped, passed) {
        (true, _) => TestOutcome::Skipped,
        (false, true) => TestOutcome::Passed,
        (false, false) => TestOutcome::Failed,
    };
    Some(Line { depth: (line.len() - trimmed.len()) / 4, name: name.replace("\\#", "#"), outcome })
}

/// Results come after those that lie inside them: what has some inside is a suite, and names them.
fn fold(report: &mut TestReport, lines: &[Line], details: &[String]) {
    let mut waiting: Vec<(usize, Vec<String>, usize)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let inside: Vec<_> = waiting.iter_mut().filter(|(depth, ..)| *depth > line.depth).collect();
        let is_suite = !inside.is_empty();
        for (depth, path, _) in inside {
            *depth = line.depth;
            path.insert(0, line.name.clone());
        }
        if !is_suite {
            waiting.push((line.depth, vec![line.name.clone()], at));
        }
    }
    for (_, path, at) in waiting {
        let name = path.join(" > ");
        let outcome = lines[at].outcome;
        let entry = report.tests.entry(name.clone()).or_insert(outcome);
        if outcome == TestOutcome::Failed {
            *entry = outcome;
            report.failures.push(FailureExcerpt { test: name, text: excerpt::clip(&details[at]) });
        }
    }
    report.count();
}

/// What the runner's last lines say.
#[derive(Default)]
struct Totals {
    counts: Vec<(String, u32)>,
}

impl Totals {
    fn take(&mut self, line: &str) {
        let Some((what, count)) = line.split_once(' ') else {
            return;
        };
        if let (true, Ok(count)) =
            (["tests", "pass", "fail", "cancelled", "skipped", "todo"].contains(&what), count.trim().parse())
        {
            self.counts.push((what.to_owned(), count));
        }
    }

    fn of(&self, what: &str) -> Option<u32> {
        self.counts.iter().rev().find(|(name, _)| name == what).map(|(_, count)| *count)
    }

    /// Same names may stand for several tests, so the runner's figures are taken; the report is complete if none is
    /// missing and they don't contradict what was seen.
    fn check(&self, report: &mut TestReport) {
        let (Some(tests), Some(pass), Some(fail)) = (self.of("tests"), self.of("pass"), self.of("fail")) else {
            return;
        };
        let other = self.of("cancelled").unwrap_or(0);
        let skipped = self.of("skipped").unwrap_or(0) + self.of("todo").unwrap_or(0);
        let failed = fail + other;
        report.complete = tests == pass + failed + skipped
            && tests > 0
            && (failed > 0) == (report.failed > 0)
            && report.total() <= tests;
        (report.passed, report.failed, report.skipped) = (pass, failed, skipped);
    }
}

fn spec(text: &str) -> TestReport {
    let (body, failing) = text.split_once("\n✖ failing tests:").unwrap_or((text, ""));
    let mut lines = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut plan = Totals::default();
    let mut report = TestReport::default();
    for line in body.lines() {
        let trimmed = line.trim_start();
        let depth = (line.len() - trimmed.len()) / 2;
        plan.take(trimmed.strip_prefix("ℹ ").unwrap_or_default());
        if let Some(suite) = trimmed.strip_prefix("▶ ") {
            path.truncate(depth);
            path.push(untimed(suite));
        } else if let Some(found) = spec_line(trimmed, depth) {
            // The suite's own line repeats its name after its tests.
            let is_suite_end = path.len() > depth && path.get(depth) == Some(&found.name);
            path.truncate(depth);
            if !is_suite_end {
                let name = path.iter().cloned().chain([found.name.clone()]).collect::<Vec<_>>().join(" > ");
                lines.push(Line { name, ..found });
            }
        }
    }
    for line in &lines {
        let entry = report.tests.entry(line.name.clone()).or_insert(line.outcome);
        if line.outcome == TestOutcome::Failed {
            *entry = line.outcome;
        }
    }
    report.count();
    for name in report.failing().map(str::to_owned).collect::<Vec<_>>() {
        let short = name.rsplit(" > ").next().unwrap_or(&name).to_owned();
        report.failures.push(FailureExcerpt { test: name, text: excerpt::clip(&spec_detail(failing, &short)) });
    }
    plan.check(&mut report);
    report
}

fn spec_line(trimmed: &str, depth: usize) -> Option<Line> {
    let (outcome, rest) = if let Some(rest) = trimmed.strip_prefix("✔ ") {
        (TestOutcome::Passed, rest)
    } else if let Some(rest) = trimmed.strip_prefix("✖ ") {
        (TestOutcome::Failed, rest)
    } else {
        (TestOutcome::Skipped, trimmed.strip_prefix("﹣ ")?)
    };
    let (rest, skipped) = match rest.rsplit_once("ms) # ") {
        Some((head, _)) => (format!("{head}ms)"), true),
        None => (rest.to_owned(), false),
    };
    let name = untimed(&rest);
    Some(Line { depth, name, outcome: if skipped { TestOutcome::Skipped } else { outcome } })
}

/// Without the time that it took.
fn untimed(text: &str) -> String {
    match text.rsplit_once(" (") {
        Some((name, time)) if time.trim_end().ends_with("ms)") => name.to_owned(),
        _ => text.trim_end().to_owned(),
    }
}

fn spec_detail(failing: &str, name: &str) -> String {
    let mut lines = failing
        .lines()
        .skip_while(|line| line.trim_start().strip_prefix("✖ ").is_none_or(|rest| untimed(rest) != name))
        .skip(1);
    let mut text = String::new();
    for line in lines.by_ref().take_while(|line| !line.starts_with("test at ") && !line.starts_with("✖ ")) {
        text.push_str(line);
        text.push('\n');
    }
    text
}
