//! The story file: what a person asks for, in the person's own words.
//!
//! A story is Markdown with a YAML front matter. The front matter says how the work is measured
//! (which command builds, which one tests, what may not be touched); the body says what is wanted.
//! Parsing is strict, because a misspelt key that is silently ignored (`tset: …`) would turn into a
//! job that measures nothing. Each error names line and column of the *file* and the remedy.
//!
//! Not here: whether the commands work on the repository; that is found out by running them.

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

/// Longest story file that is read, in bytes. A story is a page of text; more is a mistake.
pub const MAX_STORY_BYTES: usize = 256 * 1024;

/// Longest title, in characters: it becomes the subject line of a commit.
const MAX_TITLE_CHARS: usize = 120;

/// What the test runner's output is parsed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultsFormat {
    /// Python's `unittest -v`.
    Unittest,
    /// `cargo test` and whatever else prints as Rust's libtest does.
    Libtest,
    /// `node --test`.
    Node,
    /// One verdict for the whole run: the exit status.
    Exit,
}

/// A validated story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// One line; becomes the commit's subject.
    pub title: String,
    /// Command that must exit with 0 before the tests are run. None: nothing to build.
    pub build: Option<String>,
    /// Command that runs the tests.
    pub test: String,
    /// Globs of the test files. Existing ones are restored from the base before each verdict.
    pub test_files: Vec<String>,
    /// Globs of further paths that no proposal may touch.
    pub protected: Vec<String>,
    /// How the test runner's output is read.
    pub results: ResultsFormat,
    /// What must hold when the story is done, in words.
    pub acceptance: Vec<String>,
    /// What must not be done, in words.
    pub constraints: Vec<String>,
    /// Seed of everything that is sampled for this story.
    pub seed: u64,
    /// The body of the file.
    pub description: String,
}

/// Why a story file was refused: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("story, line {line}, column {column}: {what}\n  remedy: {remedy}")]
pub struct StoryError {
    /// 1-based line of the story file.
    pub line: usize,
    /// 1-based column of that line.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

/// The front matter exactly as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontMatter {
    title: String,
    #[serde(default)]
    build: Option<String>,
    test: String,
    #[serde(default)]
    test_files: Vec<String>,
    #[serde(default)]
    protected: Vec<String>,
    #[serde(default = "default_results")]
    results: ResultsFormat,
    #[serde(default)]
    acceptance: Vec<String>,
    #[serde(default)]
    constraints: Vec<String>,
    #[serde(default)]
    seed: u64,
}

fn default_results() -> ResultsFormat {
    ResultsFormat::Exit
}

/// What counts as a test file when the story doesn't say: the conventions of the three languages.
const DEFAULT_TEST_FILES: &[&str] =
    &["tests/**", "test/**", "**/test_*.py", "**/*_test.py", "**/*.test.js", "**/*.test.mjs"];

const SKELETON: &str = "---\\ntitle: What is wanted\\ntest: python3 -m unittest -v\\nresults: unittest\\n---\\n\\nThe story in your own words.";

impl Story {
    /// Reads and checks a story file.
    pub fn parse(text: &str) -> Result<Self, StoryError> {
        if text.len() > MAX_STORY_BYTES {
            return Err(StoryError {
                line: 1,
                column: 1,
                what: format!("the file has {} bytes, at most {MAX_STORY_BYTES} are read", text.len()),
                remedy: "shorten the story; long material belongs into the repository".into(),
            });
        }
        let parts = Parts::split(text)?;
        let front: FrontMatter = serde_saphyr::from_str(parts.front).map_err(|e| parts.yaml_error(&e))?;
        parts.check(&front)?;
        Ok(Self {
            title: front.title.trim().to_owned(),
            build: front.build.map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()),
            test: front.test.trim().to_owned(),
            test_files: if front.test_files.is_empty() {
                DEFAULT_TEST_FILES.iter().map(|s| (*s).to_owned()).collect()
            } else {
                front.test_files
            },
            protected: front.protected,
            results: front.results,
            acceptance: front.acceptance,
            constraints: front.constraints,
            seed: front.seed,
            description: parts.body.trim().to_owned(),
        })
    }

    /// The test-file globs as one matcher. They were checked when the story was parsed.
    pub fn test_file_set(&self) -> GlobSet {
        set_of(&self.test_files)
    }

    /// The protected globs as one matcher.
    pub fn protected_set(&self) -> GlobSet {
        set_of(&self.protected)
    }
}

