//! A question to the person at this terminal: asked when a gate opens, answered by one letter, taken back when
//! somebody else decides first. Where nobody can be asked, the exact commands are said instead.

use std::io::BufRead;

use fleet_actors::gate::Approval;
use fleet_api::plain;
use fleet_api::wire::Verdict;
use tokio::sync::mpsc;

use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::terminal::Terminal;

const ASK: &str = "approve? [y]es, [n]o, [d]iff, [l]ater: ";

/// A line that was typed; none when stdin is closed.
pub type Asked = Option<String>;

/// The gate of one job, as this terminal sees it.
pub struct Gate {
    client: Client,
    terminal: Terminal,
    job: String,
    open: Option<Approval>,
    typed: Option<mpsc::Receiver<String>>,
}

impl Gate {
    /// A gate that isn't open.
    pub fn new(client: &Client, terminal: &Terminal, job: &str) -> Self {
        Self { client: client.clone(), terminal: terminal.clone(), job: job.to_owned(), open: None, typed: None }
    }

    /// Whether a question stands.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The gate opened: asks, or says how to decide from elsewhere.
    pub async fn opened(&mut self) -> Result<(), Failure> {
        let waiting = self.client.approvals().await?;
        let Some(approval) = waiting.into_iter().find(|a| a.job == self.job) else {
            return Ok(());
        };
        self.terminal.note(describe(&approval));
        if !self.terminal.may_ask() {
            self.terminal.note(how_to_decide(&approval.id));
            return Ok(());
        }
        self.open = Some(approval);
        self.typed.get_or_insert_with(read_lines);
        self.terminal.prompt(ASK);
        Ok(())
    }

    /// Somebody decided: the question is taken back.
    pub fn closed(&mut self) {
        if self.open.take().is_some() {
            self.terminal.note("");
        }
    }

    /// The next line that is typed; never, while nothing is asked.
    pub async fn answer(&mut self) -> Asked {
        match (&self.open, &mut self.typed) {
            (Some(_), Some(typed)) => typed.recv().await,
            _ => std::future::pending().await,
        }
    }

    async fn show_change(&self) -> Result<(), Failure> {
        if let Some(approval) = &self.open {
            let patch = self.client.patch(&approval.job, approval.attempt).await?;
            self.terminal.note(plain::text(patch.trim_end()));
        }
        Ok(())
    }

    /// Acts on an answer; gives back what to say about it.
    pub async fn take(&mut self, asked: Asked) -> Result<Option<String>, Failure> {
        let Some(approval) = &self.open else {
            return Ok(None);
        };
        let id = approval.id.clone();
        let verdict = match asked.as_deref().map(|line| line.trim().to_lowercase()) {
            Some(line) if matches!(line.as_str(), "y" | "yes" | "approve") => Verdict::Approve,
            Some(line) if matches!(line.as_str(), "n" | "no" | "reject") => Verdict::Reject,
            Some(line) if matches!(line.as_str(), "d" | "diff") => {
                self.show_change().await?;
                self.terminal.prompt(ASK);
                return Ok(None);
            }
            Some(line) if !matches!(line.as_str(), "l" | "later") => {
                self.terminal.prompt(ASK);
                return Ok(None);
            }
            _ => {
                self.open = None;
                return Ok(Some(how_to_decide(&id)));
            }
        };
        self.open = None;
        match self.client.decide(&id, verdict, "").await {
            Ok(_) => Ok(None),
            // Somebody was faster; the event of their decision is on its way.
            Err(failure) if failure.exit == Exit::NotFoundOrConflict => Ok(Some(failure.what)),
            Err(failure) => Err(failure),
        }
    }
}

/// What is asked and on what evidence, for people.
pub fn describe(approval: &Approval) -> String {
    let mut text = format!("approval {}: {}", approval.id, plain::line(&approval.question));
    for evidence in &approval.evidence {
        text.push_str(&format!("\n  - {}", plain::line(evidence)));
    }
    text
}

/// The commands that show and decide.
pub fn how_to_decide(id: &str) -> String {
    format!(
        "see the change: fleet approval show {id}\ndecide:         fleet approval approve {id}\n            or: fleet approval reject {id}"
    )
}

/// One thread reads stdin for the rest of the process's life: a read that waits can't be taken back.
fn read_lines() -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel(8);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
