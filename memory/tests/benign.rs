//! Fleet's own sources, documents and lock file hold no secret, so nothing in them may be flagged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use fleet_memory::SecretRedactor;
use fleet_runtime::{ProjectId, Redactor};

/// Every text file below a folder, build output and git's own files aside.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !["target", ".git", "__pycache__"].iter().any(|skip| name == *skip) {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

#[test]
fn the_projects_own_sources_and_lock_file_are_left_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let redactor = SecretRedactor::new([1; 32]);
    let project: ProjectId = "fleet".parse().unwrap();
    let (mut bytes, mut planted, mut flagged) = (0, 0, Vec::new());
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        bytes += text.len();
        // Stories in which a secret is planted have one that must be found.
        if has_planted_secret(&path) {
            planted += usize::from(matches!(redactor.redact(&project, &text), Cow::Owned(_)));
            continue;
        }
        if let Cow::Owned(redacted) = redactor.redact(&project, &text) {
            let kinds: Vec<&str> =
                redacted.split("⟦secret:").skip(1).filter_map(|rest| rest.split('⟧').next()).collect();
            flagged.push(format!("{}: {}", path.display(), kinds.join(", ")));
        }
    }
    println!("{bytes} bytes of benign text");
    assert!(bytes > 200_000, "the sources were not found");
    assert!(flagged.is_empty(), "{}", flagged.join("\n"));
    assert!(planted >= 2, "planted secrets were not found");
}

/// Whether a file makes the repository of a story with a planted secret, or says what the secret is.
fn has_planted_secret(path: &Path) -> bool {
    let story = if path.ends_with("hidden/meta.toml") { path.ancestors().nth(2) } else { path.parent() };
    let facts = story.and_then(|story| fs::read_to_string(story.join("hidden/meta.toml")).ok()).unwrap_or_default();
    let is_one = path.ends_with("make-repo.sh") || path.ends_with("hidden/meta.toml");
    is_one && facts.lines().any(|line| line.starts_with("plants") && line.contains("\"secret\""))
}
