//! `fleet bench import`: a story to be measured on, from a person's own repository, tried before it is taken in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleet_tools::repo::{BaseRepo, CommitId, PathRules, client as repo};
use fleet_tools::results::TestReport;
use fleet_tools::syntax::{Language, functions};
use serde::Serialize;

use super::folder::{Folder, Meta, tests_of};
use super::judge::{Base, Judge, verdict};
use super::planted::Changes;
use super::shelf::write_whole;
use crate::cli::args::StoryImport;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::submit::{read_story, short};
use crate::cli::terminal::Terminal;

/// Makes the repository again from the bundle beside it.
const MAKE_REPO: &str = r#"#!/usr/bin/env bash
# Makes the story's repository again: repo.bundle has it, with its history.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: make-repo.sh DIRECTORY" >&2; exit 2; }
if [ -e "$1" ] && [ -n "$(ls -A "$1")" ]; then
    echo "error: $1 is not empty: name a directory that isn't there yet" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
mkdir -p "$1"
cd "$1"
git -c init.defaultBranch=main init --quiet
git fetch --quiet "$here/repo.bundle" HEAD
git -c core.autocrlf=false -c advice.detachedHead=false checkout --quiet -B main FETCH_HEAD
git rev-parse HEAD
"#;

/// What was made, as data.
#[derive(Debug, Serialize)]
struct Imported {
    name: String,
    folder: PathBuf,
    base: String,
    failing: Vec<String>,
    places: Vec<String>,
    hidden_tests: usize,
    /// The reference passes all tests; absent where there is none.
    reference: Option<bool>,
}

/// Runs the command.
pub async fn run(terminal: &Terminal, args: &StoryImport) -> Outcome {
    let name = name_of(args)?;
    let target = args.into.join(&name);
    if target.exists() {
        let what = format!("{} is there already", target.display());
        return Err(wrong(what, "take another name with --as, or remove it"));
    }
    // Beside its place, so that it gets there whole or not at all.
    std::fs::create_dir_all(&args.into).map_err(|e| unwritable(&args.into, &e))?;
    let part = tempfile::Builder::new().prefix(".import-").tempdir_in(&args.into);
    let part = part.map_err(|e| unwritable(&args.into, &e))?;
    let made = part.path().join(&name);
    let commit = write(args, &made)?;
    terminal.note(format_args!("{name}: trying its tests at {}", short(commit.as_str())));
    let imported = prove(terminal, args, &made, &commit).await?;
    std::fs::rename(&made, &target).map_err(|e| unwritable(&target, &e))?;
    tell(terminal, &Imported { folder: target, ..imported })
}

fn name_of(args: &StoryImport) -> Result<String, Failure> {
    let own = || {
        let full = args.dir.canonicalize().unwrap_or_else(|_| args.dir.clone());
        full.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
    };
    let name = args.name.clone().unwrap_or_else(own);
    let fine = !name.is_empty() && !name.starts_with('.');
    if fine && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Ok(name);
    }
    Err(wrong(format!("a story can't be called {name:?}"), "name it with --as: letters, digits, dots and dashes"))
}

/// Writes the folder, but for what only a run of the tests can tell.
fn write(args: &StoryImport, to: &Path) -> Result<CommitId, Failure> {
    let (text, _) = read_story(&args.story)?;
    let refused = |e: fleet_tools::repo::RepoError| wrong(e.to_string(), "");
    let mut facts = repo::inspect(&args.dir).map_err(refused)?;
    facts.head = repo::resolve(&args.dir, &args.commit).map_err(refused)?;
    let hidden = match &args.hidden_tests {
        Some(dir) => tests_of(dir)?,
        None => Vec::new(),
    };
    if let Some(dir) = args.hidden_tests.as_ref().filter(|_| hidden.is_empty()) {
        return Err(wrong(format!("{} has no tests", dir.display()), "name the folder with the hidden tests"));
    }
    if let Some(place) = args.places.iter().find(|place| place.split_once("::").is_none()) {
        return Err(wrong(format!("{place:?} is no place"), "write it as PATH::NAME, such as src/cart.py::Cart.total"));
    }
    write_whole(&to.join("story.md"), text.as_bytes())?;
    write_whole(&to.join("make-repo.sh"), MAKE_REPO.as_bytes())?;
    repo::make_pack(&facts, &to.join("repo.bundle")).map_err(refused)?;
    for (path, content) in &hidden {
        write_whole(&to.join("hidden/tests").join(path), content)?;
    }
    if let Some(reference) = &args.reference {
        let patch = std::fs::read(reference);
        let patch = patch.map_err(|e| wrong(format!("can't read {}: {e}", reference.display()), "name a patch"))?;
        write_whole(&to.join("hidden/reference.patch"), &patch)?;
    }
    write_meta(to, args, args.places.clone())?;
    Ok(facts.head)
}

