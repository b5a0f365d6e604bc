//! What was changed in a workspace, as a patch against the base.
//!
//! The node reads the files itself, beneath the workspace's root; git only gets their content, to make blobs and a tree
//! of them in the base's object store, and then compares two trees.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::beneath::{Beneath, Found};
use super::bundle::limit;
use super::git::{Git, Input};
use super::path::link_stays_inside;
use super::tree::{Kind, TreeId};
use super::workspace::Placed;
use super::{BaseRepo, RepoError, Workspace, ignore};

/// How a path was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The base lacks it.
    Added,
    /// Its content or its mode is another.
    Modified,
    /// It is gone.
    Deleted,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The path.
    pub path: String,
    /// How.
    pub kind: ChangeKind,
}

/// A change of the base, whole: applied to it, it gives exactly the tree that was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Git's patch format, binary files included. Empty when nothing was changed.
    pub bytes: Vec<u8>,
    /// The paths it changes, in order.
    pub changes: Vec<Change>,
    /// Lines added plus lines removed.
    pub lines: u32,
    /// What lay in the workspace and was left out, and why.
    pub left_out: Vec<(String, String)>,
}

impl Patch {
    /// Nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The paths it changes.
    pub fn paths(&self) -> Vec<String> {
        self.changes.iter().map(|change| change.path.clone()).collect()
    }
}

/// A path whose entry in the tree has to be set or, with no kind, removed.
struct Edit {
    path: String,
    set: Option<(Kind, Vec<u8>)>,
}

impl BaseRepo {
    /// What was changed in the workspace, against the base.
    pub fn diff(&self, workspace: &Workspace) -> Result<Patch, RepoError> {
        let caps = &self.inner.caps;
        let max = usize::try_from(caps.files).unwrap_or(usize::MAX).saturating_mul(2);
        let found = workspace.walk(max)?;
        let mut left_out = Vec::new();
        let edits = edits(self, workspace, &found, &mut left_out)?;
        limit("files of the patch", edits.len() as u64, caps.patch_files)?;
        let (guard, git) = self.private_index(&workspace.tree)?;
        let tree = write_tree(&git, guard.path(), &edits)?;
        let mut patch = self.between(&self.inner.tree, &tree)?;
        patch.left_out = left_out;
        Ok(patch)
    }

    /// The patch that a tree is on top of the base.
    pub fn patch_of(&self, tree: &TreeId) -> Result<Patch, RepoError> {
        self.between(&self.inner.tree, tree)
    }

    /// The tree with these paths as they are in the base: its content, or nothing.
    pub fn restored(&self, tree: &TreeId, paths: &[String]) -> Result<TreeId, RepoError> {
        if paths.is_empty() {
            return Ok(tree.clone());
        }
        let (_guard, git) = self.private_index(tree)?;
        let mut info = Vec::new();
        // Removals first: a path may stand where the base has a directory, and the other way round.
        let removed = paths.iter().map(|path| format!("0 {}\t{path}\0", "0".repeat(40)));
        let set = paths.iter().filter_map(|path| {
            self.inner.files.get(path).map(|entry| format!("{} {}\t{path}\0", entry.kind.mode(), entry.oid))
        });
        removed.chain(set).for_each(|line| info.extend_from_slice(line.as_bytes()));
        git.run_with(&["update-index", "-z", "--index-info"], Input::Bytes(&info))?;
        TreeId::parse(&git.line(&["write-tree"])?)
    }

    fn between(&self, from: &TreeId, to: &TreeId) -> Result<Patch, RepoError> {
        let caps = &self.inner.caps;
        let common = ["-r", "--no-renames", "--no-ext-diff", "--no-textconv"];
        let call = |more: &[&str]| {
            let args: Vec<&str> =
                ["diff-tree"].iter().chain(&common).chain(more).copied().chain([from.as_str(), to.as_str()]).collect();
            self.inner.git.clone().output_max(usize::try_from(caps.patch_bytes).unwrap_or(usize::MAX)).run(&args)
        };
        let bytes = call(&["-p", "--binary", "--full-index"])?;
        let changes = changes(&call(&["--name-status", "-z"])?);
        limit("files of the patch", changes.len() as u64, caps.patch_files)?;
        Ok(Patch { bytes, changes, lines: lines(&call(&["--numstat", "-z"])?), left_out: Vec::new() })
    }
}

fn changes(listing: &[u8]) -> Vec<Change> {
    let mut fields = listing.split(|b| *b == 0).map(|field| String::from_utf8_lossy(field).into_owned());
    let mut changes = Vec::new();
    while let (Some(status), Some(path)) = (fields.next(), fields.next()) {
        let kind = match status.as_str() {
            "A" => ChangeKind::Added,
            "D" => ChangeKind::Deleted,
            _ => ChangeKind::Modified,
        };
        changes.push(Change { path, kind });
    }
    changes
}

