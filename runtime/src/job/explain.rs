//! Why a job is in the state that it is in: computed from what is known, never guessed.

use super::core::{Job, JobsCore};
use super::record::JobState;
use crate::time::Timestamp;

impl JobsCore {
    pub(super) fn explain(&self, job: &Job, now: Timestamp) -> Option<String> {
        match job.state {
            JobState::Queued => Some(self.explain_queued(job, now)),
            JobState::Running if job.run > 1 => Some(format!("its run number {}", job.run)),
            JobState::Running => None,
            JobState::Waiting => job.note.as_ref().map(|what| format!("it waits for {what}")),
            JobState::Stopping => job.stop.as_ref().map(|(by, reason)| format!("{by} asked it to stop: {reason}")),
            JobState::Succeeded | JobState::Failed | JobState::Stopped => {
                job.outcome.as_ref().map(|o| o.summary.clone())
            }
        }
    }

    fn explain_queued(&self, job: &Job, now: Timestamp) -> String {
        if let Some(reason) = self.placing.get(&job.id) {
            let why = reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            return format!("a node is being found for it{why}");
        }
        let before = job.note.as_ref().map(|why| format!("{why}; ")).unwrap_or_default();
        if job.not_before > now {
            let seconds = job.not_before.since(now).as_secs_f32();
            return format!("{before}it is tried again in {seconds:.1} s");
        }
        let (running, max) = (self.running(), self.options.max_running);
        let ahead = self.queue.ahead_of(job);
        if running >= max {
            format!("{before}all {max} places are taken; {ahead} jobs of its priority or higher are ahead")
        } else {
            format!("{before}it is about to start")
        }
    }
}
