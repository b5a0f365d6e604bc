//! The jobs service as its actor does it: one thing after the other, recorded before it takes effect, around the real core.

use std::collections::{BTreeMap, VecDeque};

use super::control::{Disk, author};
use crate::actor::ActorAddr;
use crate::id::{JobId, NodeId};
use crate::job::{Admission, Decision, JobEvent, JobOutcome, JobState, JobSubmit, JobsCore, JobsOptions, RunEnd};
use crate::time::Timestamp;

/// A runner that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub node: usize,
    pub job: JobId,
    /// The start for which it was made.
    pub made_for: u32,
    /// Where it is; `None` where the service speaks to whichever is there.
    pub addr: Option<ActorAddr>,
    /// Of its question: a later answer is nobody's.
    pub token: u64,
}

/// What the service is told.
#[derive(Debug)]
pub(super) enum JobsIn {
    Submit { node: usize, n: usize, fresh: JobId },
    Reported { by: Asker, running: Option<u32> },
    Ended { by: Asker, run: u32 },
    Placed { job: JobId, run: u32, on: NodeId },
}

/// What it does.
#[derive(Debug)]
pub(super) enum JobsOut {
    Acknowledge {
        node: usize,
        n: usize,
    },
    Answer {
        to: Asker,
        order: Order,
    },
    /// Asks the cluster for a runner.
    Place {
        job: JobId,
        run: u32,
    },
    Remove {
        job: JobId,
        run: u32,
    },
    AskToReport {
        on: NodeId,
        job: JobId,
        run: u32,
    },
}

/// What a runner is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Run(u32),
    Continue,
    Stop,
}

/// What follows once an event is on disk.
#[derive(Debug)]
enum Then {
    Acknowledge { node: usize, n: usize },
    Run { to: Asker },
    Stop { to: Asker },
}

/// Before a place is asked for again, ms.
const ASK_AGAIN: u64 = 3_000;

pub(super) struct Jobs {
    pub core: JobsCore,
    inbox: VecDeque<JobsIn>,
    /// An append that is under way, and when it is on disk.
    writing: Option<(u64, JobId, JobEvent, Then)>,
    /// What runs, and the runner that was told to.
    runs: BTreeMap<JobId, (u32, Option<ActorAddr>)>,
    /// Starts for which a place is looked for, and when that is asked for again.
    placing: BTreeMap<JobId, (u32, u64)>,
    out: Vec<JobsOut>,
}

impl Jobs {
    /// A life of the service: all that the one before had not written down is gone.
    pub fn open(disk: &Disk) -> Self {
        let mut core = JobsCore::new(JobsOptions::default());
        disk.jobs.iter().for_each(|envelope| core.apply(envelope));
        let begun = core.begun();
        let placing =
            begun.into_iter().map(|job| (job.clone(), (core.latest_run(&job).unwrap_or_default(), 0))).collect();
        Self { core, inbox: VecDeque::new(), writing: None, runs: BTreeMap::new(), placing, out: Vec::new() }
    }

    pub fn tell(&mut self, what: JobsIn) {
        self.inbox.push_back(what);
    }

    /// What is to be done by now.
    pub fn take_out(&mut self) -> Vec<JobsOut> {
        std::mem::take(&mut self.out)
    }

    /// Whether an append comes to its end now.
    pub fn is_due(&self, now: u64) -> bool {
        self.writing.as_ref().is_some_and(|(due, ..)| *due <= now)
    }

    /// The append is on disk.
    pub fn appended(&mut self, disk: &mut Disk, now: u64) {
        let Some((_, job, event, then)) = self.writing.take() else { return };
        let envelope = disk.record_job(&job, &event, now);
        self.core.apply(&envelope);
        match then {
            Then::Acknowledge { node, n } => self.out.push(JobsOut::Acknowledge { node, n }),
            Then::Run { to } => {
                self.runs.insert(job, (to.made_for, to.addr));
                let order = Order::Run(to.made_for);
                self.out.push(JobsOut::Answer { to, order });
            }
            Then::Stop { to } => {
                let run = self.core.latest_run(&job).unwrap_or_default();
                self.placing.remove(&job);
                self.runs.remove(&job);
                self.out.push(JobsOut::Remove { job, run });
                self.out.push(JobsOut::Answer { to, order: Order::Stop });
            }
        }
    }

    /// The append was refused. Whether it is there all the same, the journal says to the next life of the service.
    pub fn refused(&mut self, disk: &mut Disk, now: u64, is_there: bool) {
        if let Some((_, job, event, _)) = self.writing.take().filter(|_| is_there) {
            disk.record_job(&job, &event, now);
        }
        *self = Self::open(disk);
    }

