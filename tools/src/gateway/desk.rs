//! What the tools do in a workspace: looking and editing. Runs are in `runs`.
//!
//! An agent works on the text that it is shown. Where that differs from the file (a secret behind a placeholder), an edit
//! is made on the shown text and the originals are put back before anything is written.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use serde_json::json;

use super::guard::EditGuard;
use super::output::{BUDGET, fit, strip_controls};
use super::tools::{ListArgs, ReadArgs, ReplaceArgs, SearchArgs, WriteArgs};
use super::{ToolResult, WorkspaceSpec};
use crate::repo::path::normalize;
use crate::repo::{BaseRepo, PathRules, RepoError, Workspace};
use crate::syntax::{Language, functions, parses, replace_function};

const FILES_MAX: usize = 100_000;
const LISTED: usize = 400;
const LINES: usize = 200;
const MATCHES: usize = 100;
const MATCH_CHARS: usize = 200;
/// Larger files aren't searched: they are data, and one line of them would fill the answer.
const SEARCHED_BYTES: u64 = 1 << 20;

/// A workspace with all that is needed to look at it and edit it.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) spec: Arc<WorkspaceSpec>,
    pub(super) base: BaseRepo,
    pub(super) workspace: Workspace,
    pub(super) rules: Arc<PathRules>,
    pub(super) guard: Arc<dyn EditGuard>,
}

/// A no from a tool, or a failure of the node.
pub(super) enum Trouble {
    No(Box<ToolResult>),
    Node(RepoError),
}

impl From<RepoError> for Trouble {
    fn from(error: RepoError) -> Self {
        match error {
            // What an agent can do something about is said to it.
            RepoError::UnsafePath { .. } | RepoError::TooLarge { .. } => {
                Self::No(Box::new(ToolResult::refused(error.to_string())))
            }
            error => Self::Node(error),
        }
    }
}

fn no(text: impl Into<String>) -> Trouble {
    Trouble::No(Box::new(ToolResult::refused(text)))
}

type Done = Result<ToolResult, Trouble>;

impl Desk {
    /// The text of a file as the agent sees it.
    fn shown(&self, path: &str) -> Result<Option<String>, Trouble> {
        let Some(content) = self.workspace.read(path)? else {
            return Ok(None);
        };
        let text = String::from_utf8(content).map_err(|_| no(format!("{path} isn't text")))?;
        Ok(Some(self.guard.show(&self.spec.project, &text)))
    }

    fn existing(&self, path: &str) -> Result<(String, String), Trouble> {
        let clean = normalize(path).map_err(|why| no(format!("the path is refused: {why}")))?;
        match self.shown(&clean)? {
            Some(text) => Ok((clean, text)),
            None => Err(no(format!("there is no file {clean}; {}", self.nearest(&clean)?))),
        }
    }

