//! What the council is handed, and what becomes of what it hands back.

use fleet_runtime::Author;

use super::Events;
use crate::core::Slot;
use crate::event::{Candidate, Form, StoryEvent};
use crate::team::agent::empty_proposal;
use crate::team::council::{Assignment, Finished};
use crate::team::story::StoryActor;

/// What a bundle is made for, as it stands in the report.
pub(crate) fn purpose(attempt: u32) -> String {
    format!("attempt {attempt}")
}

/// A slot of the schedule with everything that an agent needs to know.
pub(crate) fn assignment(story: &StoryActor, slot: Slot) -> Assignment {
    let known = &story.known;
    let candidate = known.candidates.get(slot.candidate as usize).cloned().unwrap_or_else(no_candidate);
    let said = |attempt: u32| {
        let told = known.said.iter().find(|(n, _)| *n == attempt);
        told.map(|(_, said)| said.clone()).unwrap_or_default()
    };
    let role = story.roles.builder(&candidate.path, slot.nth).cloned().unwrap_or_else(|| story.roles.any().clone());
    Assignment {
        attempt: slot.attempt,
        place: slot.place,
        round: slot.round,
        nth: slot.nth,
        form: role.form(slot.form),
        role,
        candidate,
        task: known.tasks.first().map(|t| t.id.clone()),
        repairs: slot.repairs.map(|attempt| (attempt, said(attempt))),
        repair_patch: slot.repairs.and_then(|attempt| patch_of(story, attempt)),
        builds_on: slot.builds_on.and_then(|attempt| Some((attempt, patch_of(story, attempt)?))),
        shown: known.shown.contains(&purpose(slot.attempt)),
    }
}

fn patch_of(story: &StoryActor, attempt: u32) -> Option<String> {
    let attempt = story.core.attempts().get(&attempt)?;
    attempt.proposal.patch().map(|p| p.digest.clone())
}

/// The core schedules only candidates that were recorded; an index beyond them has no file to read,
/// and the agent says so.
fn no_candidate() -> Candidate {
    Candidate {
        path: String::new(),
        function: String::new(),
        line: 0,
        score: 0,
        reasons: Vec::new(),
        forms: vec![Form::Function],
    }
}

/// What is recorded of a finished proposal: what was shown, what was stopped, what was proposed.
pub(crate) fn proposal_events(story: &StoryActor, finished: Finished) -> Events {
    let Finished { proposal, shown, findings } = finished;
    let by = Author::Agent { role: proposal.role.clone(), name: proposal.agent.clone() };
    let shown = shown.filter(|_| !story.known.shown.contains(&purpose(proposal.attempt)));
    let mut events: Events = shown.into_iter().map(|event| (story.work.node(), event)).collect();
    events.extend(findings.into_iter().map(|finding| {
        let violation = StoryEvent::Violation {
            attempt: proposal.attempt,
            agent: proposal.agent.clone(),
            what: finding.what,
            detail: finding.detail,
        };
        (story.work.node(), violation)
    }));
    events.push((by, StoryEvent::Proposal(proposal)));
    events
}

/// A proposal that is not made.
pub(super) fn forgo(story: &StoryActor, slot: Slot) -> Events {
    let assignment = assignment(story, slot);
    let why = "not made, the budget of tokens is used up".to_owned();
    let proposal = empty_proposal(&story.work, &assignment, why);
    vec![(story.work.node(), StoryEvent::Proposal(proposal))]
}
