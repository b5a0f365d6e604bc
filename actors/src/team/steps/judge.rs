//! Executing proposals and ranking them by what was seen.

use fleet_runtime::EffectClass;
use fleet_tools::run::RunSummary;
use fleet_tools::verify::{self, Verdict};
use serde_json::json;

use super::Events;
use super::begin::note;
use super::source::{patch_bytes, sources};
use crate::cases;
use crate::core::Standing;
use crate::event::{Measured, StoryEvent};
use crate::team::material::{clip, failing_tests};
use crate::team::story::StoryActor;
use crate::team::work::{StepError, Work, verify_fault};

/// Lines kept of what a failing run said.
const SAID_LINES: usize = 40;

pub(super) async fn verify(story: &StoryActor, attempt: u32) -> Result<Events, StepError> {
    let work = &story.work;
    let proposal = story.core.attempts().get(&attempt).map(|a| &a.proposal);
    let Some((proposal, patch)) = proposal.and_then(|p| Some((p, p.patch()?))) else {
        return Err(StepError::Broken(format!("attempt {attempt} has no patch to execute")));
    };
    let bytes = patch_bytes(work, &patch.digest).await?;
    let base = work.base().await?;
    let spec = work.verify_spec(work.baseline()?.report);
    let key = format!("verify/{attempt}");
    let what = json!({ "patch": patch.digest, "build": spec.build, "test": spec.test });
    let execute = || async { verify::verify(&work.services.bench, base, &bytes, &spec).await.map_err(verify_fault) };
    let verdict = work.effect(&key, EffectClass::Repeatable, work.node(), what, execute).await;
    let verdict: Verdict = match verdict {
        Ok(verdict) => verdict,
        // It could not be executed at all, for a reason of its own: that speaks against it alone.
        Err(StepError::Failed(why)) => Verdict { reason: Some(why), ..Verdict::default() },
        Err(e) => return Err(e),
    };
    let mut events = Events::new();
    if !verdict.touched_protected.is_empty() {
        let detail = format!("its change touches {}; it is disqualified", verdict.touched_protected.join(", "));
        let (agent, what) = (proposal.agent.clone(), "protected".to_owned());
        events.push((work.node(), StoryEvent::Violation { attempt, agent, what, detail }));
    }
    for run in verdict.runs.iter().filter(|r| r.stopped.is_some()) {
        let detail = format!("running its change: `{}` was stopped ({:?})", run.command, run.stopped);
        let (agent, what) = (proposal.agent.clone(), "limits".to_owned());
        events.push((work.node(), StoryEvent::Violation { attempt, agent, what, detail }));
    }
    let said = said(&verdict);
    let special_cased = if verdict.target_fixed { special_cases(work, &bytes).await? } else { Vec::new() };
    events.push((
        work.node(),
        StoryEvent::Verdict {
            attempt,
            patch: patch.digest.clone(),
            said,
            runs: verdict.runs.iter().map(note).collect(),
            measured: Measured { special_cased, ..measured(verdict) },
            effect: key,
        },
    ));
    Ok(events)
}

fn measured(verdict: Verdict) -> Measured {
    let tests = verdict.tests.unwrap_or_default();
    Measured {
        touched_protected: verdict.touched_protected,
        applies: verdict.applies,
        builds: verdict.builds,
        target_fixed: verdict.target_fixed,
        newly_failing: verdict.newly_failing,
        newly_passing: verdict.newly_passing,
        passed: tests.passed,
        failed: tests.failed,
        lines_changed: verdict.lines_changed,
        special_cased: Vec::new(),
    }
}

/// What only the failing tests know and the change compares with.
async fn special_cases(work: &Work, patch: &[u8]) -> Result<Vec<String>, StepError> {
    let files = sources(work).await?;
    let report = work.baseline()?.report;
    let tests = work.story.test_file_set();
    let mut failing = failing_tests(&files, &report).join("\n");
    let mut known = format!("{}\n{}\n{}", work.story.title, work.story.description, work.story.acceptance.join("\n"));
    for file in files.iter() {
        if !tests.is_match(&file.path) {
            known.push_str(&file.text);
        } else if report.failing().any(|t| t.len() > 3 && file.text.contains(t)) {
            // Where tests are no functions, the file that has the title is taken.
            failing.push_str(&file.text);
        }
    }
    Ok(cases::special_cases(&failing, &known, &String::from_utf8_lossy(patch)))
}

/// What a repair can learn from: failing tests, else the run that broke, else why there was none.
fn said(verdict: &Verdict) -> String {
    let failures = verdict.tests.iter().flat_map(|t| &t.failures);
    let texts: Vec<String> = failures.map(|f| format!("{}:\n{}", f.test, f.text)).collect();
    if !texts.is_empty() {
        return clip(&texts.join("\n\n"), SAID_LINES);
    }
    let broke = |r: &&RunSummary| r.exit != Some(0);
    let run = verdict.runs.iter().find(broke).map(|r| format!("{}\n{}", r.stdout, r.stderr));
    let text = run.or_else(|| verdict.reason.clone()).unwrap_or_default();
    clip(text.trim(), SAID_LINES)
}

pub(super) fn rank(story: &StoryActor, round: u32) -> StoryEvent {
    let Standing { places, winner, reason } = story.core.standing();
    StoryEvent::Ranked { round, places, winner, reason }
}
