//! Which new files of a workspace are left out of a patch: what the base's `.gitignore` files name, and build output.
//!
//! Only the base's own `.gitignore` files count, so nothing can be hidden by writing one.

use std::collections::BTreeSet;

use super::git::Input;
use super::tree::Kind;
use super::{BaseRepo, RepoError};

/// Directories of build output and caches; one is only entered if the base has files in it.
const OUTPUT_DIRS: &[&str] = &[
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".tox",
    ".venv",
    "node_modules",
    "target",
    ".cache",
    ".npm",
];

/// Files of the same kind.
const OUTPUT_SUFFIXES: &[&str] = &[".pyc", ".pyo", ".swp", ".orig", ".rej", "~"];

/// Written by build tools where the project keeps none; a base that has one keeps it.
const LOCK_FILES: &[&str] = &["Cargo.lock", "package-lock.json"];

pub(super) fn is_output_dir(name: &str) -> bool {
    OUTPUT_DIRS.contains(&name)
}

pub(super) fn is_output_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    OUTPUT_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) || LOCK_FILES.contains(&name)
}

/// Those of `paths` that the base's `.gitignore` files name.
pub(super) fn ignored(base: &BaseRepo, paths: &[String]) -> Result<BTreeSet<String>, RepoError> {
    let rules: Vec<&str> =
        base.head_files().filter(|path| *path == ".gitignore" || path.ends_with("/.gitignore")).collect();
    if paths.is_empty() || rules.is_empty() {
        return Ok(BTreeSet::new());
    }
    // Git reads ignore files from a work tree: give it one that holds nothing else.
    let place = tempfile::tempdir_in(&base.inner.dir).map_err(RepoError::io(&base.inner.dir))?;
    for path in rules {
        let is_file =
            base.inner.files.get(path).is_some_and(|entry| matches!(entry.kind, Kind::File | Kind::Executable));
        let (true, Some(content)) = (is_file, base.read(path)?) else {
            continue;
        };
        let file = place.path().join(path);
        let dir = file.parent().unwrap_or(place.path());
        std::fs::create_dir_all(dir).map_err(RepoError::io(dir))?;
        std::fs::write(&file, content).map_err(RepoError::io(&file))?;
    }
    let git =
        base.inner.git.clone().work_tree(place.path()).in_dir(place.path()).setting("core.excludesFile=/dev/null");
    let mut wanted = paths.join("\0").into_bytes();
    wanted.push(0);
    let outcome = git.attempt(&["check-ignore", "--no-index", "-z", "--stdin"], Input::Bytes(&wanted))?;
    match outcome.code {
        Some(0 | 1) => Ok(outcome
            .stdout
            .split(|b| *b == 0)
            .filter(|p| !p.is_empty())
            .map(|p| String::from_utf8_lossy(p).into_owned())
            .collect()),
        _ => Err(RepoError::Git { command: "check-ignore".to_owned(), detail: outcome.stderr }),
    }
}
