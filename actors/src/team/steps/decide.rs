//! Deciding how: the suspects, the design, the plan.

use fleet_inference::{Constraint, RequestTag};
use fleet_runtime::{Author, EffectClass};
use fleet_tools::results::TestReport;
use fleet_tools::spectrum::{self, Trace};
use serde::Deserialize;
use serde_json::json;

use super::{Events, sources};
use crate::event::{Phase, StoryEvent};
use crate::localise::{self, Evidence};
use crate::plan;
use crate::prompt;
use crate::role::Role;
use crate::team::material;
use crate::team::story::StoryActor;
use crate::team::think::{Answer, Question, Show, seed};
use crate::team::work::{StepError, Work, verify_fault};

/// Key of the effect that holds what each test executes.
const SPECTRUM: &str = "spectrum";
/// Suspects whose source the architect sees.
const SHOWN_SUSPECTS: usize = 3;
/// Tokens of a decision; the grammar's lengths keep it shorter.
const REPLY_TOKENS: u32 = 400;
/// Attempts of the architect are sampled apart from those of the developers.
const SEED_PLACE: u32 = u32::MAX;

/// Who is asked in a phase.
pub(super) fn asked(story: &StoryActor, phase: Phase) -> &Role {
    story.roles.of(phase).next().unwrap_or(story.roles.any())
}

pub(super) fn author(role: &Role) -> Author {
    Author::Agent { role: role.name.clone(), name: role.name.clone() }
}

pub(super) async fn localise(work: &Work) -> Result<Events, StepError> {
    let files = sources(work).await?;
    let report = work.baseline()?.report;
    let named =
        |wanted| report.tests.iter().filter(move |(_, o)| **o == wanted).map(|(n, _)| n.clone()).collect::<Vec<_>>();
    let output: Vec<&str> = report.failures.iter().map(|f| f.text.as_str()).collect();
    let traces = traces(work).await?;
    let story = &work.story;
    let words = format!("{}\n{}\n{}", story.title, story.description, story.acceptance.join("\n"));
    let suspects = localise::rank(&Evidence {
        files: &files,
        failing: &named(fleet_tools::results::TestOutcome::Failed),
        passing: &named(fleet_tools::results::TestOutcome::Passed),
        spectrum: &traces,
        output: &output.join("\n"),
        story: &words,
        test_files: &story.test_file_set(),
        protected: &story.protected_set(),
    });
    let limit = work.services.options.agent.file_tokens;
    let mut candidates = suspects.candidates;
    for candidate in &mut candidates {
        if let Some(file) = files.iter().find(|f| f.path == candidate.path) {
            candidate.forms = localise::forms(file, &output.join("\n"), limit);
        }
    }
    let event = StoryEvent::Localised { candidates, considered: suspects.considered };
    Ok(vec![(work.node(), event)])
}

/// What each test of the base executes. Costs one more run; a base whose tests take long is ranked without.
async fn traces(work: &Work) -> Result<Vec<Trace>, StepError> {
    let longest = work.services.options.runs.wall.as_millis() / 4;
    if work.baseline()?.runs.iter().any(|run| u128::from(run.wall_ms) > longest) {
        return Ok(Vec::new());
    }
    let base = work.base().await?;
    let spec = work.verify_spec(TestReport::default());
    let what = json!({ "test": spec.test });
    let run = || async { spectrum::spectrum(&work.services.bench, base, &spec).await.map_err(verify_fault) };
    match work.effect(SPECTRUM, EffectClass::Repeatable, work.node(), what, run).await {
        // It is a hint; what can't be traced is ranked by all the others.
        Err(StepError::Failed(_)) => Ok(Vec::new()),
        traces => traces,
    }
}

#[derive(Deserialize)]
struct Decision {
    summary: String,
    approach: String,
    risks: Vec<String>,
}

pub(super) async fn design(story: &StoryActor) -> Result<Events, StepError> {
    let work = &story.work;
    let report = work.baseline()?.report;
    let files = sources(work).await?;
    let mut materials = Vec::new();
    materials.extend(material::failures(&report));
    materials.extend(material::test_source(&files, &report));
    materials.extend(material::suspects(&story.known.candidates, SHOWN_SUSPECTS, &files));
    materials.push(material::file_list(&files));
    let (answer, hash, mut events) =
        consult(story, Phase::Design, materials, prompt::design, prompt::design_schema()).await?;
    // A design helps those who propose; without a usable one they go on as before.
    let decision: Decision = serde_json::from_str(&answer.text).unwrap_or_else(|e| Decision {
        summary: format!("the architect's reply is not the JSON that was asked for: {e}"),
        approach: String::new(),
        risks: Vec::new(),
    });
    events.push((
        author(asked(story, Phase::Design)),
        StoryEvent::Design {
            summary: decision.summary,
            approach: decision.approach,
            risks: decision.risks,
            bundle: hash,
            effect: Phase::Design.name().into(),
            spend: answer.spend,
        },
    ));
    Ok(events)
}

pub(super) async fn plan(story: &StoryActor) -> Result<Events, StepError> {
    let files = sources(&story.work).await?;
    let materials = vec![material::file_list(&files)];
    let ask = |system: &str, bundle: &str| prompt::plan(system, bundle, plan::MAX_TASKS);
    let (answer, hash, mut events) = consult(story, Phase::Plan, materials, ask, plan::schema()).await?;
    let (tasks, refused) = match plan::read(&answer.text) {
        Ok(tasks) => {
            let refused = plan::check(&tasks).err().map(|e| e.to_string());
            (tasks, refused)
        }
        Err(e) => (Vec::new(), Some(e.to_string())),
    };
    events.push((
        author(asked(story, Phase::Plan)),
        StoryEvent::Plan { tasks, refused, bundle: hash, effect: Phase::Plan.name().into(), spend: answer.spend },
    ));
    Ok(events)
}

/// Shows the architect what belongs to the phase and asks for JSON; gives the answer, the hash of
/// what was shown, and the event that records it.
async fn consult(
    story: &StoryActor,
    phase: Phase,
    materials: Vec<fleet_memory::Material>,
    ask: impl FnOnce(&str, &str) -> Vec<fleet_inference::ChatMessage>,
    schema: serde_json::Value,
) -> Result<(Answer, String, Events), StepError> {
    let work = &story.work;
    let role = asked(story, phase);
    let show = Show {
        role: role.acts_as.name(),
        phase,
        task: None,
        purpose: Some(phase.name().into()),
        budget: work.services.options.agent.context_tokens,
        materials,
    };
    let shown = work.show(show).await?;
    let hash = shown.bundle.hash.clone();
    let question = Question {
        key: phase.name().into(),
        by: author(role),
        engine: role.engine.clone(),
        messages: ask(&role.prompt, &shown.bundle.render()),
        prefix: None,
        constraint: Constraint::JsonSchema(schema.to_string()),
        stop: Vec::new(),
        temperature: 0.0,
        seed: seed(work.story.seed, SEED_PLACE),
        max_tokens: role.reply_tokens.unwrap_or(REPLY_TOKENS),
        tag: RequestTag {
            job: work.ctx.job.to_string(),
            role: role.name.clone(),
            phase: phase.name().into(),
            ..RequestTag::default()
        },
        bundle: hash.clone(),
    };
    let answer = work.ask(question).await?;
    let seen = story.known.shown.contains(phase.name());
    let events = if seen { Vec::new() } else { vec![(work.node(), shown.event)] };
    Ok((answer, hash, events))
}
