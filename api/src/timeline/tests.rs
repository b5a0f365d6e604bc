#![allow(clippy::unwrap_used, clippy::expect_used)]

use fleet_actors::event::StoryEvent;
use fleet_runtime::{Author, Generation, Position};
use serde_json::json;

use super::trace::tests::check;
use super::*;

fn event(stream: &str, seq: u64, at: i64, by: &str, kind: &str, payload: Value) -> Envelope {
    Envelope {
        position: Position(seq),
        at: Timestamp(at),
        by: by.parse::<Author>().unwrap(),
        project: "p".parse().unwrap(),
        stream: stream.parse().unwrap(),
        seq: Seq(seq),
        generation: Generation(1),
        kind: kind.to_owned(),
        version: 1,
        caused_by: None,
        facts: vec![],
        prev_hash: fleet_runtime::journal::Hash::default(),
        hash: fleet_runtime::journal::Hash::default(),
        payload,
    }
}

const DEV: &str = "agent:developer/developer-1";

/// A job whose first run is lost in the middle of a tool run, and whose second one waits at a gate.
fn course() -> Vec<Envelope> {
    let ended = json!({"state": "succeeded", "outcome": {"success": true, "summary": "done"}});
    let submitted =
        json!({"kind": "story", "title": "Clamp", "spec": {}, "priority": 0, "key_digest": "", "digest": ""});
    let effect = |key: &str, what: Value| json!({"key": key, "class": "repeatable", "attempt": 1, "what": what});
    let phase = |phase: &str| json!({"type": "phase", "phase": phase, "round": 0});
    let gate = json!({"type": "gate_opened", "gate": "g1", "attempt": 0, "question": "Take it?", "evidence": [], "expires_at": 99});
    let decided = json!({"type": "gate_decided", "gate": "g1", "attempt": 0, "decision": "approved", "by": "anna", "comment": "", "at": 90});
    let rows = [
        (10, "person:anna", "job.submitted", submitted),
        (20, "node:n1", "job.started", json!({"run": 1, "node": "n1"})),
        (21, "node:n1", "story.phase", phase("build")),
        (22, DEV, "effect.intended", effect("t1", json!({"tool": "exec", "allowed": true}))),
        (40, "node:n1", "job.requeued", json!({"why": "its node died", "crash": false, "not_before": 40})),
        (50, "node:n1", "job.started", json!({"run": 2, "node": "n2"})),
        (51, "node:n1", "story.phase", phase("build")),
        (52, DEV, "effect.intended", effect("r1", json!({"ask": "developer"}))),
        (60, DEV, "effect.completed", json!({"key": "r1", "attempt": 1, "result": {}})),
        // The wall clock was set back meanwhile.
        (55, "node:n1", "story.phase", phase("test")),
        (70, "node:n1", "story.gate_opened", gate),
        (71, "node:n1", "job.waiting", json!({"what": "a decision"})),
        (90, "node:n1", "story.gate_decided", decided),
        (91, "node:n1", "job.resumed", json!({})),
        (95, "node:n1", "job.ended", ended),
    ];
    let stream = "job/k3m9x2p7qa";
    rows.into_iter().zip(1..).map(|((at, by, kind, payload), seq)| event(stream, seq, at, by, kind, payload)).collect()
}

/// `process/thread: name from..until (end)`, of each span.
fn told(trace: &Trace) -> Vec<String> {
    let tell = |s: &trace::Span| {
        let end = s.args["end"].as_str().map(|end| format!(" ({end})")).unwrap_or_default();
        format!("{}/{}: {} {}..{}{end}", s.process, s.thread, s.name, s.start.0, s.end.0)
    };
    trace.spans.iter().map(tell).collect()
}

#[test]
fn a_job_is_shown_with_its_runs_phases_replies_tools_and_gates_where_they_were() {
    let (job, mut trace) = ("k3m9x2p7qa".parse().unwrap(), Trace::default());
    let mut fold = JobTrace::new(&job, &mut trace);
    for event in course() {
        // Else the course isn't one that could have been recorded.
        assert!(
            !event.kind.starts_with("story.") || matches!(StoryEvent::read(&event.kind, &event.payload), Some(Ok(_)))
        );
        fold.take(&event);
    }
    fold.end(Timestamp(1000));
    insta::assert_snapshot!(told(&trace).join("\n"));
    check(&trace.into_json());
}

#[test]
fn a_job_that_was_cut_off_anywhere_can_be_shown_until_now() {
    let job = "k3m9x2p7qa".parse().unwrap();
    for cut in 0..course().len() {
        let mut trace = Trace::default();
        let mut fold = JobTrace::new(&job, &mut trace);
        course()[..cut].iter().for_each(|event| fold.take(event));
        fold.end(Timestamp(1000));
        assert_eq!(trace.spans.is_empty(), cut == 0);
        check(&trace.into_json());
    }
}

#[test]
fn nodes_live_and_actors_have_their_places_until_they_are_gone() {
    let facts = json!({"name": "n1", "addr": "", "labels": {}});
    let rows = [
        (1, "cluster.joined", json!({"node": "id-1", "incarnation": 1, "facts": facts, "totals": {}, "at": 5})),
        (6, "cluster.member", json!({"node": "id-1", "incarnation": 1, "event": {"event": "up"}, "at": 6})),
        (7, "cluster.actor_spawned", json!({"actor": "a-1", "request": {"order": {"key": "job/j/1"}}})),
        (8, "cluster.actor_placed", json!({"actor": "a-1", "generation": 1_000_000, "place": {"node": "id-1"}})),
        (20, "cluster.member", json!({"node": "id-1", "incarnation": 1, "event": {"event": "dead"}})),
        (
            21,
            "cluster.actor_vacated",
            json!({"actor": "a-1", "generation": 1, "why": "its node is dead", "failed": false}),
        ),
        (30, "cluster.joined", json!({"node": "id-1", "incarnation": 2, "facts": facts, "totals": {}})),
    ];
    let mut trace = Trace::default();
    let mut fold = ClusterTrace::new(&mut trace, &|_| true);
    for ((at, kind, payload), seq) in rows.into_iter().zip(1..) {
        fold.take(&event("cluster/1", seq, at, "node:id-0", kind, payload));
    }
    fold.end(Timestamp(40));
    let expected = [
        "node n1/membership: member 5..20 (dead)",
        "node n1/actor job/j/1: actor job/j/1 8..21 (its node is dead)",
        "node n1/membership: member 30..40 (still there)",
    ];
    assert_eq!(told(&trace), expected);
    check(&trace.into_json());
}

#[test]
fn what_a_snapshot_has_is_shown_from_when_it_says() {
    let member = json!([{"node": "id-1", "facts": {"name": "n1"}, "standing": "up"}, {"since": 3}]);
    let actor =
        json!(["a-1", {"request": {"order": {"key": "k"}}, "place": {"node": "id-1"}, "generation": 7, "since": 4}]);
    let part = json!({"part": 1, "of": 1, "members": [member], "actors": [actor]});
    let mut trace = Trace::default();
    let mut fold = ClusterTrace::new(&mut trace, &|_| true);
    fold.take(&event("cluster/2", 1, 50, "node:id-0", "cluster.snapshot", part));
    fold.end(Timestamp(60));
    assert_eq!(
        told(&trace),
        ["node n1/actor k: actor k 4..60 (still there)", "node n1/membership: member 3..60 (still there)"]
    );
}
