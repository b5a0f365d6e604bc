//! What the client does with the user's own checkout: looks at it, packs its HEAD, and takes a result in as a new branch.
//!
//! Nothing of the checkout is ever written but objects and that one new branch; an existing branch never moves. Programs
//! that the repository's own configuration names (filters, hooks, monitors) aren't run.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bundle::{self, BundleFile};
use super::git::{Git, Input, make_bare};
use super::{Caps, CommitId, RepoError};

/// What the client needs to know of a checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoFacts {
    /// Top of the checkout.
    pub top: PathBuf,
    /// The git directory that holds objects and branches, shared between linked worktrees.
    pub git_dir: PathBuf,
    /// The first commit of the history; names the project.
    pub root_commit: CommitId,
    /// What HEAD is, and the job's base.
    pub head: CommitId,
    /// The current branch; none when HEAD is detached.
    pub branch: Option<String>,
    /// Files under version control differ from HEAD. They aren't sent: HEAD is.
    pub dirty: bool,
    /// Files that aren't under version control and aren't ignored. They aren't sent either.
    pub untracked: usize,
}

/// Looks at the checkout that a path lies in; says what is wrong with it, and what to do, if it can't be used.
pub fn inspect(path: &Path) -> Result<RepoFacts, RepoError> {
    if !path.is_dir() {
        return Err(RepoError::NoSuchPath(path.to_owned()));
    }
    let path = &path.canonicalize().map_err(RepoError::io(path))?;
    let finder = Git::found_from(path);
    let git_dir = find_git_dir(&finder, path)?;
    let says = |args: &[&str]| finder.line(args);
    if says(&["rev-parse", "--is-bare-repository"])? == "true"
        || says(&["rev-parse", "--is-inside-work-tree"])? != "true"
    {
        return Err(RepoError::Bare(path.clone()));
    }
    if says(&["rev-parse", "--show-object-format"])? != "sha1" {
        return Err(RepoError::Unsupported {
            what: "a repository with SHA-256 ids".to_owned(),
            remedy: "use one with SHA-1 ids".to_owned(),
        });
    }
    let head = finder.attempt(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], Input::Nothing)?;
    if head.code != Some(0) {
        return Err(RepoError::Empty(path.clone()));
    }
    if says(&["rev-parse", "--is-shallow-repository"])? == "true" {
        return Err(RepoError::Shallow(path.clone()));
    }
    let top = PathBuf::from(says(&["rev-parse", "--show-toplevel"])?);
    let head: CommitId = String::from_utf8_lossy(&head.stdout).trim().parse()?;
    let branch = finder.attempt(&["symbolic-ref", "--quiet", "--short", "HEAD"], Input::Nothing)?;
    let branch = (branch.code == Some(0)).then(|| String::from_utf8_lossy(&branch.stdout).trim().to_owned());
    let inert = without_filters(Git::found_from(&top))?;
    let dirty = is_dirty(&inert, &finder)?;
    let untracked =
        inert.run(&["ls-files", "--others", "--exclude-standard", "-z"])?.iter().filter(|b| **b == 0).count();
    Ok(RepoFacts { root_commit: root_commit(&finder)?, top, git_dir, head, branch, dirty, untracked })
}

fn find_git_dir(finder: &Git, path: &Path) -> Result<PathBuf, RepoError> {
    let found = finder.attempt(&["rev-parse", "--path-format=absolute", "--git-common-dir"], Input::Nothing)?;
    if found.code == Some(0) {
        return Ok(PathBuf::from(String::from_utf8_lossy(&found.stdout).trim_end_matches('\n')));
    }
    if found.stderr.contains("dubious ownership") {
        return Err(RepoError::Unsupported {
            what: format!("{}, which belongs to another user,", path.display()),
            remedy: "run as its owner, or clone it for yourself".to_owned(),
        });
    }
    if found.stderr.contains("not a git repository") {
        return Err(RepoError::NotARepository(path.to_owned()));
    }
    Err(RepoError::Git { command: "rev-parse".to_owned(), detail: found.stderr.trim().chars().take(300).collect() })
}

