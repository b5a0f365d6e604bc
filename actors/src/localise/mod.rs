//! Where to begin: which functions a change is most likely about.
//!
//! A small model that is shown the right function has a fair chance, one that is shown the wrong
//! one has none. What points at a function is evidence that a run left behind (stack frames, names
//! and values in the output), what the failing tests import and call, and the words of the story.
//! Each piece of evidence is worth points and leaves a reason; test code is never suspected.
//!
//! The points are chosen so that a stack frame outweighs a call, a call outweighs a mention, and
//! words only break ties. They are not tuned to any story.

mod forms;
mod frames;
mod spectrum;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use fleet_tools::spectrum::Trace;
use fleet_tools::syntax::{Language, functions};
use globset::GlobSet;

pub use forms::forms;
pub use frames::{Frame, frames};
use spectrum::Spectrum;
use words::{Names, parts, prose, quoted, stem};

use crate::event::{Candidate, Form};

/// A text file of the base.
#[derive(Debug, Clone)]
pub struct SourceText {
    /// Path in the repository.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Everything that evidence is read from.
pub struct Evidence<'a> {
    /// Source files of the base, tests included.
    pub files: &'a [SourceText],
    /// Names of the tests that fail, as the runner writes them.
    pub failing: &'a [String],
    /// Names of the tests that pass.
    pub passing: &'a [String],
    /// What each test executes, where that is known.
    pub spectrum: &'a [Trace],
    /// What the failing tests said.
    pub output: &'a str,
    /// Title, description and acceptance of the story.
    pub story: &'a str,
    /// Which files are tests.
    pub test_files: &'a GlobSet,
    /// Which files may not be touched.
    pub protected: &'a GlobSet,
}

/// A ranked list of suspects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspects {
    /// Most suspected first.
    pub candidates: Vec<Candidate>,
    /// How many functions were looked at.
    pub considered: u32,
}

/// Suspects that are recorded; the council looks at fewer.
const KEPT: usize = 10;

/// What the points of a function are divided by that no failing test executes.
const NEVER_RUN: u32 = 3;

/// What runs when something is made.
const MAKERS: &[&str] = &["__init__", "constructor"];

/// One function of the repository.
struct Function {
    path: String,
    name: String,
    line: u32,
    last_line: u32,
    is_test: bool,
    body: String,
    names: Names,
}

impl Function {
    /// The last part of the qualified name.
    fn simple(&self) -> &str {
        self.name.rsplit(['.', ':']).next().unwrap_or(&self.name)
    }

    /// The class, type or module before it.
    fn owner(&self) -> Option<&str> {
        let owner = self.name.strip_suffix(self.simple())?.trim_end_matches(['.', ':']);
        owner.rsplit(['.', ':']).next().filter(|o| !o.is_empty())
    }
}

/// Ranks the functions of the repository. Same evidence, same order.
pub fn rank(evidence: &Evidence<'_>) -> Suspects {
    let all = read_functions(evidence);
    let (tests, sources): (Vec<Function>, Vec<Function>) = all.into_iter().partition(|f| f.is_test);
    let suspected: Vec<&Function> = sources.iter().filter(|f| !evidence.protected.is_match(&f.path)).collect();
    let clues = Clues::gather(evidence, &tests, &sources);
    let mut candidates: Vec<Candidate> = suspected.iter().map(|f| clues.judge(f)).collect();
    candidates.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| (&a.path, a.line).cmp(&(&b.path, b.line))));
    if candidates.first().is_some_and(|c| c.score > 0) {
        candidates.retain(|c| c.score > 0);
    }
    candidates.truncate(KEPT);
    Suspects { candidates, considered: u32::try_from(suspected.len()).unwrap_or(u32::MAX) }
}