fn lines(listing: &[u8]) -> u32 {
    let count =
        |text: &str| text.split('\t').take(2).filter_map(|n| n.parse::<u32>().ok()).fold(0u32, u32::saturating_add);
    listing.split(|b| *b == 0).map(|line| count(&String::from_utf8_lossy(line))).fold(0, u32::saturating_add)
}

/// What has to be done to the workspace's own tree to bring it to what lies there now.
fn edits(
    base: &BaseRepo,
    workspace: &Workspace,
    found: &[(String, Found)],
    left_out: &mut Vec<(String, String)>,
) -> Result<Vec<Edit>, RepoError> {
    let beneath = workspace.beneath()?;
    let ignored = new_and_ignored(base, workspace, found)?;
    let mut edits = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, what) in found {
        let before = workspace.placed.get(path);
        if ignored.contains(path) || (before.is_none() && ignore::is_output_file(path)) {
            continue;
        }
        seen.insert(path.as_str());
        match edit(&beneath, path, *what, before, workspace.file_max)? {
            Verdict::Same => {}
            Verdict::Set(kind, content) => edits.push(Edit { path: path.clone(), set: Some((kind, content)) }),
            Verdict::LeaveOut(why) => left_out.push((path.clone(), why.to_owned())),
        }
        limit("files of the patch", edits.len() as u64, base.inner.caps.patch_files)?;
    }
    let gone = workspace
        .placed
        .iter()
        .filter(|(path, placed)| placed.kind != Kind::Submodule && !seen.contains(path.as_str()));
    edits.splice(0..0, gone.map(|(path, _)| Edit { path: path.clone(), set: None }));
    Ok(edits)
}

fn new_and_ignored(
    base: &BaseRepo,
    workspace: &Workspace,
    found: &[(String, Found)],
) -> Result<BTreeSet<String>, RepoError> {
    let new = found.iter().map(|(path, _)| path).filter(|path| !workspace.placed.contains_key(*path));
    ignore::ignored(base, &new.cloned().collect::<Vec<_>>())
}

enum Verdict {
    Same,
    Set(Kind, Vec<u8>),
    LeaveOut(&'static str),
}

fn edit(beneath: &Beneath, path: &str, found: Found, before: Option<&Placed>, max: u64) -> Result<Verdict, RepoError> {
    // A file of the base may be larger than what is taken into a patch; it is still looked at for changes.
    let readable = before.map_or(max, |placed| placed.bytes.max(max));
    let (kind, content) = match found {
        Found::File { bytes, .. } if bytes > readable => {
            return Ok(Verdict::LeaveOut("it is too large"));
        }
        Found::File { .. } => match beneath.read(path, readable)? {
            Some((content, true)) => (Kind::Executable, content),
            Some((content, false)) => (Kind::File, content),
            None => return Ok(Verdict::Same),
        },
        Found::Link => (Kind::Link, beneath.read_link(path)?.into_bytes()),
        Found::Dir | Found::Odd => return Ok(Verdict::LeaveOut("it is neither a file nor a link")),
    };
    // A link that was written as a file stays a link.
    let kind = if before.is_some_and(|placed| placed.inert) && kind == Kind::File { Kind::Link } else { kind };
    if before.is_some_and(|placed| placed.kind == kind && placed.digest == blake3::hash(&content)) {
        return Ok(Verdict::Same);
    }
    let leads_out = || !std::str::from_utf8(&content).is_ok_and(|target| link_stays_inside(path, target));
    if kind == Kind::Link && leads_out() {
        return Ok(Verdict::LeaveOut("it is a link that leads out of the tree"));
    }
    if content.len() as u64 > max {
        return Ok(Verdict::LeaveOut("it is too large"));
    }
    Ok(Verdict::Set(kind, content))
}

/// Makes blobs of the edits' contents and a tree of the index with the edits.
fn write_tree(git: &Git, place: &std::path::Path, edits: &[Edit]) -> Result<TreeId, RepoError> {
    let mut paths = String::new();
    for (n, edit) in edits.iter().enumerate() {
        if let Some((_, content)) = &edit.set {
            let file = place.join(format!("blob-{n}"));
            std::fs::write(&file, content).map_err(RepoError::io(&file))?;
            paths.push_str(&format!("{}\n", file.display()));
        }
    }
    let ids = git.run_with(&["hash-object", "-w", "--no-filters", "--stdin-paths"], Input::Bytes(paths.as_bytes()))?;
    let ids = String::from_utf8_lossy(&ids).into_owned();
    let mut ids = ids.lines();
    let mut info = Vec::new();
    for edit in edits {
        let line = match &edit.set {
            Some((kind, _)) => format!("{} {}\t{}\0", kind.mode(), ids.next().unwrap_or_default(), edit.path),
            None => format!("0 {}\t{}\0", "0".repeat(40), edit.path),
        };
        info.extend_from_slice(line.as_bytes());
    }
    git.run_with(&["update-index", "-z", "--index-info"], Input::Bytes(&info))?;
    TreeId::parse(&git.line(&["write-tree"])?)
}