fn root_commit(git: &Git) -> Result<CommitId, RepoError> {
    let roots = git.line(&["rev-list", "--topo-order", "--max-parents=0", "HEAD"])?;
    roots.lines().last().unwrap_or_default().parse()
}

/// Turns off every filter that the repository's configuration names: looking at a file mustn't run a program.
fn without_filters(git: Git) -> Result<Git, RepoError> {
    let named = git.attempt(&["config", "--name-only", "-z", "--get-regexp", r"^filter\."], Input::Nothing)?;
    let mut git = git;
    for name in named.stdout.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name);
        git = if name.ends_with(".required") {
            git.setting(format!("{name}=false"))
        } else {
            git.setting(format!("{name}="))
        };
    }
    Ok(git)
}

/// Compares with HEAD through a copy of the index, so that the user's isn't refreshed behind their back.
fn is_dirty(git: &Git, finder: &Git) -> Result<bool, RepoError> {
    let own = finder.line(&["rev-parse", "--path-format=absolute", "--git-path", "index"])?;
    let place = tempfile::tempdir().map_err(RepoError::io("a temporary directory"))?;
    let copy = place.path().join("index");
    if Path::new(&own).exists() {
        std::fs::copy(&own, &copy).map_err(RepoError::io(&own))?;
    }
    let git = git.clone().index(&copy);
    git.attempt(&["update-index", "-q", "--refresh", "--ignore-submodules"], Input::Nothing)?;
    let outcome =
        git.attempt(&["diff-index", "--quiet", "--ignore-submodules", "--no-ext-diff", "HEAD", "--"], Input::Nothing)?;
    Ok(outcome.code != Some(0))
}

/// The commit that a branch, a tag, or the beginning of an id stands for.
pub fn resolve(path: &Path, name: &str) -> Result<CommitId, RepoError> {
    let git = Git::found_from(path);
    find_git_dir(&git, path)?;
    let wanted = format!("{name}^{{commit}}");
    let found = git.attempt(&["rev-parse", "--verify", "--quiet", &wanted], Input::Nothing)?;
    match found.code {
        Some(0) if !name.starts_with('-') => String::from_utf8_lossy(&found.stdout).trim().parse(),
        _ => Err(RepoError::NoSuchCommit { name: name.chars().take(80).collect(), path: path.to_owned() }),
    }
}

/// What a commit brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// Against the base, in git's patch format, binary files included.
    pub patch: Vec<u8>,
    /// Its message, with the trailers.
    pub message: String,
}

/// What a commit brings against its base; both are in the repository that the path lies in.
pub fn brought(path: &Path, base: &CommitId, commit: &CommitId) -> Result<Brought, RepoError> {
    let git = Git::at(&find_git_dir(&Git::found_from(path), path)?);
    let both = [base.as_str(), commit.as_str()];
    let how = ["diff-tree", "-r", "--no-renames", "--no-ext-diff", "--no-textconv", "-p", "--binary", "--full-index"];
    let patch = git.run(&[how.as_slice(), &both].concat())?;
    let whole = git.run(&["cat-file", "commit", commit.as_str()])?;
    let whole = String::from_utf8_lossy(&whole);
    let message = whole.split_once("\n\n").map(|(_, message)| message.to_owned()).unwrap_or_default();
    Ok(Brought { patch, message })
}

/// Writes the bundle of `facts.head` with its whole history to a file.
pub fn make_pack(facts: &RepoFacts, out: &Path) -> Result<u64, RepoError> {
    let file = std::fs::File::create(out).map_err(RepoError::io(out))?;
    let mut writer = BufWriter::new(file);
    bundle::write(&Git::at(&facts.git_dir), &facts.head, "HEAD", None, &mut writer)?;
    writer.flush().map_err(RepoError::io(out))?;
    Ok(std::fs::metadata(out).map_err(RepoError::io(out))?.len())
}

