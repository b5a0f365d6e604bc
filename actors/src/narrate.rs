//! One line per event, for whoever watches a job live.
//!
//! Says what happened, by whom and at what price, and nothing that isn't in the event.

use fleet_runtime::{Author, Envelope};
use serde_json::Value;

use crate::event::{BaselineOutcome, EngineLabel, GateDecision, Measured, Proposal, ProposalEnd, Spend, StoryEvent};
use crate::plain::{line as clean, short};

/// The line for an event; None for what only matters to machines.
pub fn line(event: &Envelope) -> Option<String> {
    match StoryEvent::read(&event.kind, &event.payload) {
        Some(Ok(story)) => told(&story),
        Some(Err(_)) => Some(format!("{} (written by a newer version)", clean(&event.kind))),
        None if event.kind.starts_with("job.") => job(event),
        None if event.kind == "effect.intended" => tool(event),
        None => None,
    }
}

fn told(event: &StoryEvent) -> Option<String> {
    let text = match event {
        StoryEvent::Accepted { title, base_commit, engine, .. } => format!(
            "story accepted: {} (base {}, {})",
            short(title, 100),
            &clean(base_commit).chars().take(10).collect::<String>(),
            label(engine)
        ),
        StoryEvent::Phase { phase, round: 0 } => format!("phase {phase}"),
        StoryEvent::Phase { phase, round } => format!("phase {phase}, wave {}", round + 1),
        StoryEvent::Skipped { phase, reason } => format!("phase {phase} skipped: {}", short(reason, 120)),
        StoryEvent::Baseline { outcome, why, .. } => match outcome {
            BaselineOutcome::Failing => format!("base measured: {}", short(why, 160)),
            BaselineOutcome::NothingToDo | BaselineOutcome::Unrunnable => short(why, 200),
        },
        StoryEvent::Bundle { .. } => return None,
        StoryEvent::Design { summary, approach, spend, .. } => {
            format!("architect decided: {} {} — {}", short(summary, 160), short(approach, 160), cost(spend))
        }
        StoryEvent::Plan { refused: Some(why), .. } => format!("plan refused: {}", short(why, 200)),
        StoryEvent::Plan { tasks, spend, .. } => {
            let titles: Vec<String> = tasks.iter().map(|t| short(&t.title, 100)).collect();
            format!("plan: {} — {}", titles.join("; "), cost(spend))
        }
        StoryEvent::Localised { candidates, considered } => {
            let first: Vec<String> =
                candidates.iter().take(3).map(|c| clean(&format!("{}:{}", c.path, c.function))).collect();
            format!("suspects, of {considered} functions: {}", first.join(", "))
        }
        StoryEvent::Proposal(proposal) => proposed(proposal),
        StoryEvent::Verdict { attempt, measured, .. } => format!("attempt {attempt} executed: {}", verdict(measured)),
        StoryEvent::Probes { file: Some(file), spend, .. } => {
            format!("further tests: {} — {}", clean(&file.path), cost(spend))
        }
        StoryEvent::Probes { why, .. } => format!("no further tests: {}", short(why, 200)),
        StoryEvent::Examined { attempt, passed, failed, .. } => {
            format!("attempt {attempt} with further tests: {} passed, {} failed", passed.len(), failed.len())
        }
        StoryEvent::Ranked { reason, .. } => short(reason, 240),
        StoryEvent::GateOpened { gate, question, expires_at, .. } => {
            format!("waiting for approval {}: {} (until {expires_at})", clean(gate), short(question, 160))
        }
        StoryEvent::GateDecided { decision, by, comment, .. } => decided(*decision, by, comment),
        StoryEvent::Committed { commit, branch, .. } => {
            format!("committed {} for branch {}", clean(commit), clean(branch))
        }
        StoryEvent::Violation { agent, what, detail, .. } => {
            format!("{} stopped ({}): {}", clean(agent), clean(what), short(detail, 160))
        }
        StoryEvent::Ended { success: true, summary, .. } => format!("done: {}", short(summary, 200)),
        StoryEvent::Ended { summary, .. } => format!("failed: {}", short(summary, 300)),
    };
    Some(text)
}

