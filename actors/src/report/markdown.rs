//! Report → Markdown. Numbers in brackets are positions in the journal.

use std::fmt::Write;

use super::{AttemptEntry, Report, Source};
use crate::event::{Form, Measured, SectionNote, Spend};
use crate::narrate::{label, seconds};
use crate::plain::{block, code, inline};

/// Rows of the effects table; the JSON report has all of them.
const EFFECT_ROWS: usize = 200;

pub(super) fn write(report: &Report) -> String {
    let mut out = Out(String::new());
    head(&mut out, report);
    story(&mut out, report);
    decisions(&mut out, report);
    baseline(&mut out, report);
    attempts(&mut out, report);
    violations(&mut out, report);
    costs(&mut out, report);
    bundles(&mut out, report);
    effects(&mut out, report);
    timeline(&mut out, report);
    out.0
}

struct Out(String);

impl Out {
    fn line(&mut self, text: impl AsRef<str>) {
        self.0.push_str(text.as_ref());
        self.0.push('\n');
    }

    fn heading(&mut self, text: &str) {
        // Writing to a String can't fail.
        let _ = write!(self.0, "\n## {text}\n\n");
    }

    fn table(&mut self, columns: &[&str]) {
        self.line(format!("| {} |", columns.join(" | ")));
        self.line(format!("|{}", " --- |".repeat(columns.len())));
    }

    fn row(&mut self, cells: &[String]) {
        self.line(format!("| {} |", cells.join(" | ")));
    }
}

fn at(source: Source) -> String {
    format!("[{}]", source.position)
}

fn head(out: &mut Out, report: &Report) {
    let title = report.story.as_ref().map_or("(the story was not accepted)", |s| s.title.as_str());
    out.line(format!("# {}", inline(title)));
    out.line("");
    let outcome = &report.outcome;
    let source = outcome.source.map(at).unwrap_or_default();
    out.line(format!("**{}**: {} {source}", inline(&outcome.state), inline(&outcome.summary)));
    out.line("");
    out.line(format!("- Job: {}, project {}", code(&report.job), code(&report.project)));
    for engine in &report.engines {
        out.line(format!("- {}", inline(&label(engine))));
    }
    if report.mock() {
        out.line("- **mock**: the replies in this report come from a script, not from a model");
    }
    if let Some(commit) = &report.commit {
        out.line(format!(
            "- Commit: {} on branch {} (bundle {}, {} bytes) {}",
            code(&commit.commit),
            code(&commit.branch),
            code(&commit.bundle),
            commit.bundle_bytes,
            at(commit.source)
        ));
        for trailer in &commit.trailers {
            out.line(format!("  - {}", code(trailer)));
        }
    }
    if !report.unread.is_empty() {
        out.line(format!("- Not readable by this version: {}", inline(&report.unread.join(", "))));
    }
}

fn story(out: &mut Out, report: &Report) {
    let Some(story) = &report.story else { return };
    out.heading("Story");
    if !story.description.is_empty() {
        out.line(block(&story.description, "text"));
        out.line("");
    }
    for (name, items) in [("Must hold", &story.acceptance), ("Must not be done", &story.constraints)] {
        for item in items {
            out.line(format!("- {name}: {}", inline(item)));
        }
    }
    out.line(format!("- Repository: {} at {}", inline(&story.repo), code(&story.base_commit)));
    if let Some(build) = &story.build {
        out.line(format!("- Build: {}", code(build)));
    }
    out.line(format!("- Test: {}", code(&story.test)));
    out.line(format!("- Seed: {} {}", story.seed, at(story.source)));
}

fn decisions(out: &mut Out, report: &Report) {
    if report.decisions.is_empty() {
        return;
    }
    out.heading("Decisions");
    out.table(&["what", "who", "when", "why", "evidence", "event"]);
    for d in &report.decisions {
        out.row(&[
            format!("{}: {}", d.kind, inline(&d.what)),
            inline(&d.by),
            d.source.at.to_string(),
            inline(&d.why),
            d.evidence.iter().map(|e| inline(e)).collect::<Vec<_>>().join(", "),
            at(d.source),
        ]);
    }
}