/// Takes the result of a job in as a new branch, and gives the commit it points to.
///
/// The bundle must bring exactly `refs/heads/<branch>`, of whole and well-formed objects, descended from `base`. They are
/// unpacked beside the repository and checked before anything of them reaches it.
pub fn import_result(path: &Path, bundle: &Path, base: &CommitId, branch: &str) -> Result<CommitId, RepoError> {
    let git_dir = find_git_dir(&Git::found_from(path), path)?;
    let git = Git::at(&git_dir);
    let full = format!("refs/heads/{branch}");
    check_branch(&git, branch, &full)?;
    let caps = Caps::default();
    let bundle = BundleFile::open(bundle, &caps)?;
    let tip = match bundle.head.refs.as_slice() {
        [(tip, name)] if *name == full => tip.clone(),
        refs => {
            return Err(RepoError::BadBundle(format!(
                "it should bring {full} and nothing else, and brings {} refs",
                refs.len()
            )));
        }
    };
    if bundle.head.needs.iter().any(|need| need != base) {
        return Err(RepoError::BadBundle("it rests on commits other than the job's base".to_owned()));
    }
    match existing(&git, &full)? {
        Some(at) if at == tip => return Ok(tip),
        Some(at) => {
            return Err(RepoError::BranchExists { branch: branch.to_owned(), at: at.to_string() });
        }
        None => {}
    }
    try_aside(&git_dir, &bundle, base, &tip, &caps)?;
    bundle.unpack(&git, &caps)?;
    let none = "0".repeat(40);
    match git.attempt(&["update-ref", &full, tip.as_str(), &none], Input::Nothing)?.code {
        Some(0) => Ok(tip),
        _ => match existing(&git, &full)? {
            Some(at) if at == tip => Ok(tip),
            Some(at) => Err(RepoError::BranchExists { branch: branch.to_owned(), at: at.to_string() }),
            None => {
                Err(RepoError::Git { command: "update-ref".to_owned(), detail: format!("{full} could not be made") })
            }
        },
    }
}

fn check_branch(git: &Git, branch: &str, full: &str) -> Result<(), RepoError> {
    let well_formed =
        !branch.starts_with('-') && git.attempt(&["check-ref-format", full], Input::Nothing)?.code == Some(0);
    if well_formed {
        Ok(())
    } else {
        Err(RepoError::BadName { what: "branch name", value: branch.chars().take(80).collect() })
    }
}

fn existing(git: &Git, name: &str) -> Result<Option<CommitId>, RepoError> {
    let found = git.attempt(&["rev-parse", "--verify", "--quiet", name], Input::Nothing)?;
    if found.code != Some(0) {
        return Ok(None);
    }
    String::from_utf8_lossy(&found.stdout).trim().parse().map(Some)
}

/// Unpacks into a repository that only borrows the user's objects, and checks there that the commit descends from the base.
fn try_aside(
    git_dir: &Path,
    bundle: &BundleFile,
    base: &CommitId,
    tip: &CommitId,
    caps: &Caps,
) -> Result<(), RepoError> {
    let place = tempfile::tempdir().map_err(RepoError::io("a temporary directory"))?;
    make_bare(place.path())?;
    let aside = Git::at(place.path()).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", git_dir.join("objects"));
    let not_descended = || RepoError::NotDescended { commit: tip.to_string(), base: base.to_string() };
    if aside.attempt(&["cat-file", "-e", &format!("{base}^{{commit}}")], Input::Nothing)?.code != Some(0) {
        return Err(not_descended());
    }
    bundle.unpack(&aside, caps)?;
    if aside.attempt(&["merge-base", "--is-ancestor", base.as_str(), tip.as_str()], Input::Nothing)?.code != Some(0) {
        return Err(not_descended());
    }
    let whole = ["rev-list", "--objects", "--quiet", tip.as_str(), &format!("^{base}")];
    aside.run(&whole).map(drop).map_err(|error| RepoError::BadBundle(format!("it isn't whole: {error}")))
}
