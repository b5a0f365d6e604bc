//! Events → report. Each arm reads one kind of event and nothing else.

use fleet_runtime::{Author, Envelope};
use serde_json::Value;

use super::{
    AttemptEntry, BaselineEntry, BundleEntry, CommitEntry, DecisionEntry, Outcome, Report, Source, StoryEntry,
    TimelineEntry, ViolationEntry, effects,
};
use crate::event::{GateDecision, Measured, PatchNote, Place, Proposal, ProposalEnd, Spend, StoryEvent};
use crate::narrate;

pub(super) fn fold(events: &[Envelope]) -> Report {
    let mut fold = Fold { report: Report::default(), gate: None };
    fold.report.outcome.state = "running".into();
    for event in events {
        fold.take(event);
    }
    let mut report = fold.report;
    if let Some((first, last)) = report.span {
        report.costs.elapsed_ms = effects::millis(first, last);
    }
    report
}

struct Fold {
    report: Report,
    /// The gate that is open, since when.
    gate: Option<Source>,
}

fn source(event: &Envelope) -> Source {
    Source { position: event.position.0, at: event.at }
}

impl Fold {
    fn take(&mut self, event: &Envelope) {
        let at = source(event);
        let report = &mut self.report;
        report.span = Some((report.span.map_or(at, |(first, _)| first), at));
        if report.job.is_empty() {
            let stream = event.stream.to_string();
            report.job = stream.strip_prefix("job/").unwrap_or(&stream).to_owned();
            report.project = event.project.to_string();
        }
        if let Some(text) = narrate::line(event) {
            report.timeline.push(TimelineEntry { by: event.by.to_string(), text, source: at });
        }
        match StoryEvent::read(&event.kind, &event.payload) {
            Some(Ok(story)) => self.story(&story, event, at),
            Some(Err(_)) => report.unread.push(event.kind.clone()),
            None if event.kind.starts_with("effect.") => effects::fold(&mut report.effects, event, at),
            None if event.kind.starts_with("job.") => self.job(event, at),
            None => {}
        }
    }

