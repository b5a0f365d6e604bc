//! The order of the jobs: what is computed once and kept, so that no decision looks at every job.
//!
//! All of it follows from the recorded state. A job is known here by the position of its submission, which no other has.

use std::collections::{BTreeMap, BTreeSet};

use super::core::Job;
use super::ranks::Ranks;
use super::record::JobState;
use crate::id::{JobId, Position, ProjectId};
use crate::time::Timestamp;

/// Within a project, and in the queue as people see it: the higher priority first, then who came first.
pub(super) type Turn = (i64, Position);

pub(super) fn turn(job: &Job) -> Turn {
    (-i64::from(job.priority), job.submitted.0)
}

/// The best job of a project among those of all: the higher priority first, then the project with the fewest places, the
/// one that was served longest ago, and who came first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    priority: i64,
    places: usize,
    last_served: Position,
    submitted: Position,
    project: ProjectId,
}

/// A project's part.
#[derive(Clone, Debug, Default)]
struct Share {
    jobs: usize,
    places: usize,
    last_served: Position,
    ready: BTreeSet<Turn>,
    head: Option<Head>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    /// Up to when retries have been let in.
    clock: Timestamp,
    arrivals: BTreeMap<Position, JobId>,
    /// Jobs that have not ended.
    open: usize,
    /// Jobs by state.
    states: [usize; JobState::ALL.len()],
    /// Places that running jobs hold, or are to get.
    places: usize,
    queued: Ranks<Turn>,
    shares: BTreeMap<ProjectId, Share>,
    heads: BTreeSet<Head>,
    /// Retries that aren't due.
    delayed: BTreeSet<(Timestamp, Position)>,
}

impl Queue {
    /// The job as it is from now on; `placing`: a node is being found for it.
    pub fn put(&mut self, job: &Job, placing: bool) {
        self.arrivals.insert(job.submitted.0, job.id.clone());
        self.open += usize::from(!job.state.is_ended());
        self.states[job.state as usize] += 1;
        let places = usize::from(job.holds_place || placing);
        self.places += places;
        let waits = job.state == JobState::Queued && !placing;
        if job.state == JobState::Queued {
            self.queued.insert(turn(job));
        }
        let is_due = job.not_before <= self.clock;
        if waits && !is_due {
            self.delayed.insert((job.not_before, job.submitted.0));
        }
        let share = self.shares.entry(job.project.clone()).or_default();
        share.jobs += 1;
        share.places += places;
        share.last_served = share.last_served.max(job.last_start.unwrap_or_default());
        if waits && is_due {
            share.ready.insert(turn(job));
        }
        self.settle(&job.project);
    }

    /// The job as it was put in last isn't any more.
    pub fn take(&mut self, job: &Job, placing: bool) {
        self.arrivals.remove(&job.submitted.0);
        self.open -= usize::from(!job.state.is_ended());
        self.states[job.state as usize] -= 1;
        let places = usize::from(job.holds_place || placing);
        self.places -= places;
        self.queued.remove(&turn(job));
        self.delayed.remove(&(job.not_before, job.submitted.0));
        let Some(share) = self.shares.get_mut(&job.project) else { return };
        share.jobs -= 1;
        share.places -= places;
        share.ready.remove(&turn(job));
        self.settle(&job.project);
    }

    /// A project without jobs is forgotten, and when it was served last. Not by [`take`](Self::take), after which the job is
    /// put in again as it has become.
    pub fn forget_if_empty(&mut self, project: &ProjectId) {
        if self.shares.get(project).is_some_and(|share| share.jobs == 0) {
            self.shares.remove(project);
        }
    }

    /// Brings the project's head to where it belongs.
    fn settle(&mut self, project: &ProjectId) {
        let Some(share) = self.shares.get_mut(project) else { return };
        let (places, last_served) = (share.places, share.last_served);
        let head = share.ready.first().map(|&(priority, submitted)| {
            let project = project.clone();
            Head { priority, places, last_served, submitted, project }
        });
        if share.head != head {
            share.head.take().map(|before| self.heads.remove(&before));
            share.head.clone_from(&head);
            self.heads.extend(head);
        }
    }

    /// Whoever is to start next of those that may.
    pub fn next(&self) -> Option<&JobId> {
        self.id_of(self.heads.first()?.submitted)
    }

    /// Those whose retry is due by now, to be [put](Self::put) in anew.
    pub fn due(&mut self, now: Timestamp) -> Vec<JobId> {
        self.clock = self.clock.max(now);
        let due = self.delayed.iter().take_while(|(due, _)| *due <= now);
        due.filter_map(|(_, submitted)| self.arrivals.get(submitted).cloned()).collect()
    }

    /// When the next retry is due after that.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let after = (Timestamp(now.0.saturating_add(1)), Position(0));
        self.delayed.range(after..).next().map(|(due, _)| *due)
    }

    /// How many queued jobs go before that one by priority and time.
    pub fn ahead_of(&self, job: &Job) -> usize {
        self.queued.before(&turn(job))
    }

    /// How many jobs are in each state, in the order of [`JobState::ALL`].
    pub fn states(&self) -> impl Iterator<Item = (JobState, usize)> {
        JobState::ALL.into_iter().zip(self.states)
    }

    pub fn open(&self) -> usize {
        self.open
    }

    pub fn places(&self) -> usize {
        self.places
    }

    pub fn id_of(&self, submitted: Position) -> Option<&JobId> {
        self.arrivals.get(&submitted)
    }

    /// The oldest first, those behind `after`.
    pub fn after(&self, after: Option<Position>) -> impl Iterator<Item = (Position, &JobId)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.arrivals.range((from, Unbounded)).map(|(submitted, id)| (*submitted, id))
    }
}
