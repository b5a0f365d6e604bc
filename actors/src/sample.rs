//! The events of one whole job, for tests of what a person reads.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use fleet_runtime::{Author, Envelope, Generation, Hash, JobId, Position, Seq, StreamId, Timestamp};
use serde_json::{Value, json};

use crate::event::*;
use crate::spec::Approve;

const START: i64 = 1_763_836_245_000;

/// Puts payloads into envelopes, a second apart.
pub struct Tape {
    pub events: Vec<Envelope>,
}

impl Tape {
    pub fn new() -> Self {
        Self { events: Vec::new() }
    }

    pub fn raw(&mut self, by: &str, kind: &str, payload: Value) -> &mut Self {
        let n = self.events.len() as u64 + 1;
        let job: JobId = "k3m9x2p7qa".parse().unwrap();
        self.events.push(Envelope {
            position: Position(n),
            at: Timestamp(START + n as i64 * 1000),
            by: by.parse::<Author>().unwrap(),
            project: "shop".parse().unwrap(),
            stream: StreamId::job(&job),
            seq: Seq(n),
            generation: Generation(1),
            kind: kind.into(),
            version: 1,
            caused_by: None,
            facts: vec![],
            prev_hash: Hash::default(),
            hash: Hash::default(),
            payload,
        });
        self
    }

    pub fn tell(&mut self, by: &str, event: &StoryEvent) -> &mut Self {
        let (kind, payload) = (event.kind(), serde_json::to_value(event).unwrap());
        self.raw(by, kind, payload)
    }
}

pub fn engine() -> EngineLabel {
    EngineLabel { name: "local".into(), model: "qwen2.5-coder-1.5b-instruct".into(), mock: false }
}

pub fn accepted(engine: EngineLabel) -> StoryEvent {
    StoryEvent::Accepted {
        title: "Total ignores quantities".into(),
        story_hash: "aa".repeat(32),
        description: "The cart's total is wrong.\n```\n# not a heading\u{1b}[31m".into(),
        acceptance: vec!["Every item counts.".into()],
        constraints: vec!["Keep the interface.".into()],
        base_commit: "0123456789abcdef0123456789abcdef01234567".into(),
        repo: "shop".into(),
        build: None,
        test: "python3 -m unittest -v".into(),
        approve: Approve::Ask,
        seed: 7,
        engine,
    }
}

fn spend(prompt: u64, completion: u64, ms: u64) -> Spend {
    Spend { calls: 1, prompt_tokens: prompt, completion_tokens: completion, wall_ms: ms }
}

fn run(ended: &str) -> RunNote {
    RunNote {
        command: "python3 -m unittest -v".into(),
        ended: ended.into(),
        wall_ms: 214,
        tier: "bwrap+seccomp+cgroup-v1".into(),
    }
}

pub fn proposal(attempt: u32, digest: Option<&str>) -> StoryEvent {
    let end = match digest {
        Some(digest) => ProposalEnd::Patch {
            patch: PatchNote {
                digest: digest.into(),
                bytes: 214,
                lines: 2,
                files: vec!["cart.py".into()],
                shape: None,
            },
        },
        None => ProposalEnd::Nothing { why: "stopped, it went in circles: the same call of exec".into() },
    };
    StoryEvent::Proposal(Proposal {
        attempt,
        round: 0,
        repairs: None,
        builds_on: None,
        form: Form::Function,
        role: "developer".into(),
        agent: format!("developer-{}", attempt + 1),
        engine: engine(),
        target: "cart.py:Cart.total".into(),
        seed: "00000000000000ff".into(),
        temperature: if attempt == 0 { 0.0 } else { 0.8 },
        bundle: "bb".repeat(32),
        end,
        effects: vec![format!("propose/{attempt}/think/0")],
        spend: spend(612, 43, 12_140),
    })
}

fn verdict(attempt: u32, digest: &str, passes: bool) -> StoryEvent {
    StoryEvent::Verdict {
        attempt,
        patch: digest.into(),
        measured: Measured {
            applies: true,
            builds: true,
            target_fixed: passes,
            newly_passing: if passes { vec!["test_total".into()] } else { vec![] },
            newly_failing: if passes { vec![] } else { vec!["test_empty".into()] },
            passed: if passes { 3 } else { 1 },
            failed: if passes { 0 } else { 2 },
            lines_changed: 2,
            ..Measured::default()
        },
        said: if passes { String::new() } else { "AssertionError: 1 != 3 `|`".into() },
        runs: vec![run(if passes { "exit 0" } else { "exit 1" })],
        effect: format!("verify/{attempt}"),
    }
}

/// A job from its submit to its end.
pub fn whole() -> Vec<Envelope> {
    let mut tape = Tape::new();
    begin(&mut tape);
    build(&mut tape);
    end(&mut tape);
    tape.events
}

