//! A run as one HTML page: what was measured, on what, charts, what to configure.

use fleet_inference::bench::Point;

use super::plan::Stage;
use super::report::{COLUMNS, Report, cells};
use super::rows::{Row, measured};
use crate::cli::figures;
use crate::cli::html::{self, add, escaped};
use crate::cli::plot::{Chart, Kind, Series};

const MIB: f64 = (1 << 20) as f64;

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = html::open(&format!("{} on this machine", report.model.name));
    if !report.complete {
        add(&mut out, "<p class=\"careful\">The run was ended early: only what was measured until then is here.</p>");
    }
    add(&mut out, &facts(report));
    add(&mut out, &recommended(report));
    add(&mut out, "<h2>Charts</h2>\n<div class=\"charts\">");
    charts(&report.rows).iter().filter(|chart| !chart.is_empty()).for_each(|chart| out.push_str(&chart.svg()));
    add(&mut out, "</div>");
    add(&mut out, &rows(&report.rows));
    add(&mut out, NOTES);
    html::close(&mut out);
    out
}

const NOTES: &str = "<h2>How it was measured</h2>
<p>Each engine is a process of its own. <b>tokens/s</b> are those of all requests together, from when the last one has its
first token until the first one ends. <b>first</b> and <b>last</b> are the time from asking to the first token: the median of
the requests, and the last one. <b>memory</b> is the most that the process had so far. <b>KV</b> is the most that keys and
values held, <b>B/token</b> that by the token. <b>again</b> counts requests that gave their memory back and were computed
again. Prompts share nothing. Only the stage <i>draft</i> guesses ahead.</p>";

/// What was measured, and on what.
fn facts(report: &Report) -> String {
    let (machine, model) = (&report.machine, &report.model);
    let features = machine.features.join(" ");
    html::facts([
        ("Model", format!("{} ({})", model.name, model.facts)),
        ("File", format!("{}, {}", model.path.display(), figures::bytes(model.bytes))),
        ("SHA-256", model.sha256.clone()),
        ("Processor", format!("{}, {} cores to be used", machine.processor, machine.cores)),
        ("Computes with", format!("{} (the processor has: {features})", machine.instruction_set)),
        ("Memory", format!("{}, {} free before", figures::bytes(machine.memory), figures::bytes(machine.memory_free))),
        ("System", format!("{}; load before: {:.2}", machine.system, machine.busy)),
        (
            "Context",
            format!("{} tokens, {} of keys and values each", report.context, figures::bytes(model.facts.kv_bytes)),
        ),
        ("Date", format!("{}, took {}", report.date, figures::time(report.took_s * 1e3))),
        ("Command", report.command.clone()),
        ("Fleet", report.version.clone()),
    ])
}

fn recommended(report: &Report) -> String {
    let Some(recommended) = &report.recommendation else {
        return "<h2>What to configure</h2>\n<p>Too little was measured to say.</p>".to_owned();
    };
    let mut out = String::from("<h2>What to configure</h2>\n<pre>");
    out.push_str(&escaped(&recommended.toml));
    out.push_str(
        "</pre>\n<div class=\"wide\"><table class=\"why\">\n<tr><th>set</th><th>to</th><th>because</th></tr>\n",
    );
    for reason in &recommended.reasons {
        let [key, value, why] = [&reason.key, &reason.value, &reason.why].map(|text| escaped(text));
        add(&mut out, &format!("<tr><td><code>{key}</code></td><td>{value}</td><td>{why}</td></tr>"));
    }
    out + "</table></div>"
}

fn rows(rows: &[Row]) -> String {
    let mut out = String::from("<h2>All figures</h2>\n<div class=\"wide\"><table>\n<tr>");
    COLUMNS.iter().for_each(|name| out.push_str(&format!("<th>{}</th>", escaped(&name.to_lowercase()))));
    out.push_str("</tr>\n");
    let mut before = None;
    for row in rows {
        let class =
            if before.replace(row.stage).is_some_and(|stage| stage != row.stage) { " class=\"new\"" } else { "" };
        let cells = cells(row).map(|cell| format!("<td>{}</td>", escaped(&cell)));
        add(&mut out, &format!("<tr{class}>{}</tr>", cells.concat()));
    }
    out + "</table></div>"
}

