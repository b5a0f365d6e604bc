//! What a person sees while a job runs: a spinner with phase, attempts and tokens where stderr is a terminal, plain
//! lines elsewhere. Everything shown comes from the node's events; the node has escaped it already.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fleet_api::wire::{EventData, ProgressData};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::Terminal;

/// The live view of one job.
pub struct Live {
    terminal: Terminal,
    bar: Option<ProgressBar>,
    since: Instant,
    /// What came while a question stood on the last line.
    held: Option<Vec<String>>,
    phase: String,
    proposals: usize,
    /// Tokens decoded, by who decodes.
    tokens: BTreeMap<String, u64>,
    doing: String,
}

impl Live {
    /// Starts the view.
    pub fn start(terminal: &Terminal) -> Self {
        Self {
            terminal: terminal.clone(),
            bar: terminal.may_animate().then(|| spinner(terminal.may_colour())),
            since: Instant::now(),
            held: None,
            phase: "queued".to_owned(),
            proposals: 0,
            tokens: BTreeMap::new(),
            doing: String::new(),
        }
    }

    /// Shows a recorded event.
    pub fn event(&mut self, event: &EventData) {
        let envelope = &event.envelope;
        match envelope.kind.as_str() {
            "story.phase" => {
                if let Some(phase) = envelope.payload.get("phase").and_then(|p| p.as_str()) {
                    self.phase = phase.to_owned();
                }
            }
            "story.proposal" => self.proposals += 1,
            _ => {}
        }
        self.doing.clear();
        if let Some(line) = &event.line {
            self.say(line);
        }
        self.redraw();
    }

    /// Shows what is told in passing; only a spinner has room for it.
    pub fn progress(&mut self, progress: &ProgressData) {
        if let Some(tokens) = progress.tokens {
            self.tokens.insert(progress.source.clone(), tokens);
        }
        self.doing = format!("{}: {}", progress.source, progress.text);
        self.redraw();
    }

    /// Says one line above the spinner; later, while a question stands.
    pub fn say(&mut self, line: &str) {
        match (&mut self.held, &self.bar) {
            (Some(held), _) => held.push(line.to_owned()),
            (None, Some(bar)) => bar.println(line),
            (None, None) => self.terminal.note(line),
        }
    }

    /// Takes the spinner away and keeps quiet: a question is going to stand on the last line.
    pub fn hold(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.held.get_or_insert_default();
    }

    /// Says what came meanwhile and shows the spinner again.
    pub fn resume(&mut self) {
        let Some(held) = self.held.take() else { return };
        for line in held {
            self.terminal.note(line);
        }
        if self.terminal.may_animate() {
            self.bar = Some(spinner(self.terminal.may_colour()).with_elapsed(self.since.elapsed()));
            self.redraw();
        }
    }

    fn redraw(&self) {
        let Some(bar) = &self.bar else { return };
        let tokens: u64 = self.tokens.values().sum();
        let mut message = self.phase.clone();
        if self.proposals > 0 {
            message.push_str(&format!(" · {} proposals", self.proposals));
        }
        if tokens > 0 {
            message.push_str(&format!(" · {tokens} tokens"));
        }
        if !self.doing.is_empty() {
            message.push_str(&format!(" · {}", self.doing));
        }
        bar.set_message(message);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A spinner with a line of text, on stderr.
pub fn spinner(colour: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = if colour { "{spinner:.cyan} {elapsed} {wide_msg}" } else { "{spinner} {elapsed} {wide_msg}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
