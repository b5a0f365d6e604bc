//! Further tests: written once, run with each change that passes all the others.

use fleet_inference::{Constraint, RequestTag};
use fleet_runtime::EffectClass;
use fleet_tools::results::{TestOutcome, TestReport};
use fleet_tools::verify;
use serde_json::json;

use super::decide::{asked, author};
use super::source::patch_bytes;
use super::{Events, read_file, sources};
use crate::event::{Phase, ProbeFile, StoryEvent};
use crate::localise::SourceText;
use crate::probes::{self, Frame};
use crate::prompt;
use crate::team::material;
use crate::team::story::StoryActor;
use crate::team::think::{Answer, Question, Show, seed};
use crate::team::work::{StepError, Work, verify_fault};

/// Key of the model call.
const PROBE: &str = "probe";
/// Tokens of the reply: about five short tests.
const REPLY_TOKENS: u32 = 450;
/// Attempts of the tester are sampled apart from those of the developers.
const SEED_PLACE: u32 = u32::MAX - 1;

/// Lets further tests be written.
pub(super) async fn write(story: &StoryActor) -> Result<Events, StepError> {
    let work = &story.work;
    let role = asked(story, Phase::Test);
    let Some((frame, tests)) = frame_of(work).await? else {
        let why = "the failing tests stand in no file that others could be put beside";
        return Ok(vec![(author(role), nothing(why.into()))]);
    };
    let mut materials = vec![material::source(&tests, "")];
    if let Some(first) = story.known.candidates.first() {
        materials.push(material::source(&read_file(work, &first.path).await?, &first.function));
    }
    let show = Show {
        role: role.acts_as.name(),
        phase: Phase::Test,
        task: None,
        purpose: Some(PROBE.into()),
        budget: work.services.options.agent.context_tokens,
        materials,
    };
    let shown = work.show(show).await?;
    let fence = frame.language.fence();
    let question = Question {
        key: PROBE.into(),
        by: author(role),
        engine: role.engine.clone(),
        messages: prompt::probes(&role.prompt, &shown.bundle.render(), &tests.path, fence),
        prefix: Some(prompt::opening(fence, &frame.head)),
        constraint: Constraint::None,
        stop: vec!["\n```".into()],
        temperature: 0.0,
        seed: seed(work.story.seed, SEED_PLACE),
        max_tokens: role.reply_tokens.unwrap_or(REPLY_TOKENS),
        tag: RequestTag {
            job: work.ctx.job.to_string(),
            role: role.name.clone(),
            phase: Phase::Test.name().into(),
            ..RequestTag::default()
        },
        bundle: shown.bundle.hash.clone(),
    };
    let answer = match work.ask(question).await {
        Ok(answer) => answer,
        // Without further tests the choice is made as it would have been.
        Err(StepError::Failed(why)) => return Ok(vec![(author(role), nothing(why))]),
        Err(e) => return Err(e),
    };
    let mut events = Events::new();
    if !story.known.shown.contains(PROBE) {
        events.push((work.node(), shown.event));
    }
    let event = taken(work, answer, &frame, shown.bundle.hash).await?;
    events.push((author(role), event));
    Ok(events)
}

/// The file of the failing tests, and the frame that it gives.
async fn frame_of(work: &Work) -> Result<Option<(Frame, SourceText)>, StepError> {
    let files = sources(work).await?;
    let report = work.baseline()?.report;
    let tests = work.story.test_file_set();
    let of_failing = |file: &&SourceText| {
        tests.is_match(&file.path)
            && (!material::failing_tests(std::slice::from_ref(*file), &report).is_empty()
                || report.failing().any(|t| t.len() > 3 && file.text.contains(t)))
    };
    let found = files.iter().find(of_failing).and_then(|file| Some((probes::frame(file)?, file.clone())));
    // What stands there already is not overwritten.
    Ok(found.filter(|(frame, _)| files.iter().all(|f| f.path != frame.path)))
}

fn nothing(why: String) -> StoryEvent {
    StoryEvent::Probes { file: None, why, bundle: String::new(), effect: String::new(), spend: Default::default() }
}

/// What can be used of the reply.
async fn taken(work: &Work, answer: Answer, frame: &Frame, bundle: String) -> Result<StoryEvent, StepError> {
    let opening = prompt::opening(frame.language.fence(), &frame.head);
    let written = match crate::reply::read(&answer.text, Some(&opening)) {
        crate::reply::Reply::Code(code) => probes::usable(&code, frame),
        _ => None,
    };
    let (file, why) = match written {
        Some(text) => {
            let digest = work.ctx.keep(text.into_bytes()).await?.to_string();
            let why = format!("several changes pass; further tests in {} show which agree", frame.path);
            (Some(ProbeFile { path: frame.path.clone(), digest }), why)
        }
        None => (None, "the reply has no test that parses".to_owned()),
    };
    Ok(StoryEvent::Probes { file, why, bundle, effect: PROBE.into(), spend: answer.spend })
}

/// Runs a change that passes with the further tests.
pub(super) async fn examine(story: &StoryActor, attempt: u32) -> Result<Events, StepError> {
    let work = &story.work;
    let patch = story.core.attempts().get(&attempt).and_then(|a| a.proposal.patch());
    let (Some(patch), Some(file)) = (patch, &story.known.probes) else {
        return Err(StepError::Broken(format!("attempt {attempt} has nothing to be examined by")));
    };
    let bytes = patch_bytes(work, &patch.digest).await?;
    let text = String::from_utf8_lossy(&patch_bytes(work, &file.digest).await?).into_owned();
    let added = [(file.path.clone(), text)];
    let base = work.base().await?;
    let baseline = work.baseline()?.report;
    let spec = work.verify_spec(baseline.clone());
    let key = format!("examine/{attempt}");
    let what = json!({ "patch": patch.digest, "tests": file, "test": spec.test });
    let run = || async {
        let shown = verify::examine(&work.services.bench, base, &bytes, &added, &spec).await.map_err(verify_fault)?;
        Ok(shown.unwrap_or_default())
    };
    let report: TestReport = match work.effect(&key, EffectClass::Repeatable, work.node(), what, run).await {
        Ok(report) => report,
        // It could not be run: then it agrees with nothing.
        Err(StepError::Failed(_)) => TestReport::default(),
        Err(e) => return Err(e),
    };
    let of = |wanted: TestOutcome| {
        let new = report.tests.iter().filter(|(name, _)| !baseline.tests.contains_key(*name));
        new.filter(|(_, outcome)| **outcome == wanted).map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let (passed, failed) = (of(TestOutcome::Passed), of(TestOutcome::Failed));
    Ok(vec![(work.node(), StoryEvent::Examined { attempt, passed, failed, effect: key })])
}
