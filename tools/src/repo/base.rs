//! The base of a job: a bare repository made from the bundle that the client sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::bundle::{BundleFile, limit};
use super::git::{Git, Input, make_bare};
use super::tree::{self, Entry, Kind, Objects, TreeId};
use super::{CommitId, RepoError, path};
use crate::run::Runner;
use crate::sandbox::{Limits, Run};

/// Set last, so that an import that was cut short is done again.
const BASE_REF: &str = "refs/fleet-base/commit";

/// How large a repository, a file or a patch may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Bytes of a bundle. Default 512 MiB.
    pub pack_bytes: u64,
    /// Objects in a bundle, history included. Default 2 million.
    pub objects: u64,
    /// Files in the tree. Default 100,000.
    pub files: u64,
    /// Bytes of all files in the tree. Default 2 GiB.
    pub tree_bytes: u64,
    /// Bytes of one file that is read or taken into a patch. Default 16 MiB.
    pub file_bytes: u64,
    /// Bytes of a patch. Default 8 MiB.
    pub patch_bytes: u64,
    /// Files that one patch may change. Default 500.
    pub patch_files: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            pack_bytes: 512 << 20,
            objects: 2_000_000,
            files: 100_000,
            tree_bytes: 2 << 30,
            file_bytes: 16 << 20,
            patch_bytes: 8 << 20,
            patch_files: 500,
        }
    }
}

/// The base of a job; cheap to clone.
#[derive(Debug, Clone)]
pub struct BaseRepo {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) git: Git,
    pub(super) commit: CommitId,
    pub(super) tree: TreeId,
    pub(super) files: BTreeMap<String, Entry>,
    pub(super) caps: Caps,
}

impl BaseRepo {
    /// Makes the base from a bundle. What has been imported into `dir` already is only opened.
    ///
    /// The bundle is unpacked in the sandbox first, where it can use up nothing but its own limits; only what passes
    /// there, with every object checked, is unpacked on the node.
    pub async fn import(
        pack: &Path,
        commit: &CommitId,
        dir: &Path,
        caps: &Caps,
        runner: &dyn Runner,
    ) -> Result<Self, RepoError> {
        if let Some(done) = Self::open(dir, commit, caps)? {
            return Ok(done);
        }
        let bundle = BundleFile::open(pack, caps)?;
        check_head(&bundle, commit)?;
        std::fs::create_dir_all(dir).map_err(RepoError::io(dir))?;
        quarantine(&bundle, dir, caps, runner).await?;
        let git_dir = dir.join("base.git");
        if git_dir.exists() {
            std::fs::remove_dir_all(&git_dir).map_err(RepoError::io(&git_dir))?;
        }
        make_bare(&git_dir)?;
        let git = Git::at(&git_dir);
        bundle.unpack(&git, caps)?;
        // Everything that the commit reaches must be there: a bundle of a shallow clone unpacks, and is broken.
        let reachable = git.clone().output_max(64).run(&["rev-list", "--objects", "--quiet", commit.as_str()]);
        reachable.map_err(|error| RepoError::BadBundle(format!("its history isn't whole: {error}")))?;
        let base = Self::load(dir, git.clone(), commit, caps)?;
        git.run(&["update-ref", BASE_REF, commit.as_str()])?;
        Ok(base)
    }

    /// Removes what uses that were cut short left in a base's folder. Only while nobody uses it.
    pub fn sweep(dir: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(dir)?.flatten() {
            if entry.file_name() != "base.git" {
                match entry.file_type()?.is_dir() {
                    true => std::fs::remove_dir_all(entry.path())?,
                    false => std::fs::remove_file(entry.path())?,
                }
            }
        }
        Ok(())
    }

    /// Opens what [`BaseRepo::import`] has made; none if it didn't, or not of this commit.
    pub fn open(dir: &Path, commit: &CommitId, caps: &Caps) -> Result<Option<Self>, RepoError> {
        let git_dir = dir.join("base.git");
        if !git_dir.join("HEAD").exists() {
            return Ok(None);
        }
        let git = Git::at(&git_dir);
        let outcome = git.attempt(&["rev-parse", "--verify", "--quiet", BASE_REF], Input::Nothing)?;
        if outcome.code != Some(0) || String::from_utf8_lossy(&outcome.stdout).trim() != commit.as_str() {
            return Ok(None);
        }
        Self::load(dir, git, commit, caps).map(Some)
    }