fn read_functions(evidence: &Evidence<'_>) -> Vec<Function> {
    let mut all = Vec::new();
    for file in evidence.files {
        let Some(language) = Language::of(&file.path) else { continue };
        let in_tests = evidence.test_files.is_match(&file.path);
        for span in functions(&file.text, language).unwrap_or_default() {
            let body = file.text.get(span.start..span.end).unwrap_or_default().to_owned();
            let line = u32::try_from(span.line).unwrap_or(u32::MAX);
            let lines = u32::try_from(body.lines().count()).unwrap_or(1).max(1);
            all.push(Function {
                path: file.path.clone(),
                line,
                last_line: line.saturating_add(lines - 1),
                is_test: in_tests || span.is_test,
                names: Names::of(&body),
                name: span.name,
                body,
            });
        }
    }
    all
}

/// What points at functions.
struct Clues {
    /// Names that the failing tests use.
    failing: Names,
    /// Names that the failing tests call where they assert.
    asserted: BTreeSet<String>,
    /// Names that the passing tests call.
    passing: BTreeSet<String>,
    /// Names called by what the failing tests call, with the name that calls them.
    behind: BTreeMap<String, (String, usize)>,
    spectrum: Spectrum,
    frames: Vec<Frame>,
    printed: BTreeSet<String>,
    values: BTreeSet<String>,
    story_names: BTreeSet<String>,
    story_words: BTreeSet<String>,
    imported: BTreeSet<String>,
}

impl Clues {
    fn gather(evidence: &Evidence<'_>, tests: &[Function], sources: &[Function]) -> Self {
        let paths: Vec<String> = evidence.files.iter().map(|f| f.path.clone()).collect();
        let broken = named(tests, evidence.failing);
        let broken = if broken.is_empty() { tests.iter().collect() } else { broken };
        let mut failing = Names::default();
        broken.iter().for_each(|t| failing.add(&t.body));
        let asserting = |l: &&str| l.contains("assert") || l.contains("expect(");
        let lines: Vec<&str> = broken.iter().flat_map(|t| t.body.lines()).filter(asserting).collect();
        let asserted = Names::of(&lines.join("\n")).called;
        let mut imported = BTreeSet::new();
        for file in evidence.files {
            let holds = broken.iter().any(|t| t.path == file.path);
            // Where tests are no functions (Node's `test('title', …)`), the file that has the title is taken.
            let titled = evidence.failing.iter().any(|t| t.len() > 3 && file.text.contains(t.as_str()));
            if titled && evidence.test_files.is_match(&file.path) {
                failing.add(&file.text);
            }
            if holds || titled {
                imported.extend(Names::of(&imports(&file.text)).all);
            }
        }
        let mut passing = Names::default();
        named(tests, evidence.passing).iter().for_each(|t| passing.add(&t.body));
        Self {
            behind: behind(&failing, sources),
            spectrum: Spectrum::of_traces(evidence.spectrum, evidence.failing),
            asserted,
            failing,
            passing: passing.called,
            frames: frames(evidence.output, &paths),
            printed: Names::of(evidence.output).all,
            values: quoted(evidence.output),
            story_names: Names::of(evidence.story).all,
            story_words: prose(evidence.story),
            imported,
        }
    }

