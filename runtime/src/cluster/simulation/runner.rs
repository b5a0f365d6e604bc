//! A runner as the jobs' runner actor is: it reports, if its node may act, until it is answered, works while its node may act, and tells of its
//! end until that is acknowledged.

use super::jobs::{Asker, JobsIn, Order};
use crate::actor::ActorAddr;
use crate::id::JobId;

#[derive(Debug)]
pub(super) struct Runner {
    pub job: JobId,
    /// The start for which it was made.
    pub made_for: u32,
    /// The run that it is in.
    pub going: Option<u32>,
    /// ms of work that are left.
    left: u64,
    /// The run was dropped when the lease ended; the runner finds that out once there is one again.
    dropped: bool,
    must_report: bool,
    /// The question that isn't answered yet, and until when it is waited for.
    asking: Option<(u64, u64)>,
}

/// How long it waits for an answer, ms.
const PATIENCE: u64 = 1_500;

impl Runner {
    /// The runner of that key, if it is one's.
    pub fn of(key: &str) -> Option<Self> {
        let (job, run) = key.strip_prefix("job/")?.split_once('/')?;
        let (job, made_for) = (job.parse().ok()?, run.parse().ok()?);
        let (going, asking) = (None, None);
        Some(Self { job, made_for, going, left: 0, dropped: false, must_report: true, asking })
    }

    pub fn is(&self, asker: &Asker) -> bool {
        self.job == asker.job && self.made_for == asker.made_for
    }

    /// It does what it is told; false where it has nothing (more) to do.
    pub fn answered(&mut self, token: u64, order: Order, work: u64) -> bool {
        if self.asking.take_if(|(asked, _)| *asked == token).is_none() {
            return true;
        }
        self.must_report = false;
        if let Order::Run(run) = order {
            (self.going, self.left, self.dropped) = (Some(run), work, false);
        }
        order != Order::Stop
    }

    pub fn asked_to_report(&mut self) {
        self.must_report = true;
    }

    /// Whether its run has effects at this moment, if its node may have any.
    pub fn is_acting(&self) -> bool {
        self.going.is_some() && !self.dropped && self.left > 0
    }

    /// Time passes; what it says now.
    pub fn go_on(
        &mut self,
        (node, addr): (usize, Option<ActorAddr>),
        may_act: bool,
        step: u64,
        (now, token): (u64, u64),
    ) -> Option<JobsIn> {
        let (working, is_over) = (self.is_acting(), self.going.is_some() && !self.dropped && self.left == 0);
        match may_act {
            true if working => self.left = self.left.saturating_sub(step),
            true if self.dropped => (self.going, self.dropped, self.must_report) = (None, false, true),
            false if working => self.dropped = true,
            _ => {}
        }
        if self.asking.is_some_and(|(_, until)| now < until) || !((self.must_report && may_act) || is_over) {
            return None;
        }
        self.asking = Some((token, now + PATIENCE));
        let by = Asker { node, job: self.job.clone(), made_for: self.made_for, addr, token };
        match self.going.filter(|_| is_over) {
            Some(run) => Some(JobsIn::Ended { by, run }),
            None => Some(JobsIn::Reported { by, running: self.going }),
        }
    }
}