fn baseline(out: &mut Out, report: &Report) {
    if let Some(base) = &report.baseline {
        out.heading("What the base does");
        out.line(format!("{} {}", inline(&base.why), at(base.source)));
        out.line("");
        for test in &base.failing {
            out.line(format!("- fails: {}", code(test)));
        }
        for run in &base.runs {
            out.line(format!("- ran {}: {}, {}", code(&run.command), inline(&run.ended), seconds(run.wall_ms)));
        }
    }
    if !report.suspects.is_empty() {
        out.heading("Suspected functions");
        out.table(&["function", "points", "reasons"]);
        for c in &report.suspects {
            let place = format!("{}:{} {}", c.path, c.line, c.function);
            out.row(&[code(&place), c.score.to_string(), inline(&c.reasons.join("; "))]);
        }
    }
}

fn attempts(out: &mut Out, report: &Report) {
    if report.attempts.is_empty() {
        return;
    }
    out.heading("Attempts");
    out.table(&["attempt", "wave", "agent", "asked about", "sampling", "result", "place", "cost", "events"]);
    for a in &report.attempts {
        let verdict = a.verdict_source.map(at).unwrap_or_default();
        out.row(&[
            a.attempt.to_string(),
            (a.round + 1).to_string(),
            inline(&a.agent),
            task(a),
            format!("temperature {}, seed {}", a.temperature, inline(&a.seed)),
            inline(&result(a)),
            a.place.map(|p| p.to_string()).unwrap_or_default(),
            cost(&a.spend),
            format!("{} {verdict}", at(a.source)).trim_end().to_owned(),
        ]);
    }
    for a in &report.attempts {
        details(out, a);
    }
}

/// What it was asked to do.
fn task(a: &AttemptEntry) -> String {
    let mut told = code(&a.target);
    if a.form == Form::File {
        told.push_str(", the whole file");
    }
    if let Some(n) = a.repairs {
        told.push_str(&format!(", after what attempt {n} did"));
    }
    if let Some(n) = a.builds_on {
        told.push_str(&format!(", on top of attempt {n}"));
    }
    told
}

fn details(out: &mut Out, a: &AttemptEntry) {
    if a.reason.is_empty() && a.runs.is_empty() {
        return;
    }
    out.line(format!("\n### Attempt {}\n", a.attempt));
    if !a.reason.is_empty() {
        out.line(format!("- Stands where it stands because: {}", inline(&a.reason)));
    }
    if let Some(patch) = &a.patch {
        out.line(format!(
            "- Patch {} ({} bytes): {}",
            code(&patch.digest),
            patch.bytes,
            inline(&patch.files.join(", "))
        ));
    }
    for run in &a.runs {
        let ended = format!("{}, {}", run.ended, seconds(run.wall_ms));
        out.line(format!("- Ran {}: {} (in {})", code(&run.command), inline(&ended), inline(&run.tier)));
    }
    if let Some(m) = &a.measured {
        for (name, tests) in [("Fixed", &m.newly_passing), ("Broke", &m.newly_failing)] {
            if !tests.is_empty() {
                out.line(format!("- {name}: {}", inline(&tests.join(", "))));
            }
        }
    }
    if !a.said.is_empty() {
        out.line("");
        out.line(block(&a.said, "text"));
    }
}

fn result(a: &AttemptEntry) -> String {
    let same = a.same_as.map(|n| format!("same program as attempt {n}; ")).unwrap_or_default();
    match (&a.measured, &a.why_none) {
        (Some(m), _) => format!("{same}{}", measured(m)),
        (None, Some(why)) => format!("no change: {why}"),
        (None, None) => format!("{same}not executed"),
    }
}