    /// Files of the same name, for an agent that has the directory wrong.
    fn nearest(&self, path: &str) -> Result<String, Trouble> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let files = self.workspace.files(FILES_MAX)?;
        let alike: Vec<_> = files
            .iter()
            .map(|(path, _)| path.as_str())
            .filter(|other| other.rsplit('/').next() == Some(name))
            .take(5)
            .collect();
        Ok(if alike.is_empty() {
            "`list` shows what there is".to_owned()
        } else {
            format!("did you mean {}?", alike.join(", "))
        })
    }

    pub(super) fn list(&self, args: &ListArgs) -> Done {
        let below = prefix(&args.path)?;
        let files: Vec<_> =
            self.workspace.files(FILES_MAX)?.into_iter().filter(|(path, _)| lies_below(path, &below)).collect();
        let mut text: String =
            files.iter().take(LISTED).map(|(path, bytes)| format!("{path} ({bytes} bytes)\n")).collect();
        if files.len() > LISTED {
            text.push_str(&format!("[... {} more; name a directory]\n", files.len() - LISTED));
        }
        if files.is_empty() {
            text = format!("no files below {below:?}");
        }
        let mut result = ToolResult::said(fit(&text, BUDGET));
        result.data = json!({ "files": files.len() });
        Ok(result)
    }

    pub(super) fn read(&self, args: &ReadArgs) -> Done {
        let (path, text) = self.existing(&args.path)?;
        let plain = strip_controls(&text);
        let lines: Vec<&str> = plain.lines().collect();
        let from = args.from.unwrap_or(1).clamp(1, lines.len().max(1));
        let to = args.to.unwrap_or(from + LINES - 1).clamp(from, from + 4 * LINES).min(lines.len());
        let mut shown = String::new();
        for (at, line) in lines.iter().enumerate().take(to).skip(from - 1) {
            shown.push_str(&format!("{:>5}  {line}\n", at + 1));
        }
        if (from, to) != (1, lines.len()) && !lines.is_empty() {
            shown.push_str(&format!("[lines {from} to {to} of {}]\n", lines.len()));
        }
        if lines.is_empty() {
            shown = format!("{path} is empty");
        }
        let known = Language::of(&path).and_then(|language| functions(&text, language).ok()).unwrap_or_default();
        let names: Vec<_> = known.into_iter().map(|function| function.name).collect();
        let mut result = ToolResult::said(fit(&shown, BUDGET));
        result.data = json!({ "path": path, "lines": lines.len(), "from": from, "to": to, "functions": names });
        Ok(result)
    }

    pub(super) fn search(&self, args: &SearchArgs) -> Done {
        if args.pattern.is_empty() {
            return Err(no("give a pattern to search for"));
        }
        let pattern = pattern(&args.pattern)?;
        let below = prefix(&args.path)?;
        let (mut text, mut matches, mut files) = (String::new(), 0, 0);
        for (path, bytes) in self.workspace.files(FILES_MAX)? {
            let searched = lies_below(&path, &below) && bytes <= SEARCHED_BYTES;
            let Some(content) = searched.then(|| self.shown(&path).ok().flatten()).flatten() else {
                continue;
            };
            let found: Vec<_> = content.lines().enumerate().filter(|(_, line)| pattern.is_match(line)).collect();
            files += usize::from(!found.is_empty());
            for (at, line) in found {
                matches += 1;
                if matches <= MATCHES {
                    let line: String = strip_controls(line).trim().chars().take(MATCH_CHARS).collect();
                    text.push_str(&format!("{path}:{}: {line}\n", at + 1));
                }
            }
        }
        let head = format!(
            "{matches} matches in {files} files{}\n",
            if matches > MATCHES {
                format!(", the first {MATCHES} are shown; narrow the pattern")
            } else {
                String::new()
            }
        );
        let mut result = ToolResult::said(fit(&(head + &text), BUDGET));
        result.data = json!({ "matches": matches, "files": files });
        Ok(result)
    }

    pub(super) fn replace_function(&self, args: &ReplaceArgs) -> Done {
        let (path, before) = self.existing(&args.path)?;
        let language = Language::of(&path)
            .ok_or_else(|| no(format!("functions of {path} aren't known to this tool; use write_file")))?;
        let after =
            replace_function(&before, language, &args.name, &args.code).map_err(|error| no(error.to_string()))?;
        if after == before {
            return Ok(ToolResult::same());
        }
        self.save(&path, Some(&before), &after)?;
        let mut result = ToolResult::said(format!("{} in {path} is replaced", args.name));
        result.data = json!({ "path": path, "name": args.name });
        Ok(result)
    }

    pub(super) fn write_file(&self, args: &WriteArgs) -> Done {
        let path = normalize(&args.path).map_err(|why| no(format!("the path is refused: {why}")))?;
        let before = self.shown(&path)?;
        if before.as_ref() == Some(&args.content) {
            return Ok(ToolResult::same());
        }
        if let Some(language) = Language::of(&path) {
            // What was broken before may be mended step by step; what was whole mustn't be broken.
            let was_whole = before.as_ref().is_none_or(|before| parses(before, language).is_ok());
            if let (true, Err(error)) = (was_whole, parses(&args.content, language)) {
                return Err(no(format!("{path} would not parse: {error}; nothing was written")));
            }
        }
        self.save(&path, before.as_deref(), &args.content)?;
        let mut result = ToolResult::said(format!(
            "{path} is {} ({} bytes)",
            if before.is_some() { "overwritten" } else { "new" },
            args.content.len()
        ));
        result.data = json!({ "path": path, "new": before.is_none() });
        Ok(result)
    }

    /// Writes an edit of what was shown, with the originals put back; the tests inside a Rust file stay what they are.
    fn save(&self, path: &str, before: Option<&str>, after: &str) -> Result<(), Trouble> {
        if let (Some(before), Some(Language::Rust)) = (before, Language::of(path)) {
            self.keep_rust_tests(path, before, after)?;
        }
        let original = self.guard.put_back(&self.spec.project, before.unwrap_or_default(), after).map_err(no)?;
        Ok(self.workspace.write(path, original.as_bytes())?)
    }

    fn keep_rust_tests(&self, path: &str, before: &str, after: &str) -> Result<(), Trouble> {
        let Some(base) = self.base.read(path)?.and_then(|content| String::from_utf8(content).ok()) else {
            return Ok(());
        };
        let base = self.guard.show(&self.spec.project, &base);
        let touched = crate::syntax::touched_tests(&base, after).map_err(|error| no(error.to_string()))?;
        // What was touched before this edit isn't this edit's doing.
        let earlier = crate::syntax::touched_tests(&base, before).map_err(|error| no(error.to_string()))?;
        match touched.iter().find(|name| !earlier.contains(name)) {
            None => Ok(()),
            Some(name) => {
                let text = format!(
                    "denied by existing-tests: {name} in {path} is an existing test; leave it as it is, new tests are welcome beside it"
                );
                Err(Trouble::No(Box::new(ToolResult {
                    denied: Some("existing-tests".to_owned()),
                    ..ToolResult::refused(text)
                })))
            }
        }
    }

    /// Brings protected files and existing tests back to what they were after something ran; says which had been touched.
    pub(super) fn restore_protected(&self) -> Result<Vec<String>, RepoError> {
        let mut touched = Vec::new();
        for path in self.workspace.placed().filter(|path| self.rules.forbids(path, self.base.has(path))) {
            if !self.workspace.is_untouched(path).unwrap_or(false) {
                touched.push(path.to_owned());
                self.put_back(path);
            }
        }
        for (path, _) in self.workspace.files(FILES_MAX)? {
            if self.rules.forbids(&path, false) && !self.workspace.has_placed(&path) {
                self.workspace.remove(&path)?;
                touched.push(path);
            }
        }
        Ok(touched)
    }

    /// What can't be put back (a directory stands there now) stays in the patch, and disqualifies it.
    fn put_back(&self, path: &str) {
        if let Err(error) = self.base.put_back(&self.workspace, path) {
            tracing::warn!(path, %error, "a protected file could not be put back");
        }
    }
}

fn prefix(path: &str) -> Result<String, Trouble> {
    if matches!(path, "" | "." | "./" | "/" | "/work" | "/work/") {
        return Ok(String::new());
    }
    normalize(path).map_err(|why| no(format!("the path is refused: {why}")))
}

/// Whether a file lies in a directory, or is what was named; the empty name is the whole tree.
fn lies_below(path: &str, below: &str) -> bool {
    below.is_empty() || path.strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A regular expression, or, if it isn't one, the text as it stands.
fn pattern(text: &str) -> Result<Regex, Trouble> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(1 << 20).build();
    build(text)
        .or_else(|_| build(&regex::escape(text)))
        .map_err(|error| no(format!("the pattern can't be used: {error}")))
}
