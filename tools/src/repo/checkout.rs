//! Writes a tree out as plain files. Git's own checkout isn't used: it knows filters, hooks and attributes, this doesn't.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::beneath::Beneath;
use super::path::link_stays_inside;
use super::tree::{self, Entry, Kind, Objects, TreeId};
use super::workspace::{Placed, remove_tree};
use super::{BaseRepo, RepoError, Workspace};

impl BaseRepo {
    /// Makes a workspace of the base, or of the base plus a patch, in `dest`, which is emptied first.
    pub fn checkout(
        &self,
        dest: &Path,
        patch: Option<&[u8]>,
        owner: Option<(u32, u32)>,
    ) -> Result<Workspace, RepoError> {
        let tree = match patch {
            Some(patch) => self.apply(patch)?,
            None => self.inner.tree.clone(),
        };
        self.checkout_tree(&tree, dest, owner)
    }

    /// Makes a workspace of a tree that [`BaseRepo::apply`] has made.
    ///
    /// Links that lead out of the tree become plain files that hold their target; submodules are left out.
    pub fn checkout_tree(&self, tree: &TreeId, dest: &Path, owner: Option<(u32, u32)>) -> Result<Workspace, RepoError> {
        remove_tree(dest)?;
        for name in ["tree", "scratch"] {
            let dir = dest.join(name);
            std::fs::create_dir_all(&dir).map_err(RepoError::io(&dir))?;
            if let Some((uid, gid)) = owner {
                std::os::unix::fs::chown(&dir, Some(uid), Some(gid)).map_err(RepoError::io(&dir))?;
            }
        }
        let entries = tree::list(&self.inner.git, tree.as_str(), &self.inner.caps)?;
        let placed = place(&entries, Objects::of(&self.inner.git)?, &Beneath::open(&dest.join("tree"), owner)?)?;
        Ok(Workspace {
            dir: dest.to_owned(),
            tree: tree.clone(),
            placed: Arc::new(placed),
            owner,
            file_max: self.inner.caps.file_bytes,
        })
    }
}

impl BaseRepo {
    /// Brings one path of a workspace back to what was put there when it was made.
    pub fn put_back(&self, workspace: &Workspace, path: &str) -> Result<(), RepoError> {
        let Some(placed) = workspace.placed.get(path).filter(|placed| placed.kind != Kind::Submodule) else {
            return Ok(());
        };
        let content = Objects::of(&self.inner.git)?.read(&placed.oid, u64::MAX)?;
        let beneath = workspace.beneath()?;
        if placed.kind == Kind::Link && !placed.inert {
            beneath.remove(path)?;
            return beneath.make_link(path, &String::from_utf8_lossy(&content));
        }
        beneath.write(path, &content, placed.kind == Kind::Executable)
    }
}

/// Writes files first and links last, so that nothing is ever written through a link of the tree itself.
fn place(
    entries: &BTreeMap<String, Entry>,
    mut objects: Objects,
    to: &Beneath,
) -> Result<BTreeMap<String, Placed>, RepoError> {
    let mut placed = BTreeMap::new();
    let mut links = Vec::new();
    for (path, entry) in entries {
        if entry.kind == Kind::Submodule {
            placed.insert(
                path.clone(),
                Placed { kind: entry.kind, oid: entry.oid.clone(), digest: blake3::hash(b""), inert: false, bytes: 0 },
            );
            continue;
        }
        let content = objects.read(&entry.oid, u64::MAX)?;
        let digest = blake3::hash(&content);
        let target = std::str::from_utf8(&content).ok().filter(|target| link_stays_inside(path, target));
        let inert = match (entry.kind, target) {
            (Kind::Link, Some(target)) => {
                links.push((path, target.to_owned()));
                false
            }
            (kind, _) => {
                to.write(path, &content, kind == Kind::Executable)?;
                kind == Kind::Link
            }
        };
        placed.insert(
            path.clone(),
            Placed { kind: entry.kind, oid: entry.oid.clone(), digest, inert, bytes: content.len() as u64 },
        );
    }
    for (path, target) in links {
        to.make_link(path, &target)?;
    }
    Ok(placed)
}
