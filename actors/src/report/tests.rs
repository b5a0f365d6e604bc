#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::event::{EngineLabel, StoryEvent};
use crate::sample::{Tape, accepted, engine, whole};
use serde_json::json;

#[test]
fn the_report_of_a_whole_job_as_markdown() {
    insta::assert_snapshot!(Report::from_events(&whole()).to_markdown());
}

#[test]
fn the_report_of_a_whole_job_as_json() {
    insta::assert_json_snapshot!(Report::from_events(&whole()));
}

#[test]
fn a_report_survives_its_json() {
    let report = Report::from_events(&whole());
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn every_entry_names_an_event_that_is_there() {
    let events = whole();
    let report = Report::from_events(&events);
    let known = |s: &Source| events.iter().any(|e| e.position.0 == s.position && e.at == s.at);
    assert!(report.timeline.iter().all(|t| known(&t.source)));
    assert!(report.decisions.iter().all(|d| known(&d.source)));
    assert!(report.attempts.iter().all(|a| known(&a.source)));
    assert!(report.effects.iter().all(|e| known(&e.intended)));
}

#[test]
fn the_report_of_a_job_that_is_under_way_claims_no_end() {
    let events = whole();
    let report = Report::from_events(&events[..14]);
    assert_eq!(report.outcome.state, "running");
    assert!(report.commit.is_none());
    assert!(Report::from_events(&[]).to_markdown().contains("the story was not accepted"));
}

#[test]
fn a_stopped_job_is_not_told_as_anything_else() {
    let mut events = whole();
    events.truncate(14);
    let mut tape = Tape { events };
    tape.raw(
        "node:n1",
        "job.ended",
        json!({"state": "stopped", "outcome": {"success": false, "summary": "stopped by anna"}}),
    );
    let report = Report::from_events(&tape.events);
    assert_eq!((report.outcome.state.as_str(), report.outcome.summary.as_str()), ("stopped", "stopped by anna"));
}

#[test]
fn costs_are_added_up_by_role_and_the_wait_for_a_person_is_told_apart() {
    let costs = Report::from_events(&whole()).costs;
    assert_eq!(costs.total.calls, 6);
    assert_eq!(costs.total.prompt_tokens, 800 + 300 + 4 * 612);
    assert_eq!(costs.by_role.iter().map(|(r, _)| r.as_str()).collect::<Vec<_>>(), ["architect", "developer"]);
    assert_eq!(costs.waited_ms, 2000);
}

#[test]
fn a_scripted_engine_is_named_in_the_first_lines() {
    let mut tape = Tape::new();
    tape.tell("node:n1", &accepted(EngineLabel { mock: true, ..engine() }));
    let text = Report::from_events(&tape.events).to_markdown();
    let head: Vec<&str> = text.lines().take(10).collect();
    assert!(head.iter().any(|l| l.contains("**mock**")), "{text}");
}

#[test]
fn nothing_that_a_model_wrote_is_markup_or_a_control_character() {
    let mut tape = Tape::new();
    tape.tell(
        "node:n1",
        &StoryEvent::Ended { success: false, summary: "# owned | <script> \u{1b}[2J **fine**".into(), best: None },
    );
    let text = Report::from_events(&tape.events).to_markdown();
    assert!(!text.contains("<script>") && !text.contains('\u{1b}') && !text.contains(" **fine**"), "{text}");
}
