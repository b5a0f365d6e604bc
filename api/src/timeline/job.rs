//! A job's events as spans: the job and its runs, and on the node of each run its phases, attempts, tool runs, replies
//! and gates.

use std::collections::HashMap;

use fleet_actors::event::{Phase, Proposal, StoryEvent};
use fleet_actors::narrate;
use fleet_runtime::job::JobEvent;
use fleet_runtime::{Author, Envelope, JobId, Timestamp};
use serde_json::{Value, json};

use super::trace::{Mark, Span, Trace};

/// The process that shows jobs as a whole: they aren't on one node.
const JOBS: &str = "jobs";

/// Folds one job's events.
pub(super) struct JobTrace<'a> {
    job: &'a JobId,
    title: String,
    trace: &'a mut Trace,
    now: Timestamp,
    submitted: Option<Timestamp>,
    queued: Option<Timestamp>,
    waiting: Option<(Timestamp, String)>,
    run: Option<Run>,
}

/// What is open while a run goes on.
struct Run {
    number: u32,
    node: String,
    start: Timestamp,
    phase: Option<(Timestamp, Phase, u32)>,
    gates: HashMap<String, (Timestamp, String)>,
    effects: HashMap<String, (Timestamp, Author, Value)>,
    /// Since when an agent is at its present attempt.
    agents: HashMap<String, Timestamp>,
}

impl Run {
    fn new(number: u32, node: String, start: Timestamp) -> Self {
        let (gates, effects, agents) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { number, node, start, phase: None, gates, effects, agents }
    }
}

impl<'a> JobTrace<'a> {
    pub(super) fn new(job: &'a JobId, trace: &'a mut Trace) -> Self {
        let (title, now) = (job.to_string(), Timestamp::default());
        Self { job, title, trace, now, submitted: None, queued: None, waiting: None, run: None }
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, event: &Envelope) {
        // What follows never comes before, whatever the clock did.
        self.now = self.now.max(event.at);
        if let Some(job) = JobEvent::read(event) {
            self.job_event(job);
        } else if let Some(Ok(story)) = StoryEvent::read(&event.kind, &event.payload) {
            self.story(story, event);
        } else if event.kind.starts_with("effect.") {
            self.effect(event);
        }
    }

    /// Closes what is still open.
    pub(super) fn end(mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.close_run("still running");
        self.close_queue();
        self.close_waiting();
        self.close_job("still open");
    }

    fn job_event(&mut self, event: JobEvent) {
        match event {
            JobEvent::Submitted { title, .. } => {
                self.title = format!("{} ({title})", self.job);
                self.submitted = Some(self.now);
                self.queued = Some(self.now);
            }
            JobEvent::Started { run, node } => {
                self.close_queue();
                self.close_run("lost");
                self.run = Some(Run::new(run, node.unwrap_or_else(|| "unknown node".to_owned()), self.now));
            }
            JobEvent::Waiting { what } => self.waiting = Some((self.now, what)),
            JobEvent::Resumed {} => self.close_waiting(),
            JobEvent::Requeued { why, .. } => {
                self.close_waiting();
                self.close_run(&why);
                self.queued = Some(self.now);
            }
            JobEvent::StopRequested { reason } => self.mark("stop requested", &reason),
            JobEvent::Ended { state, outcome } => {
                self.close_waiting();
                self.close_queue();
                self.close_run(state.as_str());
                self.close_job(&outcome.summary);
            }
        }
    }

    fn story(&mut self, event: StoryEvent, envelope: &Envelope) {
        let now = self.now;
        match event {
            StoryEvent::Phase { phase, round } => {
                self.close_phase();
                if let Some(run) = self.run.as_mut().filter(|_| phase != Phase::Done) {
                    run.phase = Some((now, phase, round));
                }
            }
            StoryEvent::GateOpened { gate, question, .. } => {
                if let Some(run) = &mut self.run {
                    run.gates.insert(gate, (now, question));
                }
            }
            StoryEvent::GateDecided { gate, .. } => {
                if let Some((start, question)) = self.run.as_mut().and_then(|run| run.gates.remove(&gate)) {
                    self.on_node("gate", format!("gate {gate}"), "gate", start, json!({ "question": question }));
                }
            }
            StoryEvent::Proposal(proposal) => self.attempt(&proposal),
            _ => {
                if let Some(line) = narrate::line(envelope) {
                    self.mark_story(line);
                }
            }
        }
    }