fn write_meta(to: &Path, args: &StoryImport, places: Vec<String>) -> Result<(), Failure> {
    let empty = Vec::new;
    let meta = Meta { kind: args.kind, places, plants: empty(), forbidden: empty(), bait: empty() };
    let text = toml::to_string(&meta).map_err(|e| Failure::internal(e.to_string(), ""))?;
    write_whole(&to.join("hidden/meta.toml"), text.as_bytes())
}

/// Makes the repository from the folder as a measurement would, and runs the tests on what it says of itself.
async fn prove(terminal: &Terminal, args: &StoryImport, made: &Path, commit: &CommitId) -> Result<Imported, Failure> {
    let folder = Folder::read(made)?;
    let place = tempfile::tempdir().map_err(|e| unwritable(made, &e))?;
    let facts = folder.make_repo(&place.path().join("repo"))?;
    if facts.head != *commit {
        return Err(wrong(format!("the repository comes out as {}, not as {commit}", facts.head), ""));
    }
    let judge = Judge::open(args.without_sandbox).await?;
    let base = judge.base(&folder.name, &made.join("repo.bundle"), commit).await?;
    for (path, _) in &folder.hidden {
        if base.has(&format!("tests/{path}")) {
            let what = format!("the hidden test {path} would replace tests/{path} of the repository");
            return Err(wrong(what, "call it otherwise"));
        }
    }
    let shown = judge.show(&folder, &base, b"", false).await?;
    let failing = expected(&folder, &shown.report, shown.why.as_deref())?;
    let lines: String = failing.iter().map(|name| format!("{name}\n")).collect();
    if !failing.is_empty() {
        write_whole(&made.join("hidden/failing-test"), lines.as_bytes())?;
    }
    let visible = shown.report.passed + shown.report.failed;
    let base = Base { repo: base, visible };
    let reference = reference(args, made, &folder, &judge, &base).await?;
    let mut places = args.places.clone();
    if let Some(found) = reference.clone().filter(|_| places.is_empty() && folder.is_solvable()) {
        places = found;
        write_meta(made, args, places.clone())?;
    }
    remark(terminal, &folder, &places, reference.is_some());
    Ok(Imported {
        name: folder.name.clone(),
        folder: made.to_owned(),
        base: commit.to_string(),
        failing,
        places,
        hidden_tests: folder.hidden.len(),
        reference: reference.map(|_| true),
    })
}

/// The tests that fail at the base, if that is as many as the story's kind has.
fn expected(folder: &Folder, report: &TestReport, why: Option<&str>) -> Result<Vec<String>, Failure> {
    let failing: Vec<String> = report.failing().map(str::to_owned).collect();
    if let Some(why) = why {
        return Err(wrong(format!("at that commit nothing can be tested: {why}"), "mend `build` in the story"));
    }
    let solved = folder.meta.kind == crate::cli::args::StoryKind::Solved;
    match (failing.is_empty() && report.ok, solved) {
        (true, false) => Err(wrong(
            "all tests pass at that commit, so there is nothing to tell a change by",
            "name the commit that has the failing test with --commit, or say --kind solved",
        )),
        (false, true) => {
            let first = failing.first().cloned().unwrap_or_else(|| "the run didn't come to its end".to_owned());
            Err(wrong(format!("tests fail at that commit ({first}), so the story isn't solved"), "take another --kind"))
        }
        (false, false) if failing.is_empty() => {
            let said = report.failures.first().map(|failure| failure.text.clone()).unwrap_or_default();
            let what = format!("the test run breaks at that commit: {}", fleet_api::plain::line(&said));
            Err(wrong(what, "mend `test` or `results` in the story"))
        }
        _ => Ok(failing),
    }
}