    fn job(&mut self, event: &Envelope, at: Source) {
        let text = |key: &str| {
            let outcome = event.payload.get("outcome");
            let found = event.payload.get(key).or_else(|| outcome.and_then(|o| o.get(key)));
            found.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        if event.kind != "job.ended" {
            return;
        }
        let outcome = event.payload.get("outcome");
        let success = outcome.and_then(|o| o.get("success")).and_then(Value::as_bool);
        let state = event.payload.get("state").and_then(Value::as_str).map(str::to_lowercase);
        let state = state.unwrap_or_else(|| if success == Some(true) { "succeeded" } else { "failed" }.to_owned());
        let said = [text("summary"), text("why"), text("reason")].into_iter().find(|t| !t.is_empty());
        // What the story itself said stands unless the job was ended over its head.
        if self.report.outcome.source.is_none() || state == "stopped" {
            self.report.outcome = Outcome { state, summary: said.unwrap_or_default(), source: Some(at) };
        }
    }

    fn story(&mut self, story: &StoryEvent, event: &Envelope, at: Source) {
        let report = &mut self.report;
        match story {
            StoryEvent::Accepted { .. } => self.accepted(story, event, at),
            StoryEvent::Baseline { why, failing, passed, failed, runs, .. } => {
                report.baseline = Some(BaselineEntry {
                    why: why.clone(),
                    failing: failing.clone(),
                    passed: *passed,
                    failed: *failed,
                    runs: runs.clone(),
                    source: at,
                });
            }
            StoryEvent::Bundle { hash, role, phase, task, tokens, position, sections, omitted } => {
                report.bundles.push(BundleEntry {
                    hash: hash.clone(),
                    role: role.clone(),
                    phase: phase.name().into(),
                    task: task.clone(),
                    tokens: *tokens,
                    made_from: *position,
                    sections: sections.clone(),
                    omitted: omitted.clone(),
                    source: at,
                });
            }
            StoryEvent::Design { .. } | StoryEvent::Plan { .. } => self.planned(story, event, at),
            StoryEvent::Localised { candidates, .. } => report.suspects.clone_from(candidates),
            StoryEvent::Proposal(proposal) => self.proposal(proposal, event, at),
            StoryEvent::Verdict { .. } => self.verdict(story, at),
            StoryEvent::Probes { file, why, bundle, effect, spend } => {
                let what = file.as_ref().map_or("none".to_owned(), |f| format!("{} ({})", f.path, f.digest));
                let evidence = vec![format!("bundle {bundle}"), format!("effect {effect}")];
                self.spend(&event.by, spend);
                self.decide("further tests", what, why.clone(), evidence, event, at);
            }
            StoryEvent::Examined { attempt, passed, failed, effect } => {
                let what = format!("attempt {attempt}: {} passed, {} failed", passed.len(), failed.len());
                let why = if passed.is_empty() { String::new() } else { format!("passed {}", passed.join(", ")) };
                self.decide("further tests", what, why, vec![format!("effect {effect}")], event, at);
            }
            StoryEvent::Ranked { places, winner, reason, round } => {
                self.places(places);
                let what = match winner {
                    Some(w) => format!("wave {}: attempt {w} is put forward", round + 1),
                    None => format!("wave {}: nothing is put forward", round + 1),
                };
                let evidence = places.iter().map(|p| format!("verdict on attempt {}", p.attempt)).collect();
                self.decide("ranking", what, reason.clone(), evidence, event, at);
            }
            StoryEvent::GateOpened { .. } => self.gate = Some(at),
            StoryEvent::GateDecided { .. } => self.decided(story, event, at),
            StoryEvent::Committed { attempt, commit, branch, bundle, bundle_bytes, trailers, .. } => {
                report.commit = Some(CommitEntry {
                    attempt: *attempt,
                    commit: commit.clone(),
                    branch: branch.clone(),
                    bundle: bundle.clone(),
                    bundle_bytes: *bundle_bytes,
                    trailers: trailers.clone(),
                    source: at,
                });
            }
            StoryEvent::Violation { attempt, agent, what, detail } => report.violations.push(ViolationEntry {
                attempt: *attempt,
                agent: agent.clone(),
                what: what.clone(),
                detail: detail.clone(),
                source: at,
            }),
            StoryEvent::Ended { success, summary, .. } => {
                let state = if *success { "succeeded" } else { "failed" };
                report.outcome = Outcome { state: state.into(), summary: summary.clone(), source: Some(at) };
            }
            StoryEvent::Phase { .. } | StoryEvent::Skipped { .. } => {}
        }
    }

    fn accepted(&mut self, story: &StoryEvent, event: &Envelope, at: Source) {
        let StoryEvent::Accepted {
            title,
            description,
            acceptance,
            constraints,
            repo,
            base_commit,
            build,
            test,
            seed,
            engine,
            ..
        } = story
        else {
            return;
        };
        self.report.engines.push(engine.clone());
        self.report.story = Some(StoryEntry {
            title: title.clone(),
            description: description.clone(),
            acceptance: acceptance.clone(),
            constraints: constraints.clone(),
            repo: repo.clone(),
            base_commit: base_commit.clone(),
            build: build.clone(),
            test: test.clone(),
            seed: *seed,
            by: event.by.to_string(),
            source: at,
        });
    }

    fn planned(&mut self, story: &StoryEvent, event: &Envelope, at: Source) {
        match story {
            StoryEvent::Design { summary, approach, risks, bundle, effect, spend } => {
                let mut why = summary.clone();
                for risk in risks {
                    why.push_str(&format!(" Risk: {risk}"));
                }
                let evidence = vec![format!("bundle {bundle}"), format!("effect {effect}")];
                self.spend(&event.by, spend);
                self.decide("design", approach.clone(), why, evidence, event, at);
            }
            StoryEvent::Plan { tasks, refused, bundle, effect, spend } => {
                self.report.tasks.clone_from(tasks);
                let what: Vec<String> = tasks.iter().map(|t| format!("{}: {}", t.id, t.title)).collect();
                let why = match refused {
                    Some(refused) => format!("refused: {refused}"),
                    None => "valid: every task's dependencies are in the plan, without a circle".into(),
                };
                let evidence = vec![format!("bundle {bundle}"), format!("effect {effect}")];
                self.spend(&event.by, spend);
                self.decide("plan", what.join("; "), why, evidence, event, at);
            }
            _ => {}
        }
    }

    fn proposal(&mut self, p: &Proposal, event: &Envelope, at: Source) {
        self.spend(&event.by, &p.spend);
        let why_none = match &p.end {
            ProposalEnd::Nothing { why } => Some(why.clone()),
            ProposalEnd::Patch { .. } => None,
        };
        self.report.attempts.push(AttemptEntry {
            attempt: p.attempt,
            round: p.round,
            repairs: p.repairs,
            builds_on: p.builds_on,
            form: p.form,
            same_as: None,
            agent: p.agent.clone(),
            target: p.target.clone(),
            temperature: p.temperature,
            seed: p.seed.clone(),
            patch: p.patch().cloned(),
            why_none,
            spend: p.spend,
            measured: None,
            said: String::new(),
            runs: Vec::new(),
            place: None,
            reason: String::new(),
            source: at,
            verdict_source: None,
        });
        self.report.attempts.sort_by_key(|a| a.attempt);
        self.mark_twins();
        self.share_verdicts();
    }

    /// Attempts that came to a program that a lower attempt has too.
    fn mark_twins(&mut self) {
        let programs: Vec<(u32, Option<String>)> =
            self.report.attempts.iter().map(|a| (a.attempt, program(a).map(str::to_owned))).collect();
        for entry in &mut self.report.attempts {
            let own = program(entry);
            let twin = programs.iter().find(|(_, p)| p.is_some() && p.as_deref() == own).map(|(n, _)| *n);
            entry.same_as = twin.filter(|n| *n < entry.attempt);
        }
    }

    fn verdict(&mut self, story: &StoryEvent, at: Source) {
        let StoryEvent::Verdict { attempt, measured, said, runs, .. } = story else { return };
        if let Some(entry) = self.report.attempts.iter_mut().find(|a| a.attempt == *attempt) {
            entry.measured = Some(measured.clone());
            entry.said.clone_from(said);
            entry.runs.clone_from(runs);
            entry.verdict_source = Some(at);
        }
        self.share_verdicts();
    }

    /// What was seen of one attempt holds for all with an equal program, whichever was recorded first.
    fn share_verdicts(&mut self) {
        let seen: Vec<AttemptEntry> = self.report.attempts.iter().filter(|a| a.measured.is_some()).cloned().collect();
        for entry in self.report.attempts.iter_mut().filter(|a| a.measured.is_none()) {
            let own = program(entry);
            let Some(twin) = seen.iter().find(|a| own.is_some() && program(a) == own) else { continue };
            let lines = entry.patch.as_ref().map_or(0, |p| p.lines);
            entry.measured = twin.measured.clone().map(|m| Measured { lines_changed: lines, ..m });
            entry.said.clone_from(&twin.said);
            entry.runs.clone_from(&twin.runs);
            entry.verdict_source = twin.verdict_source;
        }
    }

    fn places(&mut self, places: &[Place]) {
        for (n, place) in (1..).zip(places) {
            if let Some(entry) = self.report.attempts.iter_mut().find(|a| a.attempt == place.attempt) {
                entry.place = Some(n);
                entry.reason.clone_from(&place.reason);
            }
        }
    }

    fn decided(&mut self, story: &StoryEvent, event: &Envelope, at: Source) {
        let StoryEvent::GateDecided { gate, attempt, decision, by, comment, .. } = story else { return };
        if let Some(opened) = self.gate.take() {
            self.report.costs.waited_ms += effects::millis(opened, at);
        }
        let verb = match decision {
            GateDecision::Approved => "approved",
            GateDecision::Rejected => "rejected",
            GateDecision::Expired => "expired",
        };
        let what = format!("gate {gate}: attempt {attempt} {verb} by {by}");
        let evidence = vec![format!("verdict on attempt {attempt}")];
        self.decide("approval", what, comment.clone(), evidence, event, at);
    }

    fn decide(&mut self, kind: &str, what: String, why: String, evidence: Vec<String>, event: &Envelope, at: Source) {
        let by = event.by.to_string();
        self.report.decisions.push(DecisionEntry { kind: kind.into(), what, by, why, evidence, source: at });
    }

    fn spend(&mut self, by: &Author, spend: &Spend) {
        let role = match by {
            Author::Agent { role, .. } => role.clone(),
            other => other.to_string(),
        };
        let costs = &mut self.report.costs;
        costs.total.add(spend);
        match costs.by_role.iter_mut().find(|(r, _)| *r == role) {
            Some((_, sum)) => sum.add(spend),
            None => costs.by_role.push((role, *spend)),
        }
    }
}

/// What tells an attempt's program from others.
fn program(attempt: &AttemptEntry) -> Option<&str> {
    attempt.patch.as_ref().map(PatchNote::program)
}
