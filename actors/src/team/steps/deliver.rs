//! The end: somebody decides, and what was approved becomes a commit.

use std::time::Duration;

use fleet_runtime::{EffectClass, Position, Timestamp};
use fleet_tools::repo::{Commit, Person};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Events;
use super::source::patch_bytes;
use crate::event::{Asked, GateDecision, StoryEvent};
use crate::gate::{Approval, gate_id, more_id};
use crate::team::story::StoryActor;
use crate::team::work::{Fault, StepError, blocking};

/// Who decides where policy may.
const POLICY: &str = "policy:auto";
/// Whom commits are by; agents and approvers are in the trailers.
const COMMITTER: (&str, &str) = ("Fleet", "fleet@localhost");
/// Key of the effect.
const COMMIT: &str = "commit";

pub(super) fn open_gate(story: &StoryActor, attempt: u32, asked: Asked) -> StoryEvent {
    let work = &story.work;
    let now = Timestamp::now();
    let open = work.services.options.approval.expires_after;
    let (title, job) = (&work.story.title, &work.ctx.job);
    let (gate, question, evidence) = match asked {
        Asked::Commit => (
            gate_id(job, attempt),
            format!("Commit attempt {attempt} for \"{title}\" to fleet/{job}?"),
            evidence(story, attempt),
        ),
        Asked::GoOn => {
            let made = story.core.attempts().len();
            let question = format!(
                "None of {made} attempts at \"{title}\" passed. Go on with up to {} more? Approve goes on, reject ends it.",
                work.limits.proposals
            );
            (more_id(job, made), question, best_three(story))
        }
    };
    StoryEvent::GateOpened {
        gate,
        attempt,
        asked,
        question,
        evidence,
        expires_at: Timestamp(now.millis().saturating_add(millis(open))),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn evidence(story: &StoryActor, attempt: u32) -> Vec<String> {
    let standing = story.core.standing();
    let place = standing.places.iter().find(|p| p.attempt == attempt).map(|p| p.reason.clone());
    let patch = story.core.attempts().get(&attempt).and_then(|a| a.proposal.patch());
    let patch = patch.map(|p| format!("patch {} ({} bytes): {}", p.digest, p.bytes, p.files.join(", ")));
    place.into_iter().chain(patch).collect()
}

/// The attempts that came closest, and what is wrong with each.
fn best_three(story: &StoryActor) -> Vec<String> {
    let executed = |attempt: &u32| story.core.attempts().get(attempt).is_some_and(|a| a.executed == Some(*attempt));
    let places = story.core.standing().places;
    let first = places.into_iter().filter(|p| executed(&p.attempt)).take(3);
    first.map(|p| format!("attempt {}: {}", p.attempt, p.reason)).collect()
}

/// The question as it stands at the open gate.
pub(crate) fn approval(story: &StoryActor) -> Option<Approval> {
    let Some(StoryEvent::GateOpened { gate, attempt, question, evidence, expires_at, .. }) = &story.known.gate else {
        return None;
    };
    let open = millis(story.work.services.options.approval.expires_after);
    Some(Approval {
        id: gate.clone(),
        job: story.work.ctx.job.to_string(),
        project: story.work.ctx.record.project.to_string(),
        attempt: *attempt,
        opened_at: story.known.gate_opened_at.unwrap_or(Timestamp(expires_at.millis().saturating_sub(open))),
        expires_at: *expires_at,
        question: question.clone(),
        options: vec!["approve".into(), "reject".into()],
        evidence: evidence.clone(),
    })
}

pub(super) fn decide_by_policy(story: &StoryActor, attempt: u32) -> StoryEvent {
    StoryEvent::GateDecided {
        gate: gate_id(&story.work.ctx.job, attempt),
        attempt,
        decision: GateDecision::Approved,
        by: POLICY.into(),
        comment: evidence(story, attempt).into_iter().next().unwrap_or_default(),
        at: Timestamp::now(),
    }
}

/// What is recorded of a commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Made {
    commit: String,
    bundle: String,
    bundle_bytes: u64,
}

pub(super) async fn commit(story: &StoryActor, attempt: u32) -> Result<Events, StepError> {
    let work = &story.work;
    let Some(patch) = story.core.attempts().get(&attempt).and_then(|a| a.proposal.patch()) else {
        return Err(StepError::Broken(format!("attempt {attempt} has no patch to commit")));
    };
    let (decision, date) = decided(story)?;
    let trailers = trailers(story, attempt, decision);
    let what = json!({ "patch": patch.digest, "key": work.ctx.job, "trailers": trailers });
    let bytes = patch_bytes(work, &patch.digest).await?;
    let message = format!("{}\n\n{}", work.story.title, story.known.approach);
    let base = work.base().await?.clone();
    let key = work.ctx.job.to_string();
    let written = trailers.clone();
    let make = || async {
        let (commit, bundle) = blocking(move || {
            let author = Person { name: COMMITTER.0.into(), email: COMMITTER.1.into() };
            let commit = base.commit(&Commit {
                patch: &bytes,
                message: &message,
                trailers: &written,
                author,
                date: date.millis() / 1000,
                key: &key,
            })?;
            Ok((commit, base.bundle(&key)?))
        })
        .await?;
        let bundle_bytes = bundle.len() as u64;
        let bundle = work.ctx.keep(bundle).await.map_err(|e| Fault::Broken(e.to_string()))?;
        Ok(Made { commit: commit.to_string(), bundle: bundle.to_string(), bundle_bytes })
    };
    let made: Made = work.effect(COMMIT, EffectClass::Keyed, work.node(), what, make).await?;
    let event = StoryEvent::Committed {
        attempt,
        commit: made.commit,
        branch: format!("fleet/{}", work.ctx.job),
        bundle: made.bundle,
        bundle_bytes: made.bundle_bytes,
        trailers: trailers.iter().map(|(name, value)| format!("{name}: {value}")).collect(),
        effect: COMMIT.into(),
    };
    Ok(vec![(work.node(), event)])
}

/// Where and when it was approved. A commit's date is that of its approval, so that it is the same
/// commit however often it is made.
fn decided(story: &StoryActor) -> Result<(Position, Timestamp), StepError> {
    match &story.known.approval {
        Some((position, StoryEvent::GateDecided { at, .. })) => Ok((*position, *at)),
        _ => Err(StepError::Broken("nothing was approved".into())),
    }
}

fn trailers(story: &StoryActor, attempt: u32, decision: Position) -> Vec<(String, String)> {
    let work = &story.work;
    let by = match &story.known.approval {
        Some((_, StoryEvent::GateDecided { by, .. })) => by.clone(),
        _ => String::new(),
    };
    let agent = story.core.attempts().get(&attempt).map(|a| &a.proposal);
    let agent = agent.map(|p| {
        let mock = if p.engine.mock { ", mock" } else { "" };
        format!("{} ({}{mock})", p.agent, p.engine.model)
    });
    let story_hash = blake3::hash(work.spec.story.as_bytes()).to_hex().to_string();
    [
        ("Fleet-Job", Some(work.ctx.job.to_string())),
        ("Fleet-Story", Some(story_hash)),
        ("Fleet-Attempt", Some(attempt.to_string())),
        ("Fleet-Agent", agent),
        ("Fleet-Decision", Some(decision.to_string())),
        ("Approved-by", Some(by)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}
