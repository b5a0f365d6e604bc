//! A story to be measured on, as its folder has it: how its repository is made, what is asked, and what only the judge sees.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fleet_actors::story::Story;
use fleet_tools::repo::client::{self as repo, RepoFacts};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cli::args::{StoryKind, WhichPart};
use crate::cli::failure::Failure;
use crate::cli::submit::read_story;

/// One file of hidden tests at most.
const TEST_BYTES: u64 = 4 << 20;

/// `hidden/meta.toml`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    pub kind: StoryKind,
    /// The functions that a right change alters or adds, `path::name`.
    pub places: Vec<String>,
    /// What is planted in the repository: `instructions`, `secret`.
    #[serde(default)]
    pub plants: Vec<String>,
    /// What must never be seen anywhere.
    #[serde(default)]
    pub forbidden: Vec<String>,
    /// What obeying planted instructions leaves behind.
    #[serde(default)]
    pub bait: Vec<String>,
}

/// What a story may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Learning,
    Reporting,
}

impl Part {
    /// By the name alone, so that adding a story moves no other; the same rule as `examples/stories/split`.
    pub fn of(name: &str) -> Self {
        let first = Sha256::digest(name.as_bytes()).first().copied().unwrap_or_default();
        if first.is_multiple_of(3) { Self::Reporting } else { Self::Learning }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Reporting => "reporting",
        }
    }

    fn is_in(self, which: WhichPart) -> bool {
        match which {
            WhichPart::All => true,
            WhichPart::Learning => self == Self::Learning,
            WhichPart::Reporting => self == Self::Reporting,
        }
    }
}

/// A story's folder, read.
#[derive(Debug, Clone)]
pub struct Folder {
    pub name: String,
    pub dir: PathBuf,
    /// The story file.
    pub text: String,
    pub story: Story,
    pub meta: Meta,
    pub part: Part,
    /// Hidden tests by their path below `tests/`.
    pub hidden: Vec<(String, Vec<u8>)>,
    /// Over all that decides what is measured.
    pub digest: String,
}

/// The stories of a folder, in order of their names; those that are wanted.
pub fn find(dir: &Path, names: &[String], part: WhichPart) -> Result<Vec<Folder>, Failure> {
    let all = folders(dir)?;
    let known: Vec<String> = all.iter().map(|dir| name_of(dir)).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        let next = format!("there are: {}", known.join(", "));
        return Err(Failure::input(format!("{} has no story {unknown:?}", dir.display()), next).coded("FLT-B001"));
    }
    let wanted = |dir: &&PathBuf| {
        let name = name_of(dir);
        (names.is_empty() || names.contains(&name)) && Part::of(&name).is_in(part)
    };
    let found: Vec<Folder> = all.iter().filter(wanted).map(|dir| Folder::read(dir)).collect::<Result<_, _>>()?;
    if found.is_empty() {
        let what = format!("{} has no story of that part", dir.display());
        return Err(Failure::input(what, "take another --part or other --stories").coded("FLT-B001"));
    }
    Ok(found)
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_story = |dir: &Path| dir.join("story.md").is_file() && dir.join("make-repo.sh").is_file();
    if is_story(dir) {
        let dir = dir.canonicalize().map_err(|e| unreadable(dir, &e))?;
        return Ok(vec![dir]);
    }
    let listed = std::fs::read_dir(dir).map_err(|e| unreadable(dir, &e))?;
    let mut found: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).filter(|path| is_story(path)).collect();
    found.sort();
    if found.is_empty() {
        let next = "a story is a folder with story.md and make-repo.sh: see examples/stories, or fleet bench import";
        return Err(Failure::input(format!("{} has no stories", dir.display()), next).coded("FLT-B001"));
    }
    Ok(found)
}

fn name_of(dir: &Path) -> String {
    dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let next = "name a folder of stories, such as examples/stories";
    Failure::input(format!("can't read {}: {error}", path.display()), next).coded("FLT-B001")
}

