//! What an event of a story means: the entities and relations behind it.
//!
//! Memory projects these without knowing a story: context bundles are made of the entities, the
//! decision graph of the relations. So every decision here says what it rests on. Kinds are the
//! vocabulary that scopes are written in; ids are unique within one job's stream.

use fleet_runtime::{Entity, EntityRef, Fact, JobId};

use crate::event::{Measured, Proposal, StoryEvent, TaskNote};

/// Id of the one design decision of a story.
const DESIGN: &str = "design";
/// Id of the one baseline of a story.
const BASE: &str = "base";
/// Failing tests that the baseline's entity names; the rest is counted.
const NAMED_TESTS: usize = 8;

/// The facts of one event.
pub fn of(job: &JobId, event: &StoryEvent) -> Vec<Fact> {
    let job = job.to_string();
    match event {
        StoryEvent::Accepted { title, description, acceptance, constraints, .. } => {
            accepted(&job, title, description, acceptance, constraints)
        }
        StoryEvent::Baseline { why, failing, .. } => vec![
            entity("baseline", BASE, "What the base does today", &baseline_text(why, failing)),
            relation(("baseline", BASE), "measures", ("story", &job)),
        ],
        StoryEvent::Design { summary, approach, risks, .. } => vec![
            entity("decision", DESIGN, "Design decision", &design_text(summary, approach, risks)),
            relation(("decision", DESIGN), "serves", ("story", &job)),
            relation(("decision", DESIGN), "rests_on", ("baseline", BASE)),
        ],
        StoryEvent::Plan { tasks, refused: None, .. } => tasks.iter().flat_map(task).collect(),
        StoryEvent::Proposal(p) => proposal(p),
        StoryEvent::Verdict { attempt, measured, .. } => {
            let id = attempt.to_string();
            vec![
                entity("verdict", &id, &format!("Verdict on attempt {id}"), &verdict_text(measured)),
                relation(("verdict", &id), "judges", ("proposal", &id)),
            ]
        }
        StoryEvent::Ranked { round, places, winner, reason } => {
            let id = format!("round-{round}");
            let mut facts = vec![entity("ranking", &id, "Ranking of the proposals", reason)];
            facts.extend(
                places.iter().map(|p| relation(("ranking", &id), "rests_on", ("verdict", &p.attempt.to_string()))),
            );
            facts.extend(winner.map(|w| relation(("ranking", &id), "selects", ("proposal", &w.to_string()))));
            facts
        }
        StoryEvent::GateDecided { gate, attempt, decision, by, comment, .. } => {
            let text = format!("{decision:?} by {by}. {comment}");
            vec![
                entity("approval", gate, "Approval", text.trim()),
                relation(("approval", gate), "rests_on", ("verdict", &attempt.to_string())),
                relation(("approval", gate), "decides", ("proposal", &attempt.to_string())),
            ]
        }
        StoryEvent::Committed { attempt, commit, branch, .. } => vec![
            entity("commit", commit, branch, &format!("attempt {attempt} as {commit}")),
            relation(("commit", commit), "contains", ("proposal", &attempt.to_string())),
            relation(("commit", commit), "fulfils", ("story", &job)),
        ],
        _ => Vec::new(),
    }
}

fn accepted(job: &str, title: &str, text: &str, acceptance: &[String], constraints: &[String]) -> Vec<Fact> {
    let mut facts = vec![entity("story", job, &format!("Story: {title}"), text)];
    for (kind, heading, items) in
        [("acceptance", "What must hold", acceptance), ("constraint", "What must not be done", constraints)]
    {
        if !items.is_empty() {
            let body: Vec<String> = items.iter().map(|i| format!("- {i}")).collect();
            facts.push(entity(kind, "all", heading, &body.join("\n")));
            facts.push(relation((kind, "all"), "part_of", ("story", job)));
        }
    }
    facts
}

fn task(task: &TaskNote) -> Vec<Fact> {
    let files = if task.files.is_empty() { String::new() } else { format!("\nFiles: {}", task.files.join(", ")) };
    let mut facts = vec![
        entity("task", &task.id, &format!("Task {}", task.id), &format!("{}{files}", task.title)),
        relation(("task", &task.id), "follows", ("decision", DESIGN)),
    ];
    facts.extend(task.depends_on.iter().map(|on| relation(("task", &task.id), "depends_on", ("task", on))));
    facts
}

fn proposal(p: &Proposal) -> Vec<Fact> {
    let id = p.attempt.to_string();
    let body = match p.patch() {
        Some(patch) => format!("{} changes {} ({})", p.agent, p.target, patch.digest),
        None => format!("{} changes nothing", p.agent),
    };
    let mut facts = vec![entity("proposal", &id, &format!("Attempt {id}"), &body)];
    if let Some(before) = p.repairs {
        facts.push(relation(("proposal", &id), "repairs", ("proposal", &before.to_string())));
    }
    facts
}

fn baseline_text(why: &str, failing: &[String]) -> String {
    let mut text = why.to_owned();
    for test in failing.iter().take(NAMED_TESTS) {
        text.push_str(&format!("\n- fails: {test}"));
    }
    if failing.len() > NAMED_TESTS {
        text.push_str(&format!("\n- and {} more", failing.len() - NAMED_TESTS));
    }
    text
}

fn design_text(summary: &str, approach: &str, risks: &[String]) -> String {
    let mut text = format!("{summary}\nApproach: {approach}");
    for risk in risks {
        text.push_str(&format!("\nRisk: {risk}"));
    }
    text
}

fn verdict_text(m: &Measured) -> String {
    format!(
        "applies {}, builds {}, target fixed {}, {} newly failing, {} passed, {} failed, {} lines",
        m.applies,
        m.builds,
        m.target_fixed,
        m.newly_failing.len(),
        m.passed,
        m.failed,
        m.lines_changed
    )
}

fn entity(kind: &str, id: &str, title: &str, body: &str) -> Fact {
    Fact::Entity(Entity { kind: kind.into(), id: id.into(), title: title.into(), body: body.into() })
}

fn relation(from: (&str, &str), relation: &str, to: (&str, &str)) -> Fact {
    let end = |(kind, id): (&str, &str)| EntityRef { kind: kind.into(), id: id.into() };
    Fact::Relation { from: end(from), relation: relation.into(), to: end(to) }
}
