#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;

fn envelope(kind: &str, by: &str, payload: Value) -> Envelope {
    serde_json::from_value(json!({
        "position": 1, "at": 0, "by": by, "project": "p", "stream": "job/k3m9x2p7qa", "seq": 1, "generation": 1,
        "kind": kind, "version": 1, "caused_by": null, "prev_hash": "0".repeat(64), "hash": "0".repeat(64),
        "payload": payload,
    }))
    .unwrap()
}

fn proposal(attempt: u32, digest: &str, shape: Option<&str>) -> Envelope {
    let mut patch = json!({"digest": digest, "bytes": 10, "lines": 3, "files": ["a.py"]});
    if let Some(shape) = shape {
        patch["shape"] = shape.into();
    }
    let payload = json!({
        "type": "proposal", "attempt": attempt, "round": 0, "agent": "d", "target": "a.py:f", "seed": "0",
        "temperature": 0.8, "bundle": "b", "how": "patch", "patch": patch,
        "calls": 1, "prompt_tokens": 100, "completion_tokens": 20 + attempt, "wall_ms": 5,
    });
    envelope("story.proposal", "agent:developer/d", payload)
}

fn verdict(attempt: u32, digest: &str, fixed: bool) -> Envelope {
    let measured = json!({
        "touched_protected": [], "applies": true, "builds": true, "target_fixed": fixed, "newly_failing": [],
        "newly_passing": [], "passed": 4, "failed": 0, "lines_changed": 3,
    });
    let run = json!({"command": "t", "ended": "exit 0", "wall_ms": 1, "tier": "x"});
    let payload = json!({
        "type": "verdict", "attempt": attempt, "patch": digest, "measured": measured, "said": "", "runs": [run], "effect": "e",
    });
    envelope("story.verdict", "node:n", payload)
}

fn folded(events: &[Envelope]) -> Facts {
    let mut facts = Facts::default();
    events.iter().for_each(|event| facts.take(event).unwrap());
    facts
}

#[test]
fn a_verdict_holds_for_every_attempt_with_the_same_program() {
    let facts = folded(&[
        proposal(0, "d0", None),
        proposal(1, "d1", Some("s")),
        proposal(2, "d2", Some("s")),
        proposal(3, "d0", None),
        verdict(1, "d1", true),
        verdict(0, "d0", false),
    ]);
    let attempts = facts.attempts();
    assert_eq!(attempts.iter().map(|a| a.passes).collect::<Vec<_>>(), [false, true, true, false]);
    assert_eq!(attempts[2].program.as_deref(), Some("s"));
    assert_eq!((attempts[2].patch.as_deref(), attempts[2].tokens_out, attempts[2].lines), (Some("d2"), 22, 3));
    // Whoever makes the second alone has it executed, too.
    assert_eq!((attempts[2].tool_runs, facts.tool_runs), (1, 2));
}

#[test]
fn what_was_asked_and_run_is_counted_once() {
    let tool = |key: &str| {
        let what = json!({"tool": "exec", "args": {}});
        envelope(
            "effect.intended",
            "agent:developer/d",
            json!({"key": key, "class": "repeatable", "attempt": 1, "what": what}),
        )
    };
    let ask = json!({"key": "propose/0/think/0", "class": "repeatable", "attempt": 1, "what": {"ask": "developer"}});
    let asked = |attempt: u64| {
        let mut ask = ask.clone();
        ask["attempt"] = attempt.into();
        envelope("effect.intended", "agent:developer/d", ask)
    };
    let result = json!({"text": "x", "prompt_tokens": 100, "completion_tokens": 7, "replayed": true});
    let done =
        envelope("effect.completed", "node:n", json!({"key": "propose/0/think/0", "attempt": 2, "result": result}));
    let facts = folded(&[
        proposal(0, "d", None),
        asked(1),
        asked(2),
        done,
        tool("tool/a0/0/x"),
        tool("tool/a0/0/x"),
        tool("tool/a7/0/y"),
    ]);
    assert_eq!((facts.calls, facts.replayed, facts.tokens_in, facts.tokens_out), (1, 1, 100, 7));
    assert_eq!((facts.tool_runs, facts.attempts()[0].tool_runs), (2, 1));
}

#[test]
fn an_event_that_cannot_be_read_is_named() {
    let mut facts = Facts::default();
    let strange = facts.take(&envelope("story.verdict", "node:n", json!({"type": "verdict"}))).unwrap_err();
    assert!(strange.starts_with("story.verdict"), "{strange}");
    facts.take(&envelope("job.started", "node:n", json!({"run": 1}))).unwrap();
    assert!(facts.ended.is_none());
}
