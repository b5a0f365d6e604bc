//! A question to the person at this terminal: asked when a gate opens, answered by one letter, taken back when
//! somebody else decides first. Where nobody can be asked, the exact commands are said instead.

use std::io::BufRead;
use std::time::Duration;

use fleet_actors::gate::Approval;
use fleet_api::plain;
use fleet_api::wire::Verdict;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::terminal::Terminal;

const ASK: &str = "approve? [y]es, [n]o, [d]iff, [l]ater: ";

/// How often an announced gate is looked for until the node shows it.
const LOOK: Duration = Duration::from_millis(100);

/// Why the gate wakes its watcher.
pub enum Woken {
    /// It is time to look for the approval that was announced.
    Look,
    /// A line was typed; none when stdin is closed.
    Typed(Option<String>),
}

/// What is to be done for the person.
pub enum Said {
    /// Nothing.
    Nothing,
    /// Say this.
    Line(String),
    /// Ask, by [`Gate::ask`].
    Ask,
}

/// The gate of one job, as this terminal sees it.
pub struct Gate {
    client: Client,
    terminal: Terminal,
    /// Announced by an event and not shown yet: the node registers a gate a moment after it recorded it.
    announced: Option<String>,
    /// When to look for it next. A moment and not a pause: whatever else happens meanwhile doesn't put it off.
    look_at: Instant,
    open: Option<Approval>,
    typed: Option<mpsc::Receiver<String>>,
}

impl Gate {
    /// A gate that isn't open.
    pub fn new(client: &Client, terminal: &Terminal) -> Self {
        Self {
            client: client.clone(),
            terminal: terminal.clone(),
            announced: None,
            look_at: Instant::now(),
            open: None,
            typed: None,
        }
    }

    /// Whether a question stands.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// An event says that a gate opened.
    pub fn announce(&mut self, id: &str) {
        self.announced = Some(id.to_owned());
        self.look_at = Instant::now();
    }

    /// An event says that it was decided: a question that stands is taken back.
    pub fn closed(&mut self) {
        self.announced = None;
        if self.open.take().is_some() {
            self.terminal.note("");
        }
    }

    /// Waits for what is to be done next. May be dropped and called again.
    pub async fn woken(&mut self) -> Woken {
        match (&self.open, &mut self.typed) {
            (Some(_), Some(typed)) => Woken::Typed(typed.recv().await),
            _ if self.announced.is_some() => {
                tokio::time::sleep_until(self.look_at).await;
                Woken::Look
            }
            _ => std::future::pending().await,
        }
    }

    /// Does it.
    pub async fn act(&mut self, woken: Woken) -> Result<Said, Failure> {
        match woken {
            Woken::Look => self.look().await,
            Woken::Typed(line) => self.answer(line).await,
        }
    }

    /// Puts the question; the answer comes by [`Gate::woken`].
    pub fn ask(&mut self) {
        if let Some(approval) = &self.open {
            self.terminal.note(describe(approval));
            self.typed.get_or_insert_with(read_lines);
            self.terminal.prompt(ASK);
        }
    }

    async fn look(&mut self) -> Result<Said, Failure> {
        self.look_at = Instant::now() + LOOK;
        let waiting = match self.client.approvals().await {
            Ok(waiting) => waiting,
            // The node is away; whoever follows the job's events waits for it, and so does this.
            Err(failure) if failure.exit == Exit::Unreachable => return Ok(Said::Nothing),
            Err(failure) => return Err(failure),
        };
        let found = waiting.into_iter().find(|approval| Some(&approval.id) == self.announced.as_ref());
        let Some(approval) = found else { return Ok(Said::Nothing) };
        self.announced = None;
        if !self.terminal.may_ask() {
            return Ok(Said::Line(format!("{}\n{}", describe(&approval), how_to_decide(&approval.id))));
        }
        self.open = Some(approval);
        Ok(Said::Ask)
    }

    async fn answer(&mut self, line: Option<String>) -> Result<Said, Failure> {
        let Some(approval) = self.open.take() else { return Ok(Said::Nothing) };
        let verdict = match line.as_deref().map(|line| line.trim().to_lowercase()).as_deref() {
            Some("y" | "yes" | "approve") => Verdict::Approve,
            Some("n" | "no" | "reject") => Verdict::Reject,
            Some("l" | "later") | None => return Ok(Said::Line(how_to_decide(&approval.id))),
            Some(other) => {
                if matches!(other, "d" | "diff") {
                    let patch = self.client.patch(&approval.job, approval.attempt).await?;
                    self.terminal.note(plain::text(patch.trim_end()));
                }
                self.open = Some(approval);
                self.terminal.prompt(ASK);
                return Ok(Said::Nothing);
            }
        };
        match self.client.decide(&approval.id, verdict, "").await {
            Ok(_) => Ok(Said::Nothing),
            // Somebody was faster; the event of their decision is on its way.
            Err(failure) if failure.exit == Exit::NotFoundOrConflict => Ok(Said::Line(failure.what)),
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