fn set_of(globs: &[String]) -> GlobSet {
    let mut builder = GlobSetBuilder::new();
    for glob in globs.iter().filter_map(|g| Glob::new(g).ok()) {
        builder.add(glob);
    }
    builder.build().unwrap_or_else(|_| GlobSet::empty())
}

/// A story file cut into front matter and body.
struct Parts<'a> {
    front: &'a str,
    body: &'a str,
}

/// Lines of the file before the first line of the front matter: the opening fence.
const FENCE_LINES: usize = 1;

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, StoryError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let after = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n")).ok_or_else(|| StoryError {
            line: 1,
            column: 1,
            what: "the file does not start with a front matter".into(),
            remedy: format!("start it with a line `---`, for example:\n{}", SKELETON.replace("\\n", "\n")),
        })?;
        let mut offset = 0;
        for line in after.split_inclusive('\n') {
            if line.trim_end() == "---" {
                return Ok(Self { front: &after[..offset], body: &after[offset + line.len()..] });
            }
            offset += line.len();
        }
        Err(StoryError {
            line: FENCE_LINES + after.lines().count().max(1),
            column: 1,
            what: "the front matter is never closed".into(),
            remedy: "put a line `---` between the front matter and the text of the story".into(),
        })
    }

    fn yaml_error(&self, error: &serde_saphyr::Error) -> StoryError {
        let at = error.location();
        let (line, column) = at.map_or((0, 1), |l| (l.line() as usize, l.column() as usize));
        let what = first_line(&error.to_string());
        StoryError { line: FENCE_LINES + line, column: column.max(1), remedy: remedy_for(&what), what }
    }

    /// What the types can't say: emptiness, length, globs that parse.
    fn check(&self, front: &FrontMatter) -> Result<(), StoryError> {
        let title = front.title.trim();
        if title.is_empty() {
            return Err(self.at("title", "`title` is empty", "say in one line what is wanted"));
        }
        if title.chars().count() > MAX_TITLE_CHARS || title.chars().any(char::is_control) {
            let what = format!("`title` must be one line of at most {MAX_TITLE_CHARS} characters");
            return Err(self.at("title", &what, "move the details into the body of the story"));
        }
        if front.test.trim().is_empty() {
            return Err(self.at("test", "`test` is empty", TEST_REMEDY));
        }
        for (key, globs) in [("test_files", &front.test_files), ("protected", &front.protected)] {
            for glob in globs {
                if let Err(e) = Glob::new(glob) {
                    let what = format!("`{glob}` under `{key}` is not a glob: {}", e.kind());
                    return Err(self.at(key, &what, "write globs such as `tests/**` or `src/*.py`"));
                }
            }
        }
        Ok(())
    }

    /// An error at the line on which `key` is written.
    fn at(&self, key: &str, what: &str, remedy: &str) -> StoryError {
        let line = self.front.lines().position(|l| l.split(':').next().is_some_and(|k| k.trim() == key)).unwrap_or(0);
        StoryError { line: FENCE_LINES + line + 1, column: 1, what: what.into(), remedy: remedy.into() }
    }
}

const TEST_REMEDY: &str = "add the command that runs the tests, for example `test: python3 -m unittest -v`";

fn remedy_for(what: &str) -> String {
    if what.contains("missing field") && what.contains("test") {
        TEST_REMEDY.into()
    } else if what.contains("missing field") {
        "add the key to the front matter".into()
    } else if what.contains("unknown field") {
        "the keys are: title, build, test, test_files, protected, results, acceptance, constraints, seed".into()
    } else if what.contains("unknown variant") {
        "`results` is one of: unittest, libtest, node, exit".into()
    } else {
        "the front matter is YAML: `key: value`, lists as `- item` lines".into()
    }
}

/// The YAML crate renders a picture of the place below its first line; line and column say it shorter.
fn first_line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default().trim();
    // Its own "line 1 column 8:" counts from the front matter, ours from the file.
    let said = first.split_once(" column ").and_then(|(_, rest)| rest.split_once(": "));
    said.map_or(first, |(_, said)| said).to_owned()
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
