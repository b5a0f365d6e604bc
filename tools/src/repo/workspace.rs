//! A workspace: the plain files of a tree, without any git in it, for a program to read and write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::beneath::{Beneath, Found};
use super::tree::{Kind, TreeId};
use super::{RepoError, ignore};

/// What was put at a path when the workspace was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) kind: Kind,
    pub(super) oid: String,
    /// Of the file's content, or of a link's target.
    pub(super) digest: blake3::Hash,
    /// A link that leads out of the tree: written as a plain file that holds its target.
    pub(super) inert: bool,
    pub(super) bytes: u64,
}

/// The plain files of a tree.
///
/// It may be written by anyone inside the sandbox, so it is only ever read beneath its root and without following links,
/// and nothing that is found in it is executed on the node.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub(super) dir: PathBuf,
    pub(super) tree: TreeId,
    pub(super) placed: Arc<BTreeMap<String, Placed>>,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) file_max: u64,
}

impl Workspace {
    /// The directory that holds the files; a command sees it as `/work`.
    pub fn root(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// A directory for build output, which is no part of the tree; a command sees it as `/scratch`.
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    /// The tree that it was made from.
    pub fn tree(&self) -> &TreeId {
        &self.tree
    }

    /// The content of a plain file; none if there is none of that name. Give a normal path.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RepoError> {
        Ok(self.beneath()?.read(path, self.file_max)?.map(|(content, _)| content))
    }

    /// Writes a file in one step; an existing one keeps its executable bit. Give a normal path.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), RepoError> {
        let beneath = self.beneath()?;
        let executable = beneath.is_executable(path);
        beneath.write(path, content, executable)
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, path: &str) -> Result<(), RepoError> {
        self.beneath()?.remove(path)
    }

    /// Every plain file by path with its size, in order; at most `max`. Caches and build output are left out.
    pub fn files(&self, max: usize) -> Result<Vec<(String, u64)>, RepoError> {
        let found = self.walk(max)?;
        Ok(found
            .into_iter()
            .filter_map(|(path, found)| match found {
                Found::File { bytes, .. } => Some((path, bytes)),
                _ => None,
            })
            .collect())
    }

    /// Whether a path holds what was put there when the workspace was made.
    pub fn is_untouched(&self, path: &str) -> Result<bool, RepoError> {
        let beneath = self.beneath()?;
        match self.placed.get(path) {
            Some(placed) if placed.kind == Kind::Link && !placed.inert => {
                Ok(beneath.read_link(path).is_ok_and(|target| blake3::hash(target.as_bytes()) == placed.digest))
            }
            Some(placed) if placed.kind != Kind::Submodule => {
                let now = beneath.read(path, placed.bytes).ok().flatten();
                let executable = placed.kind == Kind::Executable;
                Ok(now.is_some_and(|(content, mode)| mode == executable && blake3::hash(&content) == placed.digest))
            }
            _ => Ok(beneath.read(path, self.file_max)?.is_none()),
        }
    }

    /// The paths that were put there when it was made.
    pub fn placed(&self) -> impl Iterator<Item = &str> {
        self.placed.keys().map(String::as_str)
    }

    /// Whether the path was put there when it was made.
    pub fn has_placed(&self, path: &str) -> bool {
        self.placed.contains_key(path)
    }

    /// Removes the workspace and all in it.
    pub fn discard(self) -> Result<(), RepoError> {
        remove_tree(&self.dir)
    }

    pub(super) fn beneath(&self) -> Result<Beneath, RepoError> {
        Beneath::open(&self.root(), self.owner)
    }

    /// Everything but directories, by path, in order; refuses more than `max`.
    pub(super) fn walk(&self, max: usize) -> Result<Vec<(String, Found)>, RepoError> {
        let beneath = self.beneath()?;
        let mut all = Vec::new();
        let mut pending = vec![String::new()];
        while let Some(dir) = pending.pop() {
            for (name, found) in beneath.list(&dir)? {
                let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
                if super::path::check(&path).is_err() {
                    continue;
                }
                match found {
                    Found::Dir if self.enters(&path, &name) => pending.push(path),
                    Found::Dir => {}
                    other => all.push((path, other)),
                }
                super::bundle::limit("files of the workspace", (all.len() + pending.len()) as u64, max as u64)?;
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    fn enters(&self, path: &str, name: &str) -> bool {
        !ignore::is_output_dir(name) || self.has_placed_below(path)
    }

    fn has_placed_below(&self, path: &str) -> bool {
        let start = format!("{path}/");
        self.placed.range(start.clone()..).next().is_some_and(|(first, _)| first.starts_with(&start))
    }
}

/// Removes a directory that a hostile program may have filled; makes directories accessible where that is needed.
pub(crate) fn remove_tree(dir: &Path) -> Result<(), RepoError> {
    match std::fs::remove_dir_all(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(RepoError::io(dir)(error)),
    }
}
