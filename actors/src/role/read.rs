//! A role's file: read strictly, because a misspelt key that is ignored would change what a team does without a word.

use std::fmt;
use std::path::{Path, PathBuf};

use fleet_tools::gateway::tool_info;
use globset::Glob;

use super::Role;
use crate::event::Phase;

/// Largest file that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// Longest name.
const MAX_NAME: usize = 40;

/// Why the roles can't be used: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleError {
    /// The file or directory.
    pub file: PathBuf,
    /// 1-based line and column, where they are known.
    pub at: Option<(u64, u64)>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role {}", self.file.display())?;
        if let Some((line, column)) = self.at {
            write!(f, ", line {line}, column {column}")?;
        }
        write!(f, ": {}\n  remedy: {}", self.what, self.remedy)
    }
}

impl std::error::Error for RoleError {}

impl RoleError {
    fn new(file: &Path, what: impl Into<String>, remedy: &str) -> Self {
        Self { file: file.to_owned(), at: None, what: what.into(), remedy: remedy.into() }
    }

    pub(super) fn twice(file: &Path, name: &str) -> Self {
        Self::new(file, format!("another file has the role `{name}`, too"), "give one of them another name")
    }

    pub(super) fn nobody(dir: Option<&Path>, phase: Phase) -> Self {
        let dir = dir.unwrap_or(Path::new("(built in)"));
        Self::new(dir, format!("no role is left for the phase {phase}"), "add the phase to a role's `phases`")
    }
}

/// The role files of a directory, by name.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, RoleError> {
    let broken = |e: std::io::Error| {
        RoleError::new(dir, format!("the directory can't be read: {e}"), "make it, or correct `[agent] roles`")
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(broken)? {
        let path = entry.map_err(broken)?.path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn file(path: &Path) -> Result<Role, RoleError> {
    let broken = |e: std::io::Error| RoleError::new(path, format!("it can't be read: {e}"), "give a readable file");
    let bytes = std::fs::metadata(path).map_err(broken)?.len();
    if bytes > MAX_BYTES {
        return Err(RoleError::new(path, format!("{bytes} bytes are too many for a role"), "shorten its prompt"));
    }
    parse(&std::fs::read_to_string(path).map_err(broken)?, path)
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Role, RoleError> {
    let role: Role = serde_saphyr::from_str(text).map_err(|e| {
        let at = e.location().map(|l| (l.line(), l.column().max(1)));
        let what = first_line(&e.to_string());
        RoleError { at, remedy: remedy_for(&what), ..RoleError::new(path, what, "") }
    })?;
    sound(&role, text, path)?;
    Ok(role)
}

/// What the types can't say.
fn sound(role: &Role, text: &str, path: &Path) -> Result<(), RoleError> {
    let wrong = |key: &str, what: String, remedy: &str| {
        let line = text.lines().position(|l| l.split(':').next().is_some_and(|k| k.trim() == key)).unwrap_or(0);
        Err(RoleError { at: Some((line as u64 + 1, 1)), ..RoleError::new(path, what, remedy) })
    };
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if role.name.is_empty() || role.name.len() > MAX_NAME || !role.name.chars().all(letter) {
        return wrong(
            "name",
            format!("`{}` is no name of a role", role.name),
            "use lower-case letters, digits and dashes",
        );
    }
    if role.prompt.trim().is_empty() {
        return wrong("prompt", "`prompt` is empty".into(), "say who it is and how it answers");
    }
    let asked = |p: &&Phase| matches!(p, Phase::Design | Phase::Plan | Phase::Build | Phase::Test);
    let unasked = role.phases.iter().find(|p| !asked(p));
    if role.phases.is_empty() || unasked.is_some() {
        let what = unasked.map_or("`phases` is empty".into(), |p| format!("nobody is asked in the phase {p}"));
        return wrong("phases", what, "the phases are: design, plan, build, test");
    }
    if role.phases.contains(&Phase::Build) && role.acts_as != super::Class::Developer {
        return wrong(
            "acts_as",
            format!("a {} changes nothing", role.acts_as.name()),
            "let it act as developer, or take `build` from its phases",
        );
    }
    for glob in &role.files {
        if let Err(e) = Glob::new(glob) {
            return wrong(
                "files",
                format!("`{glob}` is not a glob: {}", e.kind()),
                "write globs such as `src/**/*.py`",
            );
        }
    }
    if let Some(tool) = role.tools.iter().find(|t| tool_info(t).is_none_or(|info| info.changes)) {
        return wrong("tools", format!("`{tool}` is no tool that is offered"), "the tools are: list, read, search");
    }
    if role.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
        return wrong("temperature", "a temperature is 0 to 2".into(), "take 0.8, or leave it out");
    }
    if role.reply_tokens == Some(0) || role.steps == Some(0) {
        let key = if role.steps == Some(0) { "steps" } else { "reply_tokens" };
        return wrong(key, format!("`{key}` is 0"), "take at least 1, or leave it out");
    }
    Ok(())
}

fn remedy_for(what: &str) -> String {
    let said = |part: &str| what.contains(part);
    if said("missing field") {
        "a role has: name, about, acts_as, phases, prompt; `fleet role new` writes one"
    } else if said("unknown field") {
        "the keys are: name, about, acts_as, phases, prompt, files, forms, tools, engine, temperature, reply_tokens, steps"
    } else if said("unknown variant") {
        "acts_as is architect, developer or tester; phases: design, plan, build, test; forms: function, file"
    } else {
        "it is YAML: `key: value`, lists as `[a, b]`"
    }
    .into()
}

/// The YAML crate renders a picture of the place below its first line; line and column say it shorter.
fn first_line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default().trim();
    let said = first.split_once(" column ").and_then(|(_, rest)| rest.split_once(": "));
    said.map_or(first, |(_, said)| said).to_owned()
}
