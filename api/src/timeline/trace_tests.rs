#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn span(thread: &str, start: i64, end: i64) -> Span {
    let (start, end) = (Timestamp(start), Timestamp(end));
    Span {
        process: "n1".into(),
        thread: thread.into(),
        name: "s".into(),
        category: "test",
        start,
        end,
        args: json!({}),
    }
}

/// What any reader of the format relies on.
pub(in crate::timeline) fn check(trace: &Value) {
    let events = trace["traceEvents"].as_array().unwrap();
    let number = |event: &Value, key: &str| event[key].as_u64().unwrap_or_else(|| panic!("no {key}: {event}"));
    let (mut named, mut last) = (BTreeSet::new(), 0);
    let mut open: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for event in events {
        let (pid, tid, ts) = (number(event, "pid"), number(event, "tid"), number(event, "ts"));
        match event["ph"].as_str().unwrap() {
            "M" => drop(named.insert((pid, tid))),
            phase => {
                assert!(named.contains(&(pid, tid)) && named.contains(&(pid, 0)), "nobody is named so: {event}");
                assert!(ts >= last, "times don't ascend: {event}");
                last = ts;
                if phase == "X" {
                    let (open, end) = (open.entry(tid).or_default(), ts + number(event, "dur"));
                    while open.last().is_some_and(|until| *until <= ts) {
                        open.pop();
                    }
                    assert!(open.last().is_none_or(|until| end <= *until), "it sticks out: {event}");
                    open.push(end);
                }
            }
        }
    }
}

#[test]
fn what_overlaps_is_told_apart_and_what_nests_is_not() {
    let spans = vec![span("a", 0, 10), span("a", 2, 8), span("a", 5, 12), span("a", 12, 13)];
    let trace = Trace { spans, marks: vec![] }.into_json();
    check(&trace);
    let events = trace["traceEvents"].as_array().unwrap();
    let threads: Vec<u64> = events.iter().filter(|e| e["ph"] == "X").map(|e| e["tid"].as_u64().unwrap()).collect();
    assert_eq!(threads, [1, 1, 2, 1]);
}

#[test]
fn a_window_cuts_off_what_stands_out() {
    let spans = vec![span("a", 0, 100), span("a", 0, 4), span("a", 30, 40)];
    let kept = Trace { spans, marks: vec![] }.within(Timestamp(10), Timestamp(20)).spans;
    assert_eq!(kept, [span("a", 10, 20)]);
}

proptest! {
    #[test]
    fn whatever_was_recorded_can_be_shown(spans in prop::collection::vec((0..3u8, 0..50i64, -5..30i64), 0..80)) {
        let spans: Vec<Span> = spans.into_iter().map(|(t, at, long)| span(&format!("t{t}"), at, at + long)).collect();
        let count = spans.len();
        let trace = Trace { spans, marks: vec![] }.into_json();
        check(&trace);
        let shown = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X").count();
        prop_assert_eq!(shown, count);
    }
}
