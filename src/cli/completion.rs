//! `fleet completion`: a script that teaches a shell this program's words.

use clap::CommandFactory;

use super::args::{Cli, Shell};
use super::exit::Exit;
use super::failure::Outcome;
use super::terminal::Terminal;

/// Prints the script.
pub fn run(terminal: &Terminal, shell: Shell) -> Outcome {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fleet", &mut script);
    terminal.data(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Ok)
}
