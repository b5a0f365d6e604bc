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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn every_command_and_subcommand_is_completed() {
        let mut script = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "fleet", &mut script);
        let script = String::from_utf8_lossy(&script);
        for command in Cli::command().get_subcommands() {
            for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
                let known = format!("fleet__subcmd__{}__subcmd__{}", command.get_name(), below.get_name());
                let older = format!("fleet__{}__{}", command.get_name(), below.get_name());
                assert!(script.contains(&known) || script.contains(&older), "{known}");
            }
        }
        for word in ["timeline", "access", "create", "revoke", "explain", "viewer operator po"] {
            assert!(script.contains(word), "{word}");
        }
    }
}