    /// Takes what it is told, until something is to be written down.
    pub fn go_on(&mut self, now: u64, latency: u64) {
        while self.writing.is_none() {
            self.start_what_can(now);
            let Some(what) = self.inbox.pop_front() else { break };
            if let Some((job, event, then)) = self.handle(what, now) {
                self.writing = Some((now + latency, job, event, then));
            }
        }
        for (job, (run, due)) in self.placing.iter_mut().filter(|(_, (_, due))| *due <= now) {
            *due = now + ASK_AGAIN;
            self.out.push(JobsOut::Place { job: job.clone(), run: *run });
        }
    }

    fn start_what_can(&mut self, now: u64) {
        while let Some(Decision::Start(job)) = self.core.next(wall(now)) {
            let run = self.core.latest_run(&job).unwrap_or_default() + 1;
            self.core.place(&job);
            self.placing.insert(job, (run, now));
        }
    }

    fn handle(&mut self, what: JobsIn, now: u64) -> Option<(JobId, JobEvent, Then)> {
        match what {
            JobsIn::Submit { node, n, fresh } => match self.core.admit(&submit(n)) {
                Ok(Admission::New(event)) => Some((fresh, event, Then::Acknowledge { node, n })),
                Ok(Admission::Known(_)) => {
                    self.out.push(JobsOut::Acknowledge { node, n });
                    None
                }
                Err(_) => None,
            },
            JobsIn::Placed { job, run, on } => {
                if self.placing.get(&job).is_some_and(|(looked_for, _)| *looked_for == run) {
                    self.placing.remove(&job);
                }
                if self.runs.get(&job).is_none_or(|(going, _)| *going != run) {
                    self.out.push(JobsOut::AskToReport { on, job, run });
                }
                None
            }
            JobsIn::Reported { by, running } => self.reported(by, running, now),
            JobsIn::Ended { by, run } => {
                let outcome = JobOutcome { success: true, summary: String::new(), detail: serde_json::Value::Null };
                self.ended(by, run, RunEnd::Done(outcome), now)
            }
        }
    }

    fn reported(&mut self, by: Asker, running: Option<u32>, now: u64) -> Option<(JobId, JobEvent, Then)> {
        let latest = self.core.latest_run(&by.job).unwrap_or_default();
        let state = self.core.record(&by.job, wall(now)).map(|record| record.state);
        let lost = |by| (by, RunEnd::Lost("its run was lost".into()));
        let order = match (self.runs.get(&by.job), state) {
            (Some((run, _)), _) if running == Some(*run) => Order::Continue,
            (Some((run, runner)), _) if by.made_for == *run && !is_earlier(by.addr, *runner) => {
                let (by, end) = lost(by);
                return self.ended(by, latest, end, now);
            }
            (None, Some(JobState::Queued)) if self.core.is_placing(&by.job) && by.made_for == latest + 1 => {
                let event = JobEvent::Started { run: by.made_for, node: None };
                return Some((by.job.clone(), event, Then::Run { to: by }));
            }
            (None, Some(JobState::Running)) if by.made_for == latest && running == Some(latest) => {
                self.runs.insert(by.job.clone(), (latest, by.addr));
                Order::Continue
            }
            (None, Some(JobState::Running)) if by.made_for == latest => {
                let (by, end) = lost(by);
                return self.ended(by, latest, end, now);
            }
            _ => Order::Stop,
        };
        self.out.push(JobsOut::Answer { to: by, order });
        None
    }

    fn ended(&mut self, by: Asker, run: u32, end: RunEnd, now: u64) -> Option<(JobId, JobEvent, Then)> {
        let is_latest = self.runs.get(&by.job).is_none_or(|(going, _)| *going == run)
            && self.core.latest_run(&by.job) == Some(run)
            && self.core.record(&by.job, wall(now)).is_some_and(|record| record.state == JobState::Running);
        let event = if is_latest { self.core.judge(&by.job, end, wall(now)) } else { None };
        match event {
            Some(event) => Some((by.job.clone(), event, Then::Stop { to: by })),
            None => {
                self.out.push(JobsOut::Answer { to: by, order: Order::Stop });
                None
            }
        }
    }
}

/// Whether that is an earlier life of the same actor.
fn is_earlier(one: Option<ActorAddr>, other: Option<ActorAddr>) -> bool {
    let both = one.zip(other);
    both.is_some_and(|(one, other)| one.actor == other.actor && one.generation < other.generation)
}

fn wall(now: u64) -> Timestamp {
    Timestamp(now.cast_signed())
}

pub(super) fn key(job: &JobId, run: u32) -> String {
    format!("job/{job}/{run}")
}

fn submit(n: usize) -> JobSubmit {
    JobSubmit {
        kind: "work".into(),
        project: "p".parse().unwrap(),
        idempotency_key: n.to_string(),
        title: String::new(),
        spec: serde_json::Value::Null,
        priority: 0,
        by: author(),
    }
}
