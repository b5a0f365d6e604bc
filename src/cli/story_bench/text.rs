//! Results for a terminal: the arms, how they differ, then each story.

use super::interval::Estimate;
use super::results::{Results, StoryResult, Summary};
use crate::cli::args::Arm;
use crate::cli::{figures, table};

/// A part of all, as people read it.
pub fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// A part with its interval.
pub fn part(estimate: Option<Estimate>) -> String {
    match estimate {
        None => "-".to_owned(),
        Some(Estimate { value, interval: None }) => percent(value),
        Some(Estimate { value, interval: Some((low, high)) }) => {
            format!("{} ({:.1} to {:.1})", percent(value), low * 100.0, high * 100.0)
        }
    }
}

/// A difference of parts, in points of a percent.
pub fn points(estimate: Option<Estimate>) -> String {
    let signed = |part: f64| format!("{:+.1}", part * 100.0);
    match estimate {
        None => "-".to_owned(),
        Some(Estimate { value, interval: None }) => signed(value),
        Some(Estimate { value, interval: Some((low, high)) }) => {
            format!("{} ({} to {})", signed(value), signed(low), signed(high))
        }
    }
}

/// A figure without its interval.
pub fn figure(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(|| "-".to_owned(), |estimate| figures::short(estimate.value))
}

/// The whole for people.
pub fn text(results: &Results) -> String {
    let summary = &results.summary;
    let mut out = arms(summary);
    for line in remarks(summary) {
        out.push_str(&format!("\n{line}"));
    }
    if !results.stories.is_empty() {
        out.push_str(&format!("\n\n{}", stories(results)));
    }
    out
}

fn arms(summary: &Summary) -> String {
    let head = ["ARM", "RIGHT", "FALSE SUCCESS", "PROPOSALS", "TOKENS IN", "OUT", "× ONE TRY", "SECONDS", "TOOL RUNS"];
    let mut rows = table::table(head);
    for of in &summary.arms {
        let cells = [
            of.arm.name().to_owned(),
            part(of.right),
            part(of.false_success),
            figure(of.proposals),
            figure(of.tokens_in),
            figure(of.tokens_out),
            figure(of.decoded),
            figure(of.seconds),
            figure(of.tool_runs),
        ];
        table::row(&mut rows, cells);
    }
    table::text(&rows)
}

/// What is said in a sentence each.
pub fn remarks(summary: &Summary) -> Vec<String> {
    let mut said = vec![format!("\n{} stories, {} of them with a right change", summary.stories, summary.solvable)];
    for of in &summary.differences {
        let (right, wrong) = (points(of.right), points(of.false_success));
        said.push(format!("fleet less {}: right {right} points, false success {wrong} points", of.to));
    }
    let curve: Vec<String> =
        summary.coverage.iter().map(|point| format!("{} at {}", percent(point.coverage.value), point.n)).collect();
    if !curve.is_empty() {
        said.push(format!("coverage of n proposals: {}", curve.join(", ")));
    }
    if let Some(gap) = &summary.gap {
        let (single, all) = (percent(gap.single), percent(gap.coverage));
        let closed = part(Some(gap.closed));
        said.push(format!(
            "of the way from one try ({single}) to the coverage of {} ({all}), fleet goes {closed}",
            gap.n
        ));
    }
    let found: Vec<String> =
        summary.localised.iter().map(|of| format!("{} of {} within {}", of.found, of.of, of.within)).collect();
    if summary.localised.iter().any(|of| of.of > 0) {
        said.push(format!("a place of the fault is suspected: {}", found.join(", ")));
    }
    said.extend(harm(summary));
    if summary.replayed > 0 {
        said.push(format!(
            "{} of {} replies came from the cache: seconds mean little",
            summary.replayed, summary.calls
        ));
    }
    said
}

fn harm(summary: &Summary) -> Vec<String> {
    let harm = &summary.harm;
    let mut said = vec![format!(
        "tests or protected files touched by {} of {} proposals and {} of {} commits; planted instructions obeyed by {} and {}",
        harm.touched_proposals,
        harm.proposals,
        harm.touched_commits,
        harm.commits,
        harm.obeyed_proposals,
        harm.obeyed_commits
    )];
    match harm.leaks.len() {
        0 => said.push("planted secrets were seen nowhere".to_owned()),
        n => said.push(format!("PLANTED SECRETS WERE SEEN in {n} places, first: {}", harm.leaks[0])),
    }
    said
}

/// Right by arm, for one story.
pub fn right(story: &StoryResult, arm: Arm) -> String {
    let of = story.arms.iter().find(|of| of.arm == arm);
    of.map_or_else(|| "-".to_owned(), |of| format!("{:.0} %", of.mean.right * 100.0))
}

fn stories(results: &Results) -> String {
    let head = ["STORY", "KIND", "PART", "SUSPECT", "POOL", "PASS", "RIGHT", "SINGLE", "MAJORITY", "BEST", "FLEET"];
    let mut rows = table::table(head);
    for story in &results.stories {
        let [single, majority, best, fleet] = Arm::ALL.map(|arm| right(story, arm));
        let cells = [
            story.note.name.clone(),
            story.note.kind.name().to_owned(),
            story.note.part.name().to_owned(),
            suspect(story),
            story.pool.to_string(),
            story.passing.to_string(),
            story.right.to_string(),
            single,
            majority,
            best,
            fleet,
        ];
        table::row(&mut rows, cells);
    }
    table::text(&rows)
}

/// Which suspect is the first that has to be changed.
pub fn suspect(story: &StoryResult) -> String {
    match story.localised {
        None => "-".to_owned(),
        Some(0) => "none".to_owned(),
        Some(rank) => rank.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_read_as_people_write_them() {
        let sure = Some(Estimate { value: 0.4251, interval: Some((0.3, 0.5)) });
        assert_eq!((part(sure), points(sure)), ("42.5 % (30.0 to 50.0)".into(), "+42.5 (+30.0 to +50.0)".into()));
        let one = Some(Estimate { value: -0.1, interval: None });
        assert_eq!((part(one), points(one), points(None)), ("-10.0 %".into(), "-10.0".into(), "-".into()));
    }
}
