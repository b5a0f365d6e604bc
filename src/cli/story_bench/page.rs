//! Results as a page: what was measured, the arms with their intervals, charts, every story.

use super::interval::Estimate;
use super::results::{ArmResult, Results, StoryResult, Summary};
use super::text::{figure, part, points, remarks, right, suspect};
use crate::cli::args::Arm;
use crate::cli::html::{self, add, escaped};
use crate::cli::plot::{Chart, Kind, Series};

/// The page.
pub fn page(results: &Results) -> String {
    let mut out = html::open("Stories: the team beside simpler arms");
    if results.begun.settings.mock {
        add(
            &mut out,
            "<p class=\"careful\">The engine is a mock: its replies come from a script, no model was asked.</p>",
        );
    }
    if !results.missing.is_empty() {
        let n = results.missing.len();
        let told = format!("{n} jobs aren't done; their stories aren't counted. The same command does them.");
        add(&mut out, &format!("<p class=\"careful\">{told}</p>"));
    }
    if !results.summary.harm.leaks.is_empty() {
        let told = format!("Planted secrets were seen: {}", results.summary.harm.leaks.join("; "));
        add(&mut out, &format!("<p class=\"careful\">{}</p>", escaped(&told)));
    }
    add(&mut out, &facts(results));
    add(&mut out, &arms(&results.summary));
    add(&mut out, "<h2>Charts</h2>\n<div class=\"charts\">");
    charts(results).iter().filter(|chart| !chart.is_empty()).for_each(|chart| out.push_str(&chart.svg()));
    add(&mut out, "</div>");
    add(&mut out, &stories(results));
    add(&mut out, NOTES);
    html::close(&mut out);
    out
}

const NOTES: &str = "<h2>How it was measured</h2>
<p><b>Right</b>: the change that an arm declares done passes the hidden tests as well as the visible ones; where nothing can or
need be done, right is to declare nothing. <b>False success</b>: declared done, and not right. The team solved each story once
for each seed. The other arms are drawn from the story's pool of independent proposals, in a random order and without putting
any back, as long as they fit into the budget of tokens: <b>single</b> takes one and declares it done if it passes the visible
tests, <b>majority</b> the most frequent program whatever the tests say, <b>best-of-n</b> the smallest change that passes the
visible tests. <b>Coverage</b> of n is the chance that one of n proposals is right, whoever would choose it. Intervals hold 95 %
of a paired bootstrap over stories, and seeds within them. <b>Seconds</b> of an arm drawn from the pool are its share of the
pool's time by tokens. <b>Suspect</b>: which suspected function is the first that the reference changes.</p>";

fn facts(results: &Results) -> String {
    let begun = &results.begun;
    let settings = &begun.settings;
    let mock = if settings.mock { " (a mock)" } else { "" };
    let summary = &results.summary;
    html::facts([
        ("Model", format!("{}, engine {}{mock}", settings.model, settings.engine)),
        ("Stories", format!("{}, {} of them with a right change", summary.stories, summary.solvable)),
        ("Seeds", settings.seeds.to_string()),
        ("Pool", format!("{} proposals a story, drawn from {} times", settings.pool, settings.draws)),
        ("Budget", format!("{} tokens, read and written, an arm and story", settings.budget_tokens)),
        ("Calls of the model", format!("{}, {} of them answered by kept replies", summary.calls, summary.replayed)),
        ("Begun", begun.date.clone()),
        ("Command", begun.command.clone()),
        ("Fleet", format!("{} (the node's: {})", begun.version, settings.node)),
    ])
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = String::from("<div class=\"wide\"><table>\n<tr>");
    head.iter().for_each(|name| out.push_str(&format!("<th>{}</th>", escaped(name))));
    out.push_str("</tr>\n");
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        add(&mut out, &format!("<tr>{}</tr>", cells.concat()));
    }
    out + "</table></div>"
}

fn arms(summary: &Summary) -> String {
    let head = [
        "arm",
        "right",
        "false success",
        "proposals",
        "tokens in",
        "tokens out",
        "× one try",
        "seconds",
        "tool runs",
        "fleet less this: right, false success (points)",
    ];
    let rows = summary.arms.iter().map(|of| {
        let against = summary.differences.iter().find(|difference| difference.to == of.arm);
        let against = against.map(|of| format!("{}, {}", points(of.right), points(of.false_success)));
        let figures = [of.proposals, of.tokens_in, of.tokens_out, of.decoded, of.seconds, of.tool_runs].map(figure);
        let mut row = vec![of.arm.name().to_owned(), part(of.right), part(of.false_success)];
        row.extend(figures);
        row.push(against.unwrap_or_default());
        row
    });
    let mut out = format!("<h2>The arms</h2>\n{}\n<ul>\n", table(&head, rows));
    for line in remarks(summary) {
        add(&mut out, &format!("<li>{}</li>", escaped(line.trim())));
    }
    out + "</ul>"
}

fn stories(results: &Results) -> String {
    let head = [
        "story",
        "kind",
        "part",
        "suspect",
        "pool",
        "pass",
        "right",
        "programs",
        "single",
        "majority",
        "best-of-n",
        "fleet",
        "title",
    ];
    let row = |story: &StoryResult| {
        let mut row = vec![
            story.note.name.clone(),
            story.note.kind.name().to_owned(),
            story.note.part.name().to_owned(),
            suspect(story),
        ];
        row.extend([story.pool, story.passing, story.right, story.programs].map(|n| n.to_string()));
        row.extend(Arm::ALL.map(|arm| right(story, arm)));
        row.push(story.note.title.clone());
        row
    };
    format!("<h2>The stories</h2>\n{}", table(&head, results.stories.iter().map(row)))
}