/// Tries the reference; gives the functions that it changes.
async fn reference(
    args: &StoryImport,
    made: &Path,
    folder: &Folder,
    judge: &Judge,
    base: &Base,
) -> Result<Option<Vec<String>>, Failure> {
    if args.reference.is_none() {
        return Ok(None);
    }
    let file = made.join("hidden/reference.patch");
    let patch = std::fs::read(&file).map_err(|e| unwritable(&file, &e))?;
    let (protected, tests) = (&folder.story.protected, &folder.story.test_files);
    let rules = PathRules::compile(protected, tests).map_err(|why| wrong(why, "mend the globs of the story"))?;
    let touched = Changes::of(&patch).paths.into_iter().find(|path| rules.forbids(path, base.repo.has(path)));
    if let Some(path) = touched {
        return Err(wrong(format!("the reference touches {path}, which no change may"), "leave it out of the patch"));
    }
    for hidden in [false, true] {
        if hidden && folder.hidden.is_empty() {
            continue;
        }
        let shown = judge.show(folder, &base.repo, &patch, hidden).await?;
        // Without the hidden tests there are as many as before.
        let visible = if hidden { base.visible } else { 0 };
        let verdict = verdict(&folder.story.results, &shown, visible, "");
        if !verdict.right {
            let which = if hidden { "visible and hidden" } else { "visible" };
            let why = verdict.why.unwrap_or_else(|| format!("failing: {}", verdict.failing.join(", ")));
            return Err(wrong(format!("the reference doesn't pass the {which} tests: {why}"), "mend one of the two"));
        }
    }
    changed(&base.repo, &patch).map(Some)
}

/// The functions that a patch changes or adds, as `path::name`; of nested ones the outermost.
fn changed(base: &BaseRepo, patch: &[u8]) -> Result<Vec<String>, Failure> {
    let refused = |e: fleet_tools::repo::RepoError| wrong(format!("the reference: {e}"), "make it with `git diff`");
    let tree = base.apply(patch).map_err(refused)?;
    let mut places = Vec::new();
    for path in Changes::of(patch).paths {
        let Some(language) = Language::of(&path) else { continue };
        let text = |content: Option<Vec<u8>>| String::from_utf8_lossy(&content.unwrap_or_default()).into_owned();
        let before = text(base.read(&path).map_err(refused)?);
        let after = text(base.read_in(&tree, &path).map_err(refused)?);
        places.extend(changed_functions(&before, &after, language).into_iter().map(|name| format!("{path}::{name}")));
    }
    Ok(places)
}

fn changed_functions(before: &str, after: &str, language: Language) -> Vec<String> {
    let of = |text: &str| functions(text, language).unwrap_or_default();
    let bodies = |text: &str| -> BTreeMap<String, String> {
        let spans = of(text).into_iter();
        spans.map(|span| (span.name, text.get(span.start..span.end).unwrap_or_default().to_owned())).collect()
    };
    let known = bodies(before);
    let (mut end, mut names) = (0, Vec::new());
    for span in of(after) {
        let body = after.get(span.start..span.end);
        // What lies in a function that was changed is part of it.
        if span.start < end || span.is_test || known.get(&span.name).map(String::as_str) == body {
            continue;
        }
        end = span.end;
        names.push(span.name);
    }
    names
}

fn remark(terminal: &Terminal, folder: &Folder, places: &[String], reference: bool) {
    if folder.is_solvable() && folder.hidden.is_empty() {
        terminal.careful("no hidden tests: what passes the visible tests will count as right");
    }
    if folder.is_solvable() && !reference {
        terminal.careful("no reference: nothing here proves that the tests can be passed");
    }
    if folder.is_solvable() && places.is_empty() {
        terminal.careful("no places: whether the fault is found won't be measured");
    }
}

fn tell(terminal: &Terminal, imported: &Imported) -> Outcome {
    if terminal.json_wanted() {
        terminal.json(imported)?;
        return Ok(Exit::Ok);
    }
    terminal.data(imported.folder.display())?;
    let into = imported.folder.parent().unwrap_or(Path::new("."));
    terminal.note(format_args!(
        "{}: {} failing at {}, {} hidden test files, places: {}\nmeasure it: fleet bench stories {} --stories {}",
        imported.name,
        imported.failing.len(),
        short(&imported.base),
        imported.hidden_tests,
        if imported.places.is_empty() { "none".to_owned() } else { imported.places.join(", ") },
        into.display(),
        imported.name
    ));
    Ok(Exit::Ok)
}

fn wrong(what: impl Into<String>, next: &str) -> Failure {
    Failure::input(what, next).coded("FLT-B001")
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    wrong(format!("can't use {}: {error}", path.display()), "check the folder and the space on its disk")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_a_change_are_the_functions_that_it_alters_or_adds() {
        let before = "def a():\n    return 1\n\ndef b():\n    def inner():\n        return 2\n    return inner\n";
        let after = "X = 1\n\ndef a():\n    return 1\n\ndef b():\n    def inner():\n        return 3\n    return inner\n\n\
                     def c():\n    pass\n";
        assert_eq!(changed_functions(before, after, Language::Python), ["b", "c"]);
        assert!(changed_functions(before, before, Language::Python).is_empty());
    }
}