fn measured(m: &Measured) -> String {
    if !m.touched_protected.is_empty() {
        return format!("disqualified: touched {}", m.touched_protected.join(", "));
    }
    if !m.applies {
        return "does not apply".into();
    }
    if !m.builds {
        return "does not build".into();
    }
    let verdict = match m.special_cased.is_empty() {
        true if m.passes() => "passes".to_owned(),
        true => "fails".to_owned(),
        false => format!("special-cased for the tests' own {}", m.special_cased.join(", ")),
    };
    format!("{verdict}: {} passed, {} failed, {} lines", m.passed, m.failed, m.lines_changed)
}

fn violations(out: &mut Out, report: &Report) {
    if report.violations.is_empty() {
        return;
    }
    out.heading("Denied and stopped");
    for v in &report.violations {
        out.line(format!(
            "- attempt {}, {}: {}: {} {}",
            v.attempt,
            inline(&v.agent),
            inline(&v.what),
            inline(&v.detail),
            at(v.source)
        ));
    }
}

fn costs(out: &mut Out, report: &Report) {
    out.heading("Costs");
    out.table(&["role", "calls", "tokens read", "tokens written", "time in calls"]);
    let total = [("all".to_owned(), report.costs.total)];
    for (role, spend) in report.costs.by_role.iter().chain(&total) {
        out.row(&[
            inline(role),
            spend.calls.to_string(),
            spend.prompt_tokens.to_string(),
            spend.completion_tokens.to_string(),
            seconds(spend.wall_ms),
        ]);
    }
    out.line("");
    out.line(format!(
        "From first to last event {}, of that {} waiting for a person.",
        seconds(report.costs.elapsed_ms),
        seconds(report.costs.waited_ms)
    ));
}

fn bundles(out: &mut Out, report: &Report) {
    if report.bundles.is_empty() {
        return;
    }
    out.heading("What agents were shown");
    out.table(&["role", "phase", "for", "tokens", "holds", "left out", "hash", "made from", "event"]);
    for b in &report.bundles {
        out.row(&[
            inline(&b.role),
            inline(&b.phase),
            inline(b.task.as_deref().unwrap_or_default()),
            b.tokens.to_string(),
            notes(&b.sections),
            notes(&b.omitted),
            code(&b.hash.chars().take(16).collect::<String>()),
            format!("[{}]", b.made_from),
            at(b.source),
        ]);
    }
}

fn notes(notes: &[SectionNote]) -> String {
    let one = |n: &SectionNote| match &n.why {
        Some(why) => inline(&format!("{} {} ({why})", n.kind, n.id)),
        None => inline(&format!("{} {}", n.kind, n.id)),
    };
    notes.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn effects(out: &mut Out, report: &Report) {
    if report.effects.is_empty() {
        return;
    }
    out.heading("Effects");
    out.table(&["key", "class", "by", "what", "begun", "outcome", "took", "events"]);
    for e in report.effects.iter().take(EFFECT_ROWS) {
        let ended = e.ended.map(at).unwrap_or_default();
        out.row(&[
            code(&e.key),
            inline(&e.class),
            inline(&e.by),
            inline(&e.what),
            e.begun.to_string(),
            inline(&e.outcome),
            e.took_ms.map(seconds).unwrap_or_default(),
            format!("{} {ended}", at(e.intended)).trim_end().to_owned(),
        ]);
    }
    if let Some(more) = report.effects.len().checked_sub(EFFECT_ROWS).filter(|n| *n > 0) {
        out.line(format!("\n{more} more are in the JSON report."));
    }
}

fn timeline(out: &mut Out, report: &Report) {
    out.heading("Timeline");
    for entry in &report.timeline {
        out.line(format!("- {} {} {}: {}", at(entry.source), entry.source.at, inline(&entry.by), inline(&entry.text)));
    }
}

fn cost(spend: &Spend) -> String {
    format!("{} + {} tokens, {}", spend.prompt_tokens, spend.completion_tokens, seconds(spend.wall_ms))
}