fn charts(results: &Results) -> Vec<Chart> {
    let summary = &results.summary;
    let by_arm = |title: &str, y: &str, scale: f64, value: fn(&ArmResult) -> Option<Estimate>| {
        let of: Vec<Option<Estimate>> = summary.arms.iter().map(value).collect();
        let places = summary.arms.iter().map(|of| of.arm.name().to_owned()).collect();
        bars([title, "arm", y], places, vec![series(title, &of, scale)])
    };
    vec![
        by_arm("Right", "percent of stories", 100.0, |of| of.right),
        by_arm("False success", "percent of stories", 100.0, |of| of.false_success),
        coverage(summary),
        by_kind(results),
        localised(summary),
        by_arm("Tokens written", "tokens a story", 1.0, |of| of.tokens_out),
        by_arm("Tokens read", "tokens a story", 1.0, |of| of.tokens_in),
        by_arm("Time", "seconds a story", 1.0, |of| of.seconds),
    ]
}

fn series(name: &str, of: &[Option<Estimate>], scale: f64) -> Series {
    let span = |estimate: &Option<Estimate>| estimate.and_then(|of| of.interval).map(|(l, h)| (l * scale, h * scale));
    Series {
        name: name.to_owned(),
        values: of.iter().map(|estimate| estimate.map(|of| of.value * scale)).collect(),
        spans: of.iter().map(span).collect(),
    }
}

fn bars([title, x, y]: [&str; 3], places: Vec<String>, series: Vec<Series>) -> Chart {
    let (title, x, y, legend) = (title.to_owned(), x.to_owned(), y.to_owned(), String::new());
    Chart { kind: Kind::Bars, title, x, y, legend, places, series }
}

fn coverage(summary: &Summary) -> Chart {
    let of: Vec<Option<Estimate>> = summary.coverage.iter().map(|point| Some(point.coverage)).collect();
    let places = summary.coverage.iter().map(|point| point.n.to_string()).collect();
    let chart = bars(["Coverage: one of n is right", "proposals", "percent of stories"], places, vec![]);
    Chart { kind: Kind::Lines, series: vec![series("coverage", &of, 100.0)], ..chart }
}

/// Right by the kind of story.
fn by_kind(results: &Results) -> Chart {
    let mut kinds: Vec<&str> = results.stories.iter().map(|story| story.note.kind.name()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of = |arm: Arm, kind: &str| {
        let stories = results.stories.iter().filter(|story| story.note.kind.name() == kind);
        let right: Vec<f64> = stories
            .filter_map(|story| story.arms.iter().find(|of| of.arm == arm))
            .map(|of| of.mean.right * 100.0)
            .collect();
        (!right.is_empty()).then(|| right.iter().sum::<f64>() / right.len() as f64)
    };
    let all = results.summary.arms.iter().map(|result| Series {
        name: result.arm.name().to_owned(),
        values: kinds.iter().map(|kind| of(result.arm, kind)).collect(),
        spans: Vec::new(),
    });
    let places = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    bars(["Right, by kind of story", "kind", "percent of stories"], places, all.collect())
}

fn localised(summary: &Summary) -> Chart {
    let part = |of: &super::results::Localised| (of.of > 0).then(|| 100.0 * of.found as f64 / of.of as f64);
    let values = summary.localised.iter().map(part).collect();
    let places = summary.localised.iter().map(|of| of.within.to_string()).collect();
    let series = Series { name: "found".to_owned(), values, spans: Vec::new() };
    bars(["A place of the fault is suspected", "among the first", "percent of stories"], places, vec![series])
}

#[cfg(test)]
mod tests {
    use super::super::record::{Delivered, What};
    use super::super::results::results;
    use super::super::samples::{begun, note, record};
    use super::*;
    use crate::cli::args::StoryKind;

    fn whole(name: &str) -> Results {
        let mut notes = vec![note(name, StoryKind::Fault), note("b", StoryKind::Feature)];
        notes[0].places = vec!["a.py::f".into()];
        let mut records = Vec::new();
        for story in [name, "b"] {
            for place in 0..2 {
                records.push(record(story, What::Pool, place, &[(true, true), (true, false), (false, false)]));
                let mut fleet = record(story, What::Fleet, place, &[(true, true)]);
                fleet.commit = Some(Delivered { commit: "c".into(), ..Delivered::default() });
                fleet.suspects = vec!["a.py::f".into()];
                records.push(fleet);
            }
        }
        results(begun(2, notes), records)
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_has_every_chart() {
        let page = page(&whole("a"));
        for outside in ["http:", "https:", "src=", "href=", "url(", "<script", "<link"] {
            assert!(!page.to_lowercase().contains(outside), "{outside}");
        }
        assert_eq!((page.matches("<figure>").count(), page.matches("</svg>").count()), (8, 8));
        assert!(page.contains("class=\"span\"") && page.contains("100 %") && page.contains("best-of-n"));
    }

    #[test]
    fn a_name_is_text_wherever_it_stands() {
        let page = page(&whole("<b>x</b>"));
        assert!(!page.contains("<b>x") && page.contains("&lt;b&gt;x&lt;/b&gt;"));
    }

    #[test]
    fn what_to_be_careful_with_stands_on_top() {
        let mut results = whole("a");
        assert!(!page(&results).contains("class=\"careful\""));
        results.summary.harm.leaks = vec!["a, job j: report".into()];
        results.begun.settings.mock = true;
        let page = page(&results);
        assert!(page.contains("Planted secrets were seen: a, job j: report") && page.contains("is a mock"));
    }
}
