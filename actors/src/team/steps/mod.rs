//! The steps of a story: what each command of the core does, and the events it leads to.
//!
//! A step has its effects through [`Work::effect`](super::work::Work::effect) and returns the
//! events; the story records them. So a step that is carried out again after a crash finds its
//! effects recorded and returns the same events.

mod begin;
mod decide;
mod deliver;
mod judge;
mod probe;
mod propose;
mod source;

use fleet_runtime::Author;

pub(crate) use deliver::approval;
pub(crate) use propose::{assignment, proposal_events, purpose};
pub(crate) use source::{patch_bytes, patched_file, program_of, read_file, sources};

use super::story::StoryActor;
use super::work::StepError;
use crate::core::Command;
use crate::event::{Phase, StoryEvent};

/// Events and who is their author.
pub(crate) type Events = Vec<(Author, StoryEvent)>;

/// Carries out a command that the story does itself.
pub(crate) async fn carry_out(story: &StoryActor, command: Command) -> Result<Events, StepError> {
    let node = || story.work.node();
    let one = |event: StoryEvent| Ok(vec![(node(), event)]);
    match command {
        Command::Accept => begin::accept(story).await,
        Command::Baseline => begin::baseline(&story.work).await,
        Command::Localise => decide::localise(&story.work).await,
        Command::Design => decide::design(story).await,
        Command::Plan => decide::plan(story).await,
        Command::Verify { attempt } => judge::verify(story, attempt).await,
        Command::Probe => probe::write(story).await,
        Command::Examine { attempt } => probe::examine(story, attempt).await,
        Command::Rank { round } => one(judge::rank(story, round)),
        Command::OpenGate { attempt, asked } => one(deliver::open_gate(story, attempt, asked)),
        Command::DecideByPolicy { attempt } => one(deliver::decide_by_policy(story, attempt)),
        Command::Commit { attempt } => deliver::commit(story, attempt).await,
        Command::Forgo(slot) => Ok(propose::forgo(story, slot)),
        Command::Enter { phase, round } => one(StoryEvent::Phase { phase, round }),
        Command::SkipDocs => {
            let reason = "the story asks for no documentation".to_owned();
            one(StoryEvent::Skipped { phase: Phase::Docs, reason })
        }
        Command::End { success, summary, best } => one(StoryEvent::Ended { success, summary, best }),
        // Handed out to others before this is reached.
        Command::Propose(_) | Command::AwaitGate { .. } => Ok(Vec::new()),
    }
}