impl Folder {
    /// Reads all of a folder; runs nothing.
    pub fn read(dir: &Path) -> Result<Self, Failure> {
        let name = name_of(dir);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            let what = format!("a story can't be called {name:?}");
            return Err(Failure::input(what, "letters, digits, dots and dashes").coded("FLT-B001"));
        }
        let (text, story) = read_story(&dir.join("story.md"))?;
        let meta = read_meta(&dir.join("hidden/meta.toml"))?;
        let hidden = tests_of(&dir.join("hidden/tests"))?;
        let make = dir.join("make-repo.sh");
        let script = std::fs::read(&make).map_err(|e| unreadable(&make, &e))?;
        let digest = digest(&[&script, text.as_bytes(), format!("{meta:?}").as_bytes()], &hidden);
        let part = Part::of(&name);
        Ok(Self { part, name, dir: dir.to_owned(), text, story, meta, hidden, digest })
    }

    /// Whether there is a right change.
    pub fn is_solvable(&self) -> bool {
        self.meta.kind.is_solvable()
    }

    /// The story with another seed.
    pub fn seeded(&self, seed: u64) -> String {
        with_seed(&self.text, seed)
    }

    /// The seed of its n-th run.
    pub fn seed(&self, place: u32) -> u64 {
        self.story.seed.wrapping_add(u64::from(place))
    }

    /// Makes the repository, or looks at the one that was made before. Blocks.
    pub fn make_repo(&self, to: &Path) -> Result<RepoFacts, Failure> {
        if !to.join(".git").exists() {
            // What was interrupted is made again.
            let _ = std::fs::remove_dir_all(to);
            run_script(&self.dir.join("make-repo.sh"), to)?;
        }
        let wrong = |e: fleet_tools::repo::RepoError| self.broken(&e.to_string());
        repo::inspect(to).map_err(wrong)
    }

    /// Whether the function is there already: what a change adds can't be found before.
    pub fn has_place(&self, repo: &Path, place: &str) -> bool {
        let Some((path, name)) = place.split_once("::") else { return false };
        let Some(language) = fleet_tools::syntax::Language::of(path) else { return false };
        let text = std::fs::read_to_string(repo.join(path)).unwrap_or_default();
        let functions = fleet_tools::syntax::functions(&text, language).unwrap_or_default();
        functions.iter().any(|function| function.name == name)
    }

    pub fn broken(&self, why: &str) -> Failure {
        let what = format!("the story {}: {why}", self.name);
        Failure::input(what, format!("look at {}; leave it out with --stories", self.dir.display())).coded("FLT-B001")
    }
}

/// Runs a story's make-repo.sh. It is the story's author who is trusted here, as with any script of a repository.
fn run_script(script: &Path, to: &Path) -> Result<(), Failure> {
    let script = std::path::absolute(script).map_err(|e| unreadable(script, &e))?;
    let to = std::path::absolute(to).map_err(|e| unreadable(to, &e))?;
    let mut command = Command::new("bash");
    command.arg(&script).arg(&to).stdin(Stdio::null());
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    let failed = |why: String| {
        let next = "run it by hand to see what is wrong";
        Failure::input(format!("{} failed: {why}", script.display()), next).coded("FLT-B001")
    };
    let ended = command.output().map_err(|e| failed(e.to_string()))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(failed(format!("{}: {}", ended.status, fleet_api::plain::line(said.trim()))))
}

fn read_meta(path: &Path) -> Result<Meta, Failure> {
    let next = "`fleet bench import` writes one; examples/stories/README.md has its keys";
    let wrong = |why: String| Failure::input(format!("{}: {why}", path.display()), next).coded("FLT-B001");
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    toml::from_str(&text).map_err(|e| wrong(e.to_string().trim().to_owned()))
}

/// All files below a folder of tests, by path; none if it isn't there.
pub fn tests_of(dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let (mut found, mut todo) = (Vec::new(), vec![dir.to_owned()]);
    if !dir.is_dir() {
        return Ok(found);
    }
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| unreadable(&folder, &e))?.flatten() {
            let path = entry.path();
            let about = path.symlink_metadata().map_err(|e| unreadable(&path, &e))?;
            let relative = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
            if about.is_dir() && entry.file_name() != "__pycache__" {
                todo.push(path);
            } else if about.is_file() {
                if about.len() > TEST_BYTES {
                    let what = format!("{} is larger than {TEST_BYTES} bytes", path.display());
                    return Err(Failure::input(what, "tests are text").coded("FLT-B001"));
                }
                found.push((relative, std::fs::read(&path).map_err(|e| unreadable(&path, &e))?));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn digest(parts: &[&[u8]], hidden: &[(String, Vec<u8>)]) -> String {
    let mut hasher = Sha256::new();
    let mut take = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    parts.iter().for_each(|part| take(part));
    for (path, content) in hidden {
        take(path.as_bytes());
        take(content);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A story file with this seed in its front matter. The file was parsed before, so it has one.
fn with_seed(text: &str, seed: u64) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut fences = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start_matches('\u{feff}').trim_end();
        if fences < 2 && bare == "---" {
            fences += 1;
            if fences == 2 {
                out.push_str(&format!("seed: {seed}\n"));
            }
        } else if fences == 1 && line.split(':').next().is_some_and(|key| key.trim_end() == "seed") {
            continue;
        }
        out.push_str(line);
    }
    out
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
