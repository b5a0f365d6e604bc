//! The page that is scraped: the text format of Prometheus, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::names::Metric;

/// Upper bounds of the buckets of waiting times, in seconds.
pub(super) const WAITS: [f64; 9] = [0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0];

/// Metrics with their values.
#[derive(Debug, Default)]
pub struct Page(BTreeMap<&'static str, (Metric, String)>);

impl Page {
    /// Adds a value. The same metric may have several, with other values of the same labels.
    pub fn put(&mut self, metric: Metric, labels: &[(&str, &str)], value: f64) {
        self.sample(metric, "", labels, value);
    }

    /// Adds a number of things; exact up to 2^53.
    #[expect(clippy::cast_precision_loss, reason = "the text format knows nothing but floating point")]
    pub fn count(&mut self, metric: Metric, labels: &[(&str, &str)], value: u64) {
        self.put(metric, labels, value as f64);
    }

    /// Adds what was measured.
    #[expect(clippy::cast_precision_loss, reason = "the text format knows nothing but floating point")]
    pub(super) fn histogram(&mut self, metric: Metric, waits: &Waits) {
        let mut below = 0;
        for (bound, count) in WAITS.iter().zip(waits.counts) {
            below += count;
            self.sample(metric, "_bucket", &[("le", &bound.to_string())], below as f64);
        }
        let all = waits.counts.iter().sum::<u64>() as f64;
        self.sample(metric, "_bucket", &[("le", "+Inf")], all);
        self.sample(metric, "_sum", &[], waits.seconds);
        self.sample(metric, "_count", &[], all);
    }

    fn sample(&mut self, metric: Metric, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let (_, lines) = self.0.entry(metric.name).or_insert_with(|| (metric, String::new()));
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String can't fail.
        let _ = writeln!(lines, "{}{suffix}{labels} {value}", metric.name);
    }
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, (metric, lines)) in &self.0 {
            write!(f, "# HELP {name} {}\n# TYPE {name} {}\n{lines}", metric.help, metric.kind.as_str())?;
        }
        Ok(())
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// How long some things have waited.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// One more than there are bounds: the last is for all that waited longer.
    counts: [u64; WAITS.len() + 1],
    seconds: f64,
}

impl Waits {
    pub(super) fn add(&mut self, waited: std::time::Duration) {
        let seconds = waited.as_secs_f64();
        let place = WAITS.iter().position(|bound| seconds <= *bound).unwrap_or(WAITS.len());
        self.counts[place] += 1;
        self.seconds += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    #[test]
    fn buckets_count_all_that_waited_no_longer_than_their_bound() {
        let (mut page, mut waits) = (Page::default(), Waits::default());
        for millis in [50, 51, 100_000_000] {
            waits.add(std::time::Duration::from_millis(millis));
        }
        page.histogram(names::QUEUE_WAIT, &waits);
        let text = page.to_string();
        for line in ["_bucket{le=\"0.05\"} 1", "_bucket{le=\"0.25\"} 2", "_bucket{le=\"+Inf\"} 3", "_count 3"] {
            assert!(text.contains(&format!("fleet_job_queue_wait_seconds{line}\n")), "{text}");
        }
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut page = Page::default();
        page.count(names::JOBS, &[("state", "a\"b\\c\nd")], 1);
        assert!(page.to_string().ends_with("fleet_jobs{state=\"a\\\"b\\\\c\\nd\"} 1\n"));
    }
}
