//! `fleet sandbox doctor`: whether this machine can run tools safely, line by line, with the remedy for what is missing.

use std::path::PathBuf;

use fleet_tools::sandbox::{Sandbox, SandboxOptions};

use super::args::SandboxCommand;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::terminal::Terminal;

/// Runs a `fleet sandbox` command.
pub async fn run(terminal: &Terminal, command: &SandboxCommand) -> Outcome {
    match command {
        SandboxCommand::Doctor => doctor(terminal).await,
    }
}

async fn doctor(terminal: &Terminal) -> Outcome {
    let options = SandboxOptions { helper: Some(helper()?), ..SandboxOptions::default() };
    let checks = tokio::task::spawn_blocking(move || Sandbox::doctor(&options)).await;
    let checks = checks.map_err(|e| Failure::internal(format!("the checks broke off: {e}"), ""))?;
    if terminal.json_wanted() {
        terminal.json(&checks)?;
    } else {
        for check in &checks {
            let mark = if check.ok { "ok  " } else { "FAIL" };
            terminal.data(format_args!("{mark}  {}: {}", check.name, check.detail))?;
            if let Some(remedy) = check.remedy.as_ref().filter(|_| !check.ok) {
                terminal.data(format_args!("      next: {remedy}"))?;
            }
        }
    }
    Ok(if checks.iter().all(|check| check.ok) { Exit::Ok } else { Exit::CheckFailed })
}

/// The sandbox is entered by a re-execution of `fleetd`, which lies beside this program or on the path.
pub fn helper() -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("fleetd"));
    let on_path = std::env::var_os("PATH");
    let on_path = on_path.iter().flat_map(std::env::split_paths).map(|dir| dir.join("fleetd"));
    beside.into_iter().chain(on_path).find(|path| path.is_file()).ok_or_else(|| {
        Failure::input(
            "fleetd isn't beside this program and not on the path",
            "install both programs into the same directory",
        )
    })
}