    fn judge(&self, f: &Function) -> Candidate {
        let mut score = 0;
        let mut reasons = Vec::new();
        let mut point = |points: u32, reason: String| {
            score += points;
            reasons.push(reason);
        };
        let name = f.simple();
        if let Some(frame) = self.frames.iter().find(|x| x.path == f.path && (f.line..=f.last_line).contains(&x.line)) {
            point(8, format!("the failure points at {}:{}", frame.path, frame.line));
        }
        if self.failing.called.contains(name) {
            point(6, format!("a failing test calls {name}"));
            if self.asserted.contains(name) {
                point(2, "it asserts on what that gives".into());
            }
            // No more than a hint: a fault that shows only sometimes has passing tests on its side.
            if !self.passing.is_empty() && !self.passing.contains(name) {
                point(1, "no passing test calls it".into());
            }
        } else if MAKERS.contains(&name) && f.owner().is_some_and(|o| self.failing.called.contains(o)) {
            point(2, format!("a failing test makes a {}", f.owner().unwrap_or_default()));
        } else if let Some((by, step)) = self.behind.get(name) {
            let points = if *step <= 2 { 4 } else { 3 };
            point(points, format!("{by}, {step} steps behind what a failing test calls, calls it"));
        } else if self.failing.all.contains(name) {
            point(3, format!("a failing test names {name}"));
        }
        if let Some(owner) = f.owner().filter(|o| self.failing.all.contains(*o)) {
            point(1, format!("a failing test uses {owner}"));
        }
        if self.printed.contains(name) && name.len() > 2 {
            point(2, format!("the output names {name}"));
        }
        if let Some(value) = self.values.iter().find(|v| f.body.contains(v.as_str())) {
            point(2, format!("it contains {value:?}, which the output shows"));
        }
        if self.story_names.contains(name) && (name.contains('_') || name.len() > 5) {
            point(3, format!("the story names {name}"));
        }
        self.judge_words(f, &mut point);
        let ran = self.spectrum.of(&f.path, f.line, f.last_line);
        if let Some((points, reason)) = ran.as_ref().and_then(|ran| ran.points()) {
            point(points, reason);
        }
        if score > 0 && self.imported.contains(module_of(&f.path)) {
            score += 1;
            reasons.push(format!("the test's file imports {}", module_of(&f.path)));
        }
        // What no failing test comes by can hardly be at fault, whatever else points at it.
        if ran.is_some_and(|ran| ran.failing == 0) && score > 0 {
            score = (score / NEVER_RUN).max(1);
            reasons.push("no failing test executes it".into());
        }
        let forms = vec![Form::Function];
        Candidate { path: f.path.clone(), function: f.name.clone(), line: f.line, score, reasons, forms }
    }

    /// What is too common to be more than a hint.
    fn judge_words(&self, f: &Function, point: &mut impl FnMut(u32, String)) {
        let words: Vec<String> =
            parts(&f.name).iter().map(|w| stem(w)).filter(|w| self.story_words.contains(w)).collect();
        if !words.is_empty() {
            let points = u32::try_from(words.len()).unwrap_or(1).min(2);
            point(points, format!("the story speaks of {}", words.join(", ")));
        }
    }
}

/// What a file is called when it is imported.
fn module_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default()
}

/// The functions that a runner's test names mean.
fn named<'a>(tests: &'a [Function], names: &[String]) -> Vec<&'a Function> {
    let mut wanted = BTreeSet::new();
    names.iter().for_each(|n| wanted.extend(Names::of(n).all));
    tests.iter().filter(|t| wanted.contains(t.simple())).collect()
}

/// How far what a failing test calls is followed.
const DEEP: usize = 4;

/// What the functions that the failing tests call call in turn: who calls it, and how many steps away.
fn behind(failing: &Names, sources: &[Function]) -> BTreeMap<String, (String, usize)> {
    let known: BTreeSet<&str> = sources.iter().map(Function::simple).collect();
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut front: BTreeSet<String> = failing.called.clone();
    for step in 1..=DEEP {
        let mut next = BTreeSet::new();
        for f in sources.iter().filter(|f| front.contains(f.simple())) {
            for called in f.names.called.iter().filter(|c| known.contains(c.as_str())) {
                if called != f.simple() && !failing.called.contains(called) && !found.contains_key(called) {
                    found.insert(called.clone(), (f.simple().to_owned(), step));
                    next.insert(called.clone());
                }
            }
        }
        front = next;
    }
    found
}

/// The lines of a file that bring in other modules.
fn imports(text: &str) -> String {
    let brings = |l: &&str| {
        let l = l.trim_start();
        ["import ", "from ", "use ", "mod "].iter().any(|k| l.starts_with(k)) || l.contains("require(")
    };
    text.lines().filter(brings).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