    fn load(dir: &Path, git: Git, commit: &CommitId, caps: &Caps) -> Result<Self, RepoError> {
        let tree = TreeId::parse(&git.line(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")])?)?;
        let files = tree::list(&git, tree.as_str(), caps)?;
        let inner = Inner { dir: dir.to_owned(), git, commit: commit.clone(), tree, files, caps: caps.clone() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The commit that everything starts from.
    pub fn commit_id(&self) -> &CommitId {
        &self.inner.commit
    }

    /// The limits that hold for it.
    pub fn caps(&self) -> &Caps {
        &self.inner.caps
    }

    /// Every file of the base by path, without submodules.
    pub fn head_files(&self) -> impl Iterator<Item = &str> {
        self.inner.files.iter().filter(|(_, entry)| entry.kind != Kind::Submodule).map(|(path, _)| path.as_str())
    }

    /// Whether the base has the path.
    pub fn has(&self, path: &str) -> bool {
        self.inner.files.contains_key(path)
    }

    /// A file of the base; none if there is none, or it is a link or a submodule.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RepoError> {
        match self.inner.files.get(path) {
            Some(entry) if matches!(entry.kind, Kind::File | Kind::Executable) => self.blob(&entry.oid).map(Some),
            _ => Ok(None),
        }
    }

    /// A file of a tree that [`BaseRepo::apply`] has made.
    pub fn read_in(&self, tree: &TreeId, path: &str) -> Result<Option<Vec<u8>>, RepoError> {
        let listed = tree::list_path(&self.inner.git, tree.as_str(), path)?;
        match listed {
            Some(entry) if matches!(entry.kind, Kind::File | Kind::Executable) => self.blob(&entry.oid).map(Some),
            _ => Ok(None),
        }
    }

    fn blob(&self, oid: &str) -> Result<Vec<u8>, RepoError> {
        Objects::of(&self.inner.git)?.read(oid, self.inner.caps.file_bytes)
    }

    /// The tree that is exactly the base plus the patch. Nothing but the object store is written.
    pub fn apply(&self, patch: &[u8]) -> Result<TreeId, RepoError> {
        limit("bytes of the patch", patch.len() as u64, self.inner.caps.patch_bytes)?;
        if patch.iter().all(u8::is_ascii_whitespace) {
            return Ok(self.inner.tree.clone());
        }
        let (_guard, git) = self.private_index(&self.inner.tree)?;
        let args = ["apply", "--cached", "--whitespace=nowarn", "-p1", "-"];
        let outcome = git.clone().with_rlimits().attempt(&args, Input::Bytes(patch))?;
        if outcome.code != Some(0) {
            return Err(RepoError::DoesNotApply(outcome.stderr.trim().chars().take(600).collect()));
        }
        let tree = TreeId::parse(&git.line(&["write-tree"])?)?;
        self.refuse_odd(&tree)?;
        Ok(tree)
    }

    /// Refuses trees that hold an unsafe path, a new submodule, or a new link that leads out.
    pub(super) fn refuse_odd(&self, tree: &TreeId) -> Result<(), RepoError> {
        let entries = tree::list(&self.inner.git, tree.as_str(), &self.inner.caps)?;
        for (path, entry) in &entries {
            if self.inner.files.get(path) == Some(entry) {
                continue;
            }
            let refuse = |why| Err(RepoError::UnsafePath { path: path.clone(), why });
            match entry.kind {
                Kind::Submodule => return refuse("a patch can't add or move a submodule"),
                Kind::Link => {
                    let target = self.blob(&entry.oid)?;
                    if !std::str::from_utf8(&target).is_ok_and(|target| path::link_stays_inside(path, target)) {
                        return refuse("it is a link that leads out of the tree");
                    }
                }
                Kind::File | Kind::Executable => {}
            }
        }
        Ok(())
    }

    /// A git with an index of its own that holds `tree`; the index goes with the guard.
    pub(super) fn private_index(&self, tree: &TreeId) -> Result<(TempDir, Git), RepoError> {
        let guard = tempfile::tempdir_in(&self.inner.dir).map_err(RepoError::io(&self.inner.dir))?;
        let git = self.inner.git.clone().index(&guard.path().join("index"));
        git.run(&["read-tree", tree.as_str()])?;
        Ok((guard, git))
    }
}

fn check_head(bundle: &BundleFile, commit: &CommitId) -> Result<(), RepoError> {
    if !bundle.head.needs.is_empty() {
        return Err(RepoError::BadBundle("it lacks a part of the history (it has prerequisites)".to_owned()));
    }
    match bundle.head.refs.as_slice() {
        [(tip, _)] if tip == commit => Ok(()),
        [(tip, _)] => Err(RepoError::BadBundle(format!("it brings {tip}, not {commit}"))),
        refs => Err(RepoError::BadBundle(format!("it brings {} refs, not one", refs.len()))),
    }
}

/// Unpacks the bundle in the sandbox and throws the result away.
async fn quarantine(bundle: &BundleFile, dir: &Path, caps: &Caps, runner: &dyn Runner) -> Result<(), RepoError> {
    let place = tempfile::Builder::new().prefix("quarantine-").tempdir_in(dir).map_err(RepoError::io(dir))?;
    let pack = place.path().join("in.pack");
    let mut copy = std::fs::File::create_new(&pack).map_err(RepoError::io(&pack))?;
    std::io::copy(&mut bundle.pack()?, &mut copy).map_err(RepoError::io(&pack))?;
    make_bare(&place.path().join("q.git"))?;
    runner.adopt(place.path())?;
    let max = format!("--max-input-size={}", caps.pack_bytes);
    let argv = ["git", "--git-dir=/work/q.git", "-c", "pack.threads=1", "index-pack", "--strict", &max, "--stdin"];
    let script = format!("exec {} < /work/in.pack", argv.join(" "));
    let mut run = Run::new(["/bin/sh", "-c", &script], place.path());
    run.limits = Limits { pids: 32, ..Limits::default() };
    run.env = [("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let result = runner.run(run).await?;
    if result.succeeded() {
        return Ok(());
    }
    let said = result.stderr.text();
    let why = match result.stopped {
        Some(stop) => format!("unpacking it was stopped ({stop:?})"),
        None => format!("it doesn't unpack: {}", said.trim().chars().take(300).collect::<String>()),
    };
    Err(RepoError::BadBundle(why))
}