fn charts(rows: &[Row]) -> Vec<Chart> {
    let points = |stage| measured(rows, stage).copied().collect::<Vec<Point>>();
    let (threads, load) = (points(Stage::Threads), points(Stage::Load));
    let by_load = |title: &str, y: &str, value: fn(&Point) -> f64| {
        let x = |p: &Point| (u64::from(p.load.streams), p.load.streams.to_string());
        let of = |p: &Point| (u64::from(p.load.filled), format!("{} tokens", p.load.filled));
        lines([title, "requests at once", y, "prompt:"], &load, x, of, value)
    };
    let by_threads = |title: &str, value: fn(&Point) -> f64| {
        let x = |p: &Point| (u64::from(p.threads), p.threads.to_string());
        let of = |p: &Point| (u64::from(p.load.streams), requests(p.load.streams));
        lines([title, "threads", "tokens/s", ""], &threads, x, of, value)
    };
    vec![
        by_load("Decoded, all requests together", "tokens/s", |p| p.tokens_per_s),
        by_load("Time to the first token, of the last request", "seconds", |p| p.last_first_token_ms / 1e3),
        by_threads("Threads: decoded", |p| p.tokens_per_s),
        by_threads("Threads: prompts read", |p| p.prefill_per_s),
        by_load("Keys and values held", "MiB", |p| p.kv_held as f64 / MIB),
        by_load("Prompts read", "tokens/s", |p| p.prefill_per_s),
        kv(&points(Stage::Kv)),
        draft(&points(Stage::Draft)),
    ]
}

fn kv(points: &[Point]) -> Chart {
    let x = |p: &Point| (p.kv_memory, figures::bytes(p.kv_memory));
    let load =
        points.first().map(|p| format!("{} with prompts of {} tokens:", requests(p.load.streams), p.load.filled));
    let load = load.unwrap_or_default();
    let names = ["Memory for keys and values", "memory (and how many were computed again)", "tokens/s", &load];
    let mut chart = lines(names, points, x, |_| (0, "decoded".into()), |p| p.tokens_per_s);
    chart.kind = Kind::Bars;
    for place in &mut chart.places {
        let again = points.iter().find(|p| figures::bytes(p.kv_memory) == *place).map_or(0, |p| p.preempted);
        place.push_str(&format!(" ({again} again)"));
    }
    chart
}

fn draft(points: &[Point]) -> Chart {
    let x = |p: &Point| {
        let what = if p.load.repeats { "repeats" } else { "other text" };
        (u64::from(p.load.streams) * 2 + u64::from(!p.load.repeats), format!("{}, {what}", requests(p.load.streams)))
    };
    let of = |p: &Point| (u64::from(p.draft), p.draft.to_string());
    let names = ["Guessing ahead", "load", "tokens/s", "tokens ahead:"];
    Chart { kind: Kind::Bars, ..lines(names, points, x, of, |p| p.tokens_per_s) }
}

/// A chart of points: `x` and `of` tell the place and the series of each, with what they are sorted by.
fn lines(
    [title, x_name, y_name, legend]: [&str; 4],
    points: &[Point],
    x: impl Fn(&Point) -> (u64, String),
    of: impl Fn(&Point) -> (u64, String),
    value: impl Fn(&Point) -> f64,
) -> Chart {
    let sorted = |each: &dyn Fn(&Point) -> (u64, String)| {
        let mut all: Vec<(u64, String)> = points.iter().map(each).collect();
        all.sort();
        all.dedup();
        all
    };
    let (places, all) = (sorted(&x), sorted(&of));
    let series = all.into_iter().map(|key| {
        let at = |place: &(u64, String)| points.iter().find(|p| of(p) == key && x(p) == *place);
        let values = places.iter().map(|place| at(place).map(&value).filter(|value| *value > 0.0)).collect();
        Series { values, name: key.1, ..Series::default() }
    });
    Chart {
        kind: Kind::Lines,
        title: title.to_owned(),
        x: x_name.to_owned(),
        y: y_name.to_owned(),
        legend: legend.to_owned(),
        series: series.collect(),
        places: places.into_iter().map(|(_, name)| name).collect(),
    }
}

fn requests(streams: u32) -> String {
    if streams == 1 { "1 request".to_owned() } else { format!("{streams} requests") }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
