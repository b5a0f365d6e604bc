//! The only place where `fleet` writes: data to stdout, everything else to stderr.
//!
//! What a model, a tool or a repository said is escaped before it gets here or on its way
//! ([`fleet_api::plain`]); no control character of theirs reaches the terminal.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args::{Global, Output};
use super::exit::Exit;
use super::failure::Failure;

/// How this run of the program writes.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// What stdout carries: JSON, or text for people.
    json: bool,
    colour: bool,
    quiet: bool,
}

/// How a line on stderr is painted.
#[derive(Debug, Clone, Copy)]
enum Paint {
    Plain,
    Good,
    Careful,
    Bad,
}

impl Terminal {
    /// From the global options and the environment.
    pub fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self {
            json: global.output == Output::Json,
            colour: !global.no_color && !no_color && !dumb && io::stderr().is_terminal(),
            quiet: global.quiet,
        }
    }

    /// Whether data goes out as JSON.
    pub fn json_wanted(&self) -> bool {
        self.json
    }

    /// Whether a spinner may be drawn on stderr.
    pub fn may_animate(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Whether colours may be used on stderr.
    pub fn may_colour(&self) -> bool {
        self.colour
    }

    /// Whether a person can be asked here.
    pub fn may_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether only errors are to be said.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Writes data to stdout, as it is, with a line end.
    pub fn data(&self, text: impl Display) -> Result<(), Failure> {
        to_stdout(|out| writeln!(out, "{text}"))
    }

    /// Writes data to stdout as one JSON document.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Failure::internal(format!("can't encode the answer: {e}"), ""))?;
        self.data(text)
    }

    /// Writes one JSON document a line.
    pub fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text =
            serde_json::to_string(value).map_err(|e| Failure::internal(format!("can't encode the answer: {e}"), ""))?;
        self.data(text)
    }

    /// Says something on stderr, unless quiet.
    pub fn note(&self, text: impl Display) {
        self.say(Paint::Plain, text);
    }

    /// Says something good.
    pub fn good(&self, text: impl Display) {
        self.say(Paint::Good, text);
    }

    /// Says something to look at.
    pub fn careful(&self, text: impl Display) {
        self.say(Paint::Careful, format!("warning: {text}"));
    }

    /// Asks for a line of input, without a line end.
    pub fn prompt(&self, text: impl Display) {
        let mut err = io::stderr().lock();
        let _ = write!(err, "{text}").and_then(|()| err.flush());
    }

    /// Says why the command failed; never silenced.
    pub fn failure(&self, failure: &Failure) {
        if self.json_wanted() {
            let told = serde_json::json!({
                "error": { "code": failure.code, "message": failure.what, "remedy": failure.next, "exit": failure.exit as u8 }
            });
            write_err(format_args!("{told}"));
        } else {
            write_err(format_args!("{}", self.paint(Paint::Bad, format!("error: {failure}"))));
        }
    }

    fn say(&self, paint: Paint, text: impl Display) {
        if !self.quiet {
            write_err(format_args!("{}", self.paint(paint, text)));
        }
    }

    fn paint(&self, paint: Paint, text: impl Display) -> String {
        let code = match paint {
            _ if !self.colour => return text.to_string(),
            Paint::Plain => return text.to_string(),
            Paint::Good => "32",
            Paint::Careful => "33",
            Paint::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A closed stderr is nobody's fault; there is nobody left to tell.
fn write_err(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn to_stdout(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // The reader has had enough (`fleet job list | head`): no error, and nothing more to say.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Failure::new(Exit::Ok, "", "")),
        Err(e) => {
            Err(Failure::internal(format!("can't write to stdout: {e}"), "check where the output goes (disk full?)"))
        }
    }
}
