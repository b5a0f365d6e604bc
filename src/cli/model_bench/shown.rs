//! What a person sees while it is being measured: what is measured now, and how long it will take. Only on a terminal.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::plan::Task;
use crate::cli::live::spinner;
use crate::cli::terminal::Terminal;

/// A spinner with a line of text.
pub struct Shown {
    bar: Option<ProgressBar>,
    /// When all will be done, about.
    end: Instant,
}

impl Shown {
    pub fn new(terminal: &Terminal) -> Self {
        let bar = terminal.may_animate().then(|| spinner(terminal.may_colour()));
        Self { bar, end: Instant::now() }
    }

    /// A task begins, and all takes so many seconds from now on.
    pub fn begin(&mut self, task: &Task, ahead_s: f64) {
        self.end = Instant::now() + Duration::from_secs_f64(ahead_s.clamp(0.0, 86_400.0));
        self.next(task, 0);
    }

    /// So many of its loads are done.
    pub fn next(&mut self, task: &Task, done: usize) {
        let (Some(bar), Some(load)) = (&self.bar, task.part.loads.get(done)) else { return };
        let left = self.end.saturating_duration_since(Instant::now()).as_secs().max(1);
        bar.set_message(format!(
            "{} · {} threads · {} × {} tokens · about {left} s left",
            task.stage.name(),
            task.threads,
            load.streams,
            load.filled
        ));
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
