//! The asking side: who is measured, how each is started, and why one can't be.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use tempfile::TempDir;

use super::question::Question;
use super::{erlang, ray};
use crate::area::ROLE;
use crate::area::nodes::Killed;

/// Everybody who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Fleet,
    /// Its two nodes share no memory, as if they were on two machines.
    FleetApart,
    Stock,
    StockTls,
    Erlang,
    Ray,
}

impl Who {
    pub const ALL: [Self; 6] = [Self::Fleet, Self::FleetApart, Self::Stock, Self::StockTls, Self::Erlang, Self::Ray];

    /// How the command line calls it, where it can be left out.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fleet | Self::FleetApart => "fleet",
            Self::Stock | Self::StockTls => "stock",
            Self::Erlang => "erlang",
            Self::Ray => "ray",
        }
    }

    /// Its name until it says a better one itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fleet => "Fleet",
            Self::FleetApart => "Fleet, over its TLS connection",
            Self::Stock => "ractor_cluster",
            Self::StockTls => "ractor_cluster, its own mutual TLS",
            Self::Erlang => "Erlang",
            Self::Ray => "Ray",
        }
    }
}

/// To start: Ray takes about ten seconds, on a busy machine more.
const STARTING: Duration = Duration::from_secs(90);
/// For one answer; the longest ones take about five seconds.
const ANSWERING: Duration = Duration::from_secs(90);
/// To end in good order, which Ray's many processes need.
const ENDING: Duration = Duration::from_secs(10);

/// One who answers questions, in a process of its own.
pub struct Contender {
    /// Its name with its version.
    pub name: String,
    process: Child,
    questions: Option<ChildStdin>,
    answers: Receiver<String>,
    /// What else has to run for it.
    _others: Vec<Killed>,
    /// With what it wrote to standard error.
    dir: TempDir,
}

impl Contender {
    /// Starts it and waits until it is ready. The error says why it can't be measured.
    pub fn start(who: Who) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (command, others) = match who {
            Who::Fleet => (own(&["fleet"])?, Vec::new()),
            Who::FleetApart => (own(&["fleet-apart"])?, Vec::new()),
            Who::Stock => (own(&["stock", "plain"])?, Vec::new()),
            Who::StockTls => (own(&["stock", "tls"])?, Vec::new()),
            Who::Erlang => erlang::prepare(dir.path())?,
            Who::Ray => (ray::prepare(dir.path())?, Vec::new()),
        };
        let mut contender = Self::launch(command, others, dir)?;
        let first = contender.line(STARTING)?;
        let name = first.strip_prefix("ready ").ok_or_else(|| contender.failure(&first))?;
        contender.name = name.to_owned();
        Ok(contender)
    }

    fn launch(mut command: Command, others: Vec<Killed>, dir: TempDir) -> Result<Self> {
        let errors = File::create(dir.path().join("stderr"))?;
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn()?;
        let questions = process.stdin.take();
        let output = BufReader::new(process.stdout.take().context("no standard output")?);
        let (sender, answers) = sync_channel(1);
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { name: String::new(), process, questions, answers, _others: others, dir })
    }

    /// Its answer: as many values as the measure has.
    pub fn ask(&mut self, question: Question) -> Result<Vec<f64>> {
        let pipe = self.questions.as_mut().context("it was closed")?;
        writeln!(pipe, "{question}").and_then(|()| pipe.flush()).context("it ended")?;
        let line = self.line(ANSWERING)?;
        let values = line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>();
        match values {
            Ok(values) if !values.is_empty() && values.iter().all(|value| value.is_finite()) => Ok(values),
            _ => Err(self.failure(&line).context(format!("asked \"{question}\""))),
        }
    }

    fn line(&mut self, patience: Duration) -> Result<String> {
        self.answers.recv_timeout(patience).map_err(|e| self.failure(&format!("no answer ({e})")))
    }

    /// What it said, and the last that it wrote to standard error.
    fn failure(&self, said: &str) -> anyhow::Error {
        let errors = std::fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default();
        let said = said.strip_prefix("error: ").unwrap_or(said);
        match errors.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(last) => anyhow!("{said}; {last}"),
            None => anyhow!("{said}"),
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // The end of its input is the order to end.
        self.questions.take();
        let until = Instant::now() + ENDING;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn own(role: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE).args(role);
    Ok(command)
}

/// Those who could be started, and why the others couldn't.
pub struct Field {
    contenders: Vec<(Who, Contender)>,
    pub names: Vec<(Who, String)>,
    pub missing: Vec<(Who, String)>,
}

impl Field {
    /// Starts all but those that are to be left out. Fleet itself has to be there.
    pub fn start(without: &[String]) -> Result<Self> {
        let mut field = Self { contenders: Vec::new(), names: Vec::new(), missing: Vec::new() };
        for who in Who::ALL {
            if without.iter().any(|word| word == who.word()) {
                field.missing.push((who, format!("left out (--without {})", who.word())));
                continue;
            }
            match Contender::start(who) {
                Ok(contender) => {
                    field.names.push((who, contender.name.clone()));
                    field.contenders.push((who, contender));
                }
                Err(e) if who.word() == Who::Fleet.word() => return Err(e.context("Fleet didn't start")),
                Err(e) => field.missing.push((who, format!("{e:#}"))),
            }
        }
        Ok(field)
    }

    /// Asks one of them, if it is there. One that fails to answer is out from then on; Fleet must not fail.
    pub fn ask(&mut self, who: Who, question: Question) -> Result<Option<Vec<f64>>> {
        let Some(at) = self.contenders.iter().position(|(other, _)| *other == who) else { return Ok(None) };
        match self.contenders[at].1.ask(question) {
            Ok(values) => Ok(Some(values)),
            Err(e) if who.word() == Who::Fleet.word() => bail!("Fleet failed: {e:#}"),
            Err(e) => {
                self.contenders.remove(at);
                self.missing.push((who, format!("{e:#}")));
                Ok(None)
            }
        }
    }

    /// Everybody once, beginning with another one each round, so that nobody always follows the same one.
    pub fn order(round: usize) -> impl Iterator<Item = Who> {
        let mut order = VecDeque::from(Who::ALL);
        order.rotate_left(round % Who::ALL.len());
        order.into_iter()
    }
}
