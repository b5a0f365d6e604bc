//! The beginning: the story is accepted, and the base is measured as it is.

use fleet_runtime::EffectClass;
use fleet_tools::results::TestReport;
use fleet_tools::run::RunSummary;
use fleet_tools::sandbox::Stop;
use fleet_tools::verify;
use serde_json::json;

use super::Events;
use crate::event::{BaselineOutcome, RunNote, StoryEvent};
use crate::team::story::StoryActor;
use crate::team::work::{BASELINE, BaseRecord, Fault, StepError, Work, verify_fault};

/// Exit codes of a shell that could not run a command at all.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

pub(super) async fn accept(story: &StoryActor) -> Result<Events, StepError> {
    let work = &story.work;
    let what = json!({ "base_pack": work.spec.base_pack, "base_commit": work.spec.base_commit });
    // Recorded for the report; a node that doesn't have the base (any more) imports it again.
    let import = || async {
        match work.base().await {
            Ok(base) => Ok(json!({ "files": base.head_files().count() })),
            Err(StepError::Failed(why)) => Err(Fault::Outcome(why)),
            Err(e) => Err(Fault::Broken(e.to_string())),
        }
    };
    let _: serde_json::Value = work.effect("base/import", EffectClass::Repeatable, work.node(), what, import).await?;
    let engine = work.services.engine_label().await.map_err(StepError::Broken)?;
    let given = &work.story;
    let accepted = StoryEvent::Accepted {
        title: given.title.clone(),
        story_hash: blake3::hash(work.spec.story.as_bytes()).to_hex().to_string(),
        description: given.description.clone(),
        acceptance: given.acceptance.clone(),
        constraints: given.constraints.clone(),
        base_commit: work.spec.base_commit.clone(),
        repo: work.spec.client_repo_label.clone(),
        build: given.build.clone(),
        test: given.test.clone(),
        approve: work.spec.approve,
        seed: given.seed,
        engine,
    };
    Ok(vec![(work.node(), accepted)])
}

pub(super) async fn baseline(work: &Work) -> Result<Events, StepError> {
    let what = json!({ "build": work.story.build, "test": work.story.test });
    let base = work.base().await?;
    let spec = work.verify_spec(TestReport::default());
    let measure = || async {
        let (report, runs) = verify::baseline(&work.services.bench, base, &spec).await.map_err(verify_fault)?;
        Ok(BaseRecord { report, runs })
    };
    let record: BaseRecord = work.effect(BASELINE, EffectClass::Repeatable, work.node(), what, measure).await?;
    let (outcome, why) = judge(&record);
    let event = StoryEvent::Baseline {
        outcome,
        why,
        failing: record.report.failing().map(str::to_owned).collect(),
        passed: record.report.passed,
        failed: record.report.failed,
        runs: record.runs.iter().map(note).collect(),
        effect: BASELINE.into(),
    };
    Ok(vec![(work.node(), event)])
}

/// What the base's own run means for the story.
fn judge(record: &BaseRecord) -> (BaselineOutcome, String) {
    for run in &record.runs {
        if let Some(why) = unrunnable(run) {
            let why = format!("`{}` can't be used to measure anything: {why}", run.command);
            return (BaselineOutcome::Unrunnable, why);
        }
    }
    let report = &record.report;
    if report.ok && report.total() > 0 {
        let why = format!("already solved, nothing to do: all {} tests pass on the base", report.passed);
        return (BaselineOutcome::NothingToDo, why);
    }
    let clean = record.runs.iter().all(|r| r.exit == Some(0));
    if clean && report.failed == 0 {
        let why = "the test command ended well but no test was recognised in its output; \
                   check `test` and `results` of the story";
        return (BaselineOutcome::Unrunnable, why.into());
    }
    let why = if report.total() == 0 {
        "the base does not build or its tests do not start".to_owned()
    } else {
        format!("{} of {} tests fail on the base", report.failed, report.total())
    };
    (BaselineOutcome::Failing, why)
}

