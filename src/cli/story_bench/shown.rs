//! What a person sees while stories are done: which, how far, and about how long it will take. On a terminal a spinner, elsewhere
//! a line for each finished job.

use std::time::{Duration, Instant};

use fleet_api::wire::EventData;
use indicatif::ProgressBar;

use super::record::{Record, What};
use crate::cli::live::spinner;
use crate::cli::terminal::Terminal;

/// The display of one run.
pub struct Shown {
    terminal: Terminal,
    bar: Option<ProgressBar>,
    began: Instant,
    /// Jobs that this process has done, and those that are left.
    done: u32,
    left: u32,
    /// What is done now.
    now: String,
    proposals: u32,
    doing: String,
}

impl Shown {
    pub fn new(terminal: &Terminal, left: u32) -> Self {
        Self {
            terminal: terminal.clone(),
            bar: terminal.may_animate().then(|| spinner(terminal.may_colour())),
            began: Instant::now(),
            done: 0,
            left,
            now: String::new(),
            proposals: 0,
            doing: String::new(),
        }
    }

    /// A job begins.
    pub fn begin(&mut self, story: &str, what: What, place: u32, seeds: u32) {
        self.now = format!("{story}, {} {} of {seeds}", what.name(), place + 1);
        (self.proposals, self.doing) = (0, "queued".to_owned());
        self.redraw();
    }

    /// A recorded event of it.
    pub fn event(&mut self, event: &EventData) {
        if event.envelope.kind == "story.proposal" {
            self.proposals += 1;
        }
        if let Some(line) = &event.line {
            self.doing.clone_from(line);
        }
        self.redraw();
    }

    /// Something that takes a while here.
    pub fn doing(&mut self, what: impl Into<String>) {
        self.doing = what.into();
        self.redraw();
    }

    /// It is finished.
    pub fn end(&mut self, record: &Record) {
        self.done += 1;
        self.left = self.left.saturating_sub(1);
        let line = format!("{}: {}", self.now, told(record));
        self.say(&line);
    }

    /// It came to nothing.
    pub fn broke(&mut self, why: &str) {
        self.left = self.left.saturating_sub(1);
        let line = format!("{}: broke off: {}", self.now, fleet_api::plain::line(why));
        self.say(&line);
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => self.terminal.note(line),
        }
    }

    fn redraw(&self) {
        let Some(bar) = &self.bar else { return };
        let proposals = if self.proposals > 0 { format!(" · {} proposals", self.proposals) } else { String::new() };
        let jobs = format!("{} to go", self.left);
        let time = self.ahead().map(|left| format!(", about {} min", left.as_secs() / 60 + 1)).unwrap_or_default();
        bar.set_message(format!("{}{proposals} · {jobs}{time} · {}", self.now, self.doing));
    }

    /// How long the rest takes, if it takes as long as what was done.
    fn ahead(&self) -> Option<Duration> {
        (self.done > 0).then(|| self.began.elapsed() / self.done * self.left)
    }
}

fn told(record: &Record) -> String {
    let kept = match record.replayed {
        0 => String::new(),
        n => format!(", {n} replies from the cache"),
    };
    let tokens = format!("{} tokens, {:.0} s{kept}", record.tokens_in + record.tokens_out, record.seconds);
    match (record.what, &record.commit) {
        (Some(What::Pool), _) => {
            let count =
                |which: fn(&super::record::Attempt) -> bool| record.attempts.iter().filter(|a| which(a)).count();
            let (passes, right) = (count(|a| a.passes), count(super::record::Attempt::is_right));
            format!("{} proposals, {passes} pass, {right} are right, {tokens}", record.attempts.len())
        }
        (_, Some(commit)) => {
            let right = commit.hidden.as_ref().is_none_or(|hidden| hidden.right);
            format!("committed, {}, {tokens}", if right { "right" } else { "wrong by the hidden tests" })
        }
        (_, None) => format!("no commit, {tokens}"),
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
