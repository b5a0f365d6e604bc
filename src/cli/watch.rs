//! Follows a job live until it ends, asking at the terminal where a person must decide. Ctrl-C detaches and leaves the job alone.

use std::time::Duration;

use fleet_api::wire::EventData;

use super::client::Client;
use super::failure::Failure;
use super::follow::{Follower, Seen};
use super::gate::{Gate, Said, Woken};
use super::live::Live;
use super::terminal::Terminal;

/// How following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// The job ended.
    Ended,
    /// Ctrl-C; the job goes on.
    Detached,
    /// The time given for waiting is over; the job goes on.
    TimedOut,
}

/// Follows a job until it ends, Ctrl-C, or the end of `timeout`.
pub async fn watch(
    client: &Client,
    terminal: &Terminal,
    job: &str,
    timeout: Option<Duration>,
) -> Result<Watched, Failure> {
    let mut watcher = Watcher {
        follower: Follower::new(client.clone(), job),
        live: Live::start(terminal),
        gate: Gate::new(client, terminal),
    };
    let detached = async {
        // Without a handler for Ctrl-C there is only its default: the process ends and the job goes on all the same.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let over = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = watcher.run() => ended.map(|()| Watched::Ended),
        () = detached => Ok(Watched::Detached),
        () = over => Ok(Watched::TimedOut),
    };
    drop(watcher);
    if let Ok(how @ (Watched::Detached | Watched::TimedOut)) = ended {
        say_how_to_resume(terminal, job, how);
    }
    ended
}

/// Ended without an end: says what the job does now and how to get back to it.
fn say_how_to_resume(terminal: &Terminal, job: &str, how: Watched) {
    let why = match how {
        Watched::TimedOut => "the time is over",
        _ => "detached",
    };
    terminal.note(format_args!(
        "{why}; job {job} goes on\n  follow it again: fleet job wait {job}\n  stop it:         fleet job stop {job}"
    ));
}

struct Watcher {
    follower: Follower,
    live: Live,
    gate: Gate,
}

impl Watcher {
    async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let seen = tokio::select! {
                seen = self.follower.next() => seen?,
                woken = self.gate.woken() => {
                    self.gate_woke(woken).await?;
                    continue;
                }
            };
            match seen {
                None => return Ok(()),
                Some(Seen::Event(event)) => self.event(&event),
                Some(Seen::Progress(progress)) => self.live.progress(&progress),
                Some(Seen::Away(why)) => {
                    self.live.say(&format!("the node went away ({why}); waiting for it"));
                }
                Some(Seen::Back) => self.live.say("the node is back"),
            }
        }
    }

    fn event(&mut self, event: &EventData) {
        self.live.event(event);
        match event.envelope.kind.as_str() {
            "story.gate_opened" => {
                if let Some(gate) = event.envelope.payload.get("gate").and_then(|gate| gate.as_str()) {
                    self.gate.announce(gate);
                }
            }
            "story.gate_decided" => {
                self.gate.closed();
                self.live.resume();
            }
            _ => {}
        }
    }

    async fn gate_woke(&mut self, woken: Woken) -> Result<(), Failure> {
        match self.gate.act(woken).await? {
            Said::Ask => {
                self.live.hold();
                self.gate.ask();
            }
            said => {
                if !self.gate.is_open() {
                    self.live.resume();
                }
                if let Said::Line(line) = said {
                    self.live.say(&line);
                }
            }
        }
        Ok(())
    }
}