    fn attempt(&mut self, proposal: &Proposal) {
        let begun = self.run.as_mut().and_then(|run| run.agents.remove(&proposal.agent));
        let args =
            json!({ "target": proposal.target, "tokens": proposal.spend.tokens(), "mock": proposal.engine.mock });
        let name = format!("attempt {}", proposal.attempt);
        self.on_node(&proposal.agent, name, "attempt", begun.unwrap_or(self.now), args);
    }

    fn effect(&mut self, event: &Envelope) {
        let Some(key) = event.payload["key"].as_str().map(str::to_owned) else { return };
        let now = self.now;
        let Some(run) = &mut self.run else { return };
        if event.kind == fleet_runtime::effect::INTENDED {
            if let Author::Agent { name, .. } = &event.by {
                run.agents.entry(name.clone()).or_insert(now);
            }
            run.effects.insert(key, (now, event.by.clone(), event.payload["what"].clone()));
        } else if let Some((start, by, what)) = run.effects.remove(&key) {
            let failed = event.kind == fleet_runtime::effect::FAILED;
            self.effect_span(&key, start, &by, &what, failed.then_some("failed"));
        }
    }

    fn effect_span(&mut self, key: &str, start: Timestamp, by: &Author, what: &Value, end: Option<&str>) {
        let (name, category) = match (what["tool"].as_str(), what["ask"].as_str()) {
            (Some(tool), _) => (format!("tool {tool}"), "tool"),
            (None, Some(role)) => (format!("reply for {role}"), "reply"),
            (None, None) => (key.to_owned(), "effect"),
        };
        let thread = match by {
            Author::Agent { name, .. } => name.clone(),
            Author::Node(_) | Author::Person(_) => "story".to_owned(),
        };
        self.on_node(&thread, name, category, start, json!({ "key": key, "end": end.unwrap_or("completed") }));
    }

    /// On the node of the present run, from `start` until now.
    fn on_node(&mut self, thread: &str, name: String, category: &'static str, start: Timestamp, args: Value) {
        let Some(run) = &self.run else { return };
        let (process, thread) = (format!("node {}", run.node), format!("{} {thread}", self.job));
        self.trace.spans.push(Span { process, thread, name, category, start, end: self.now, args });
    }

    fn mark_story(&mut self, name: String) {
        let Some(run) = &self.run else { return };
        let (process, thread) = (format!("node {}", run.node), format!("{} story", self.job));
        self.trace.marks.push(Mark { process, thread, name, category: "story", at: self.now });
    }

    fn mark(&mut self, what: &str, why: &str) {
        let (process, thread, name) = (JOBS.to_owned(), self.job.to_string(), format!("{what}: {why}"));
        self.trace.marks.push(Mark { process, thread, name, category: "job", at: self.now });
    }

    fn of_job(&mut self, name: String, start: Timestamp, args: Value) {
        let (process, thread) = (JOBS.to_owned(), self.job.to_string());
        self.trace.spans.push(Span { process, thread, name, category: "job", start, end: self.now, args });
    }

    fn close_queue(&mut self) {
        if let Some(start) = self.queued.take() {
            self.of_job("queued".to_owned(), start, json!({}));
        }
    }

    fn close_waiting(&mut self) {
        if let Some((start, what)) = self.waiting.take() {
            self.of_job(format!("waiting for {what}"), start, json!({}));
        }
    }

    fn close_job(&mut self, how: &str) {
        if let Some(start) = self.submitted.take() {
            let title = self.title.clone();
            self.of_job(title, start, json!({ "end": how }));
        }
    }

    fn close_phase(&mut self) {
        if let Some((start, phase, round)) = self.run.as_mut().and_then(|run| run.phase.take()) {
            self.on_node("story", format!("phase {phase}"), "phase", start, json!({ "round": round }));
        }
    }

    fn close_run(&mut self, how: &str) {
        self.close_phase();
        let Some(run) = &mut self.run else { return };
        let gates: Vec<_> = run.gates.drain().collect();
        let effects: Vec<_> = run.effects.drain().collect();
        let (number, node, start) = (run.number, run.node.clone(), run.start);
        for (gate, (start, question)) in gates {
            self.on_node("gate", format!("gate {gate}"), "gate", start, json!({ "question": question, "end": how }));
        }
        for (key, (start, by, what)) in effects {
            self.effect_span(&key, start, &by, &what, Some("no outcome"));
        }
        self.on_node("story", format!("run {number}"), "run", start, json!({ "end": how }));
        self.of_job(format!("run {number} on {node}"), start, json!({ "end": how }));
        self.run = None;
    }
}
