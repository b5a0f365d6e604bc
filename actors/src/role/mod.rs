//! Roles: who is asked for what, in which words, with which settings. Each is a YAML file; a new one needs no code.
//!
//! The built-in ones are files too. A team's own lie in a directory (`[agent] roles`), and one with the name of a built-in
//! takes its place. They are read when a story begins, so a changed file holds for the next story, without a restart.
//!
//! What a role may do is not its own to say: `acts_as` names one of the classes that the tools' policy and the
//! scopes of memory know, and a file can't widen them.

mod read;

use std::path::{Path, PathBuf};

use globset::Glob;
use serde::{Deserialize, Serialize};

pub use read::RoleError;

use crate::event::{Form, Phase};

/// The files that are always there.
const BUILT_IN: [(&str, &str); 3] = [
    ("architect.yaml", include_str!("architect.yaml")),
    ("developer.yaml", include_str!("developer.yaml")),
    ("qa.yaml", include_str!("qa.yaml")),
];

/// What a role may do, as policy and memory know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Reads everything, writes nothing.
    Architect,
    /// Changes code and adds tests.
    Developer,
    /// Adds tests.
    Tester,
}

impl Class {
    /// Its name in policy and scopes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Architect => "architect",
            Self::Developer => "developer",
            Self::Tester => "tester",
        }
    }
}

/// One role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Lower-case letters, digits and dashes.
    pub name: String,
    /// What it does, in a line.
    pub about: String,
    /// What it may do.
    pub acts_as: Class,
    /// The phases in which it is asked: `design`, `plan`, `build`, `test`.
    pub phases: Vec<Phase>,
    /// The system prompt.
    pub prompt: String,
    /// Globs of the files that it is asked about; empty: all.
    #[serde(default)]
    pub files: Vec<String>,
    /// The forms of change that it is asked for; empty: whichever suits the place.
    #[serde(default)]
    pub forms: Vec<Form>,
    /// Tools that its prompt offers: `list`, `read`, `search`. Small models do better without.
    #[serde(default)]
    pub tools: Vec<String>,
    /// The engine that answers it, by name; else the node's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Temperature of its sampled replies; else `[agent] temperature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Tokens of one reply; else `[agent] reply_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_tokens: Option<u32>,
    /// Turns of think, act, observe; else `[agent] max_steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
}

impl Role {
    /// Whether it is asked about a file.
    pub fn is_about(&self, path: &str) -> bool {
        self.files.is_empty()
            || self.files.iter().filter_map(|g| Glob::new(g).ok()).any(|g| g.compile_matcher().is_match(path))
    }

    /// The form that it writes a change in, if it may choose.
    pub fn form(&self, wanted: Form) -> Form {
        if self.forms.is_empty() || self.forms.contains(&wanted) { wanted } else { self.forms[0] }
    }
}

/// A role and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The role.
    pub role: Role,
    /// Its file; none: built in.
    pub file: Option<PathBuf>,
}

/// The roles of a team, at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Roles(Vec<Known>);

impl Roles {
    /// The built-in ones, and those of a directory.
    pub fn read(dir: Option<&Path>) -> Result<Self, RoleError> {
        let mut roles = Vec::new();
        for (file, text) in BUILT_IN {
            roles.push(Known { role: read::parse(text, Path::new(file))?, file: None });
        }
        for file in dir.map(read::files).transpose()?.unwrap_or_default() {
            let role = read::file(&file)?;
            let twin = roles.iter().position(|k| k.role.name == role.name);
            match twin {
                Some(n) if roles[n].file.is_some() => return Err(RoleError::twice(&file, &role.name)),
                Some(n) => roles[n] = Known { role, file: Some(file) },
                None => roles.push(Known { role, file: Some(file) }),
            }
        }
        let roles = Self(roles);
        for phase in [Phase::Design, Phase::Plan, Phase::Build, Phase::Test] {
            if roles.of(phase).next().is_none() {
                return Err(RoleError::nobody(dir, phase));
            }
        }
        Ok(roles)
    }

    /// All, built-in ones first.
    pub fn all(&self) -> &[Known] {
        &self.0
    }

    /// One that is there whatever happens.
    pub(crate) fn any(&self) -> &Role {
        &self.0[0].role
    }

    /// Those that are asked in a phase.
    pub fn of(&self, phase: Phase) -> impl Iterator<Item = &Role> {
        self.0.iter().map(|k| &k.role).filter(move |r| r.phases.contains(&phase))
    }

    /// Who makes the `nth` proposal about a file: those whose it is take turns.
    pub fn builder(&self, path: &str, nth: u32) -> Option<&Role> {
        let mut theirs: Vec<&Role> = self.of(Phase::Build).filter(|r| r.is_about(path)).collect();
        if theirs.is_empty() {
            theirs = self.of(Phase::Build).collect();
        }
        theirs.get(nth as usize % theirs.len().max(1)).copied()
    }
}

/// Reads and checks one role's file.
pub fn check(file: &Path) -> Result<Role, RoleError> {
    read::file(file)
}

/// Checks a text as the role that would be in a file.
pub fn sound(text: &str, file: &Path) -> Result<Role, RoleError> {
    read::parse(text, file)
}

/// A file to begin a role with.
pub fn template(name: &str) -> String {
    format!(
        "# A role of the team; see `fleet role list`. Check it with `fleet role check FILE`.\n\
         name: {name}\n\
         about: what it does, in a line\n\
         # What it may do: architect (reads), developer (changes code), tester (adds tests).\n\
         acts_as: developer\n\
         # When it is asked: design, plan, build, test. Several roles of the phase build take turns.\n\
         phases: [build]\n\
         prompt: >-\n  You are a software developer. You rewrite what you are asked for, change as little as possible,\n  and answer with code only.\n\
         # The files that it is asked about; all, if there are none.\n\
         # files: [\"src/**/*.py\"]\n\
         # The forms of change that it is asked for: function, file.\n\
         # forms: [function]\n\
         # Tools that its prompt offers: list, read, search.\n\
         # tools: [read, search]\n\
         # engine: default\n\
         # temperature: 0.8\n\
         # reply_tokens: 700\n\
         # steps: 3\n"
    )
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