/// An engine's name for people; a scripted one is never shown without saying so.
pub fn label(engine: &EngineLabel) -> String {
    let mock = if engine.mock { " [mock]" } else { "" };
    format!("engine {}, model {}{mock}", clean(&engine.name), clean(&engine.model))
}

fn proposed(p: &Proposal) -> String {
    let mock = if p.engine.mock { " [mock]" } else { "" };
    let model = if p.engine.model.is_empty() { String::new() } else { format!(" ({}{mock})", clean(&p.engine.model)) };
    let who = format!("{}{model}, attempt {},", clean(&p.agent), p.attempt);
    match &p.end {
        ProposalEnd::Patch { patch } => format!(
            "{who} proposed a change to {} — {}, {}",
            short(&p.target, 80),
            count(patch.lines, "line"),
            cost(&p.spend)
        ),
        ProposalEnd::Nothing { why } => format!("{who} proposed nothing: {} — {}", short(why, 160), cost(&p.spend)),
    }
}

fn verdict(m: &Measured) -> String {
    if !m.touched_protected.is_empty() {
        return format!("disqualified, touched {}", short(&m.touched_protected.join(", "), 120));
    }
    if !m.applies {
        return "does not apply".into();
    }
    if !m.builds {
        return "does not build".into();
    }
    let target = if m.target_fixed { "target fixed" } else { "target not fixed" };
    let broken = match m.newly_failing.len() {
        0 => String::new(),
        n => format!(", breaks {n}"),
    };
    format!("{target}, {} passed, {} failed{broken}, {}", m.passed, m.failed, count(m.lines_changed, "line"))
}

fn decided(decision: GateDecision, by: &str, comment: &str) -> String {
    let verb = match decision {
        GateDecision::Approved => "approved by",
        GateDecision::Rejected => "rejected by",
        GateDecision::Expired => "approval expired, noted by",
    };
    let comment = if comment.is_empty() { String::new() } else { format!(": {}", short(comment, 160)) };
    format!("{verb} {}{comment}", clean(by))
}

fn cost(spend: &Spend) -> String {
    format!(
        "{} read, {} written, {}",
        spend.prompt_tokens,
        count64(spend.completion_tokens, "token"),
        seconds(spend.wall_ms)
    )
}

/// A duration for people.
pub fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn count(n: u32, what: &str) -> String {
    count64(u64::from(n), what)
}

fn count64(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn job(event: &Envelope) -> Option<String> {
    let what = event.kind.strip_prefix("job.")?.replace('_', " ");
    let why = ["summary", "reason", "why", "title"]
        .iter()
        .find_map(|key| event.payload.get(*key).or_else(|| event.payload.get("outcome")?.get(*key))?.as_str())
        .map_or_else(String::new, |why| format!(": {}", short(why, 200)));
    let by = match &event.by {
        Author::Person(name) => format!(" by {}", clean(name)),
        _ => String::new(),
    };
    Some(format!("job {}{by}{why}", clean(&what)))
}

/// Tool calls are told when they begin: that is when a watcher wonders what takes so long.
fn tool(event: &Envelope) -> Option<String> {
    let Author::Agent { name, .. } = &event.by else { return None };
    let what = event.payload.get("what")?;
    let tool = what.get("tool")?.as_str()?;
    let about = ["path", "name", "function", "text", "command", "pattern"]
        .iter()
        .filter_map(|key| what.get("args")?.get(*key).and_then(Value::as_str))
        .map(|v| short(v, 60))
        .collect::<Vec<_>>()
        .join(" ");
    Some(format!("{} calls {} {about}", clean(name), clean(tool)).trim_end().to_owned())
}

#[cfg(test)]
#[path = "narrate_tests.rs"]
mod tests;
