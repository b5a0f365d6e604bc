//! `fleet role`: lists, checks and begins the roles of a team. Works on files; no node is asked.

use std::path::{Path, PathBuf};

use fleet_actors::event::Phase;
use fleet_actors::role::{self, Known, RoleError, Roles};
use serde_json::json;

use super::args::RoleCommand;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::table;
use super::terminal::Terminal;

/// Runs a `fleet role` command.
pub fn run(terminal: &Terminal, command: &RoleCommand) -> Outcome {
    match command {
        RoleCommand::List { dir } => list(terminal, dir.as_deref()),
        RoleCommand::Check { paths } => check(terminal, paths),
        RoleCommand::New { name, dir } => new(terminal, name, dir),
    }
}

fn list(terminal: &Terminal, dir: Option<&Path>) -> Outcome {
    let roles = Roles::read(dir).map_err(failure)?;
    if terminal.json_wanted() {
        let all = roles.all().iter().map(|Known { role, file }| json!({ "role": role, "file": file }));
        terminal.json(&all.collect::<Vec<_>>())?;
        return Ok(Exit::Ok);
    }
    let mut rows = table::table(["role", "phases", "acts as", "about", "file"]);
    for Known { role, file } in roles.all() {
        let phases: Vec<&str> = role.phases.iter().copied().map(Phase::name).collect();
        let file = file.as_ref().map_or_else(|| "(built in)".to_owned(), |f| f.display().to_string());
        let cells = [role.name.clone(), phases.join(", "), role.acts_as.name().to_owned(), role.about.clone(), file];
        table::row(&mut rows, cells);
    }
    terminal.data(table::text(&rows))?;
    Ok(Exit::Ok)
}

/// A directory is checked as a team would read it.
fn check(terminal: &Terminal, paths: &[PathBuf]) -> Outcome {
    let mut wrong: Vec<RoleError> = Vec::new();
    let mut sound = Vec::new();
    for path in paths {
        if path.is_dir() {
            match Roles::read(Some(path)) {
                Ok(roles) => sound.extend(roles.all().iter().filter_map(|k| k.file.clone())),
                Err(e) => wrong.push(e),
            }
        } else {
            match role::check(path) {
                Ok(_) => sound.push(path.clone()),
                Err(e) => wrong.push(e),
            }
        }
    }
    if terminal.json_wanted() {
        let told = wrong.iter().map(|e| {
            json!({ "file": e.file, "line": e.at.map(|a| a.0), "column": e.at.map(|a| a.1), "what": e.what, "remedy": e.remedy })
        });
        terminal.json(&json!({ "sound": sound, "wrong": told.collect::<Vec<_>>() }))?;
    } else {
        for path in &sound {
            terminal.data(format_args!("ok    {}", path.display()))?;
        }
        for error in &wrong {
            terminal.data(format_args!("FAIL  {error}"))?;
        }
    }
    Ok(if wrong.is_empty() { Exit::Ok } else { Exit::CheckFailed })
}

fn new(terminal: &Terminal, name: &str, dir: &Path) -> Outcome {
    let file = dir.join(format!("{name}.yaml"));
    std::fs::create_dir_all(dir)
        .map_err(|e| Failure::input(format!("{}: {e}", dir.display()), "give another --dir"))?;
    let text = role::template(name);
    role::sound(&text, &file).map_err(failure)?;
    let written = std::fs::File::create_new(&file).and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()));
    written.map_err(|e| Failure::input(format!("{}: {e}", file.display()), "take another name, or edit that file"))?;
    terminal.data(file.display())?;
    terminal.note(format_args!(
        "edit it, check it with `fleet role check {}`, and name its directory in cluster.toml: [agent] roles",
        file.display()
    ));
    Ok(Exit::Ok)
}

fn failure(e: RoleError) -> Failure {
    let at = e.at.map(|(line, column)| format!(", line {line}, column {column}")).unwrap_or_default();
    Failure::input(format!("role {}{at}: {}", e.file.display(), e.what), e.remedy)
}
