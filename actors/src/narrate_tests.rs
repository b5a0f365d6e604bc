#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::sample::{Tape, accepted, engine, whole};
use serde_json::json;

fn lines(events: &[Envelope]) -> String {
    events.iter().filter_map(line).map(|l| l + "\n").collect()
}

#[test]
fn a_whole_job_reads_as_one_line_an_event() {
    insta::assert_snapshot!(lines(&whole()));
}

#[test]
fn a_scripted_engine_is_never_shown_without_saying_so() {
    let mut tape = Tape::new();
    tape.tell("node:n1", &accepted(EngineLabel { mock: true, ..engine() }));
    assert!(lines(&tape.events).contains("[mock]"));
}

#[test]
fn no_line_holds_a_control_character_whatever_a_model_wrote() {
    let mut tape = Tape::new();
    let nasty = "a\u{1b}]0;owned\u{7}\nb\u{202e}";
    tape.tell("node:n1", &StoryEvent::Ended { success: false, summary: nasty.into(), best: None })
        .raw(
            "agent:developer/d",
            "effect.intended",
            json!({"key": "k", "what": {"tool": nasty, "args": {"path": nasty}}}),
        )
        .raw("node:n1", "job.ended", json!({"outcome": {"summary": nasty}}));
    for event in &tape.events {
        let line = line(event).unwrap();
        assert!(!line.chars().any(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
    }
}

#[test]
fn an_event_of_a_newer_version_is_named_and_not_guessed_at() {
    let mut tape = Tape::new();
    tape.raw("node:n1", "story.design", json!({"type": "design", "shape": "new"}));
    assert_eq!(lines(&tape.events), "story.design (written by a newer version)\n");
}