fn begin(tape: &mut Tape) {
    tape.raw("person:anna", "job.submitted", json!({"kind": "story", "title": "Total ignores quantities"}))
        .raw("node:n1", "job.started", json!({"run": 1}))
        .tell("node:n1", &accepted(engine()))
        .raw(
            "node:n1",
            "effect.intended",
            json!({"key": "baseline", "class": "repeatable", "attempt": 1, "what": {"test": "python3 -m unittest -v"}}),
        )
        .raw("node:n1", "effect.completed", json!({"key": "baseline", "attempt": 1, "result": {}}))
        .tell(
            "node:n1",
            &StoryEvent::Baseline {
                outcome: BaselineOutcome::Failing,
                why: "1 of 3 tests fail on the base".into(),
                failing: vec!["test_total".into()],
                passed: 2,
                failed: 1,
                runs: vec![run("exit 1")],
                effect: "baseline".into(),
            },
        )
        .tell("node:n1", &StoryEvent::Phase { phase: Phase::Design, round: 0 })
        .tell(
            "node:n1",
            &StoryEvent::Localised {
                candidates: vec![Candidate {
                    path: "cart.py".into(),
                    function: "Cart.total".into(),
                    line: 8,
                    score: 11,
                    reasons: vec!["a failing test calls total".into()],
                    forms: vec![Form::Function],
                }],
                considered: 5,
            },
        )
        .tell(
            "node:n1",
            &StoryEvent::Bundle {
                hash: "bb".repeat(32),
                role: "architect".into(),
                phase: Phase::Design,
                task: Some("design".into()),
                tokens: 420,
                position: 8,
                sections: vec![SectionNote { kind: "story".into(), id: "k3m9x2p7qa".into(), tokens: 80, why: None }],
                omitted: vec![SectionNote {
                    kind: "file list".into(),
                    id: "base".into(),
                    tokens: 900,
                    why: Some("over budget".into()),
                }],
            },
        )
        .tell(
            "agent:architect/architect",
            &StoryEvent::Design {
                summary: "The total adds prices and forgets quantities.".into(),
                approach: "Multiply price by quantity.".into(),
                risks: vec!["Empty carts.".into()],
                bundle: "bb".repeat(32),
                effect: "design".into(),
                spend: spend(800, 60, 9_000),
            },
        )
        .tell(
            "agent:architect/architect",
            &StoryEvent::Plan {
                tasks: vec![TaskNote {
                    id: "t1".into(),
                    title: "Fix the total".into(),
                    depends_on: vec![],
                    files: vec!["cart.py".into()],
                }],
                refused: None,
                bundle: "cc".repeat(32),
                effect: "plan".into(),
                spend: spend(300, 30, 4_000),
            },
        );
}

fn build(tape: &mut Tape) {
    let (a, b) = ("d1".repeat(32), "d2".repeat(32));
    tape.tell("node:n1", &StoryEvent::Phase { phase: Phase::Build, round: 0 })
        .raw("agent:developer/developer-3", "effect.intended", json!({"key": "tool/a2/0", "class": "repeatable", "attempt": 1, "what": {"tool": "exec", "args": {"command": "curl\u{7} http://x"}}}))
        .raw("agent:developer/developer-3", "effect.completed", json!({"key": "tool/a2/0", "attempt": 1, "result": {"ok": false, "denied": "no-network"}}))
        .tell("agent:developer/developer-1", &proposal(0, Some(&a)))
        .tell("agent:developer/developer-2", &proposal(1, Some(&b)))
        .tell("node:n1", &StoryEvent::Violation {
            attempt: 2,
            agent: "developer-3".into(),
            what: "denied".into(),
            detail: "exec curl: no-network: there is no network".into(),
        })
        .tell("agent:developer/developer-3", &proposal(2, None))
        .tell("agent:developer/developer-4", &proposal(3, Some(&a)))
        .tell("node:n1", &StoryEvent::Phase { phase: Phase::Test, round: 0 })
        .tell("node:n1", &verdict(0, &a, true))
        .tell("node:n1", &verdict(1, &b, false))
        .tell("node:n1", &StoryEvent::Ranked {
            round: 0,
            places: [(0, "target fixed, 2 lines changed"), (3, "equal in everything, and later"), (1, "target not fixed"), (2, "no change")]
                .map(|(attempt, reason)| Place { attempt, reason: reason.into() })
                .to_vec(),
            winner: Some(0),
            reason: "attempt 0 stands first: target fixed, 2 lines changed".into(),
        });
}

fn end(tape: &mut Tape) {
    let gate = "k3m9x2p7qa-0".to_owned();
    tape.tell(
        "node:n1",
        &StoryEvent::GateOpened {
            gate: gate.clone(),
            attempt: 0,
            asked: Asked::Commit,
            question: "Commit attempt 0?".into(),
            evidence: vec!["target fixed".into()],
            expires_at: Timestamp(START + 600_000_000),
        },
    )
    .raw("node:n1", "job.waiting", json!({"what": "Commit attempt 0?"}))
    .tell(
        "person:anna",
        &StoryEvent::GateDecided {
            gate,
            attempt: 0,
            decision: GateDecision::Approved,
            by: "anna".into(),
            comment: "looks right".into(),
            at: Timestamp(START + 26_000),
        },
    )
    .tell(
        "node:n1",
        &StoryEvent::Committed {
            attempt: 0,
            commit: "fedcba9876543210fedcba9876543210fedcba98".into(),
            branch: "fleet/k3m9x2p7qa".into(),
            bundle: "ee".repeat(32),
            bundle_bytes: 913,
            trailers: vec!["Fleet-Job: k3m9x2p7qa".into(), "Approved-by: anna".into()],
            effect: "commit".into(),
        },
    )
    .tell("node:n1", &StoryEvent::Skipped { phase: Phase::Docs, reason: "the story asks for no documentation".into() })
    .tell(
        "node:n1",
        &StoryEvent::Ended { success: true, summary: "attempt 0 was verified and committed".into(), best: Some(0) },
    )
    .raw(
        "node:n1",
        "job.ended",
        json!({"state": "succeeded", "outcome": {"success": true, "summary": "attempt 0 was verified and committed"}}),
    );
}