/// Why a run says nothing about the code.
fn unrunnable(run: &RunSummary) -> Option<String> {
    let stopped = run.stopped.map(|stop| match stop {
        Stop::Wall => format!("it ran longer than {} s and was killed; make it end by itself", run.wall_ms / 1000),
        Stop::Cpu => "it used up its processor time and was killed".into(),
        Stop::Output => "it flooded its output and was killed; make it print less".into(),
        Stop::Disk => "it wrote more than a run may and was killed".into(),
        Stop::Cancelled => "it was cancelled".into(),
    });
    let shell = match run.exit {
        Some(NOT_FOUND) => Some(format!("the command was not found: {}", last_line(&run.stderr))),
        Some(NOT_EXECUTABLE) => Some(format!("the command can't be executed: {}", last_line(&run.stderr))),
        _ => None,
    };
    let memory = run.oom.then(|| "it used up its memory and was killed".to_owned());
    stopped.or(memory).or(shell)
}

fn last_line(text: &str) -> &str {
    text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing")
}

/// A run as events keep it.
pub(super) fn note(run: &RunSummary) -> RunNote {
    let ended = match (run.stopped, run.exit, run.signal) {
        (Some(stop), ..) => format!("stopped by the sandbox ({stop:?})"),
        (None, _, Some(signal)) => format!("signal {signal}"),
        (None, Some(code), None) => format!("exit {code}"),
        (None, None, None) => "no exit code".into(),
    };
    RunNote { command: run.command.clone(), ended, wall_ms: run.wall_ms, tier: run.tier.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_tools::results::TestOutcome;

    fn record(exit: Option<i32>, stopped: Option<Stop>, tests: &[(&str, TestOutcome)]) -> BaseRecord {
        let tests = tests.iter().map(|(n, o)| ((*n).to_owned(), *o)).collect::<std::collections::BTreeMap<_, _>>();
        let count = |wanted| u32::try_from(tests.values().filter(|o| **o == wanted).count()).unwrap_or(0);
        let (passed, failed) = (count(TestOutcome::Passed), count(TestOutcome::Failed));
        let ok = exit == Some(0) && failed == 0;
        BaseRecord {
            report: TestReport { tests, passed, failed, ok, complete: true, ..TestReport::default() },
            runs: vec![RunSummary { command: "make test".into(), exit, stopped, ..RunSummary::default() }],
        }
    }

    fn outcome(record: &BaseRecord) -> BaselineOutcome {
        judge(record).0
    }

    #[test]
    fn a_failing_test_is_work_to_do() {
        let base = record(Some(1), None, &[("a", TestOutcome::Failed), ("b", TestOutcome::Passed)]);
        assert_eq!(judge(&base), (BaselineOutcome::Failing, "1 of 2 tests fail on the base".into()));
    }

    #[test]
    fn a_base_that_passes_everything_leaves_nothing_to_do() {
        let base = record(Some(0), None, &[("a", TestOutcome::Passed)]);
        let (outcome, why) = judge(&base);
        assert_eq!(outcome, BaselineOutcome::NothingToDo);
        assert!(why.starts_with("already solved, nothing to do"));
    }

    #[test]
    fn what_hangs_floods_or_can_not_start_measures_nothing() {
        for (exit, stopped, said) in [
            (None, Some(Stop::Wall), "ran longer"),
            (None, Some(Stop::Output), "flooded"),
            (Some(127), None, "not found"),
        ] {
            let (outcome, why) = judge(&record(exit, stopped, &[]));
            assert_eq!(outcome, BaselineOutcome::Unrunnable);
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn a_run_that_ends_well_without_any_test_measures_nothing_and_one_that_does_not_build_is_work() {
        assert_eq!(outcome(&record(Some(0), None, &[])), BaselineOutcome::Unrunnable);
        assert_eq!(outcome(&record(Some(101), None, &[])), BaselineOutcome::Failing);
    }
}
