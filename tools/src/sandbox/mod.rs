//! Runs other people's programs so that they can do no harm.
//!
//! A run is confined by layers, each of which holds when another fails: bubblewrap gives it namespaces and a
//! minimal root, seccomp takes kernel interfaces away that no build or test needs, a cgroup bounds memory and
//! processes for the whole tree, rlimits bound each process, and all of it runs as an unprivileged user.
//!
//! ```text
//! fleetd ── spec on stdin ──▶ helper (re-executed fleetd, one thread, outside the cgroup)
//!                               └─ fork: join cgroup → private mounts → rlimits → drop privileges → exec bwrap
//!                                          └─ pid 1 of a new pid namespace └─ the command
//! fleetd ◀─ result on stdout ── helper: deadline, output clipping, kill, cgroup figures, cleaning
//! ```
//!
//! The helper watches its stdin: when fleetd closes it or dies, the tree is killed. When the helper itself is killed,
//! bwrap dies with it (PDEATHSIG) and its pid namespace with bwrap. What a power cut leaves, [`Sandbox::sweep`] removes.
//!
//! There is no weaker tier behind this one: where a layer is missing, [`Sandbox::detect`] refuses and names the remedy.
//! It isn't a virtual machine: a hole in the kernel is a hole in the sandbox.

mod cgroup;
mod clip;
mod error;
mod helper;
mod launch;
mod ledger;
mod limits;
mod options;
mod probe;
mod run;
mod seccomp;
mod sys;
mod toolchain;

use std::future::Future;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::Uid;

pub use clip::Clip;
pub use error::SandboxError;
pub use helper::{HELPER_ARGUMENT, sandbox_main};
pub use limits::Limits;
pub use options::{Check, SandboxOptions};
pub use run::{Bind, Run, RunResult, Stop};
pub use toolchain::{Toolchain, Toolchains};

#[cfg(test)]
crate::helper_before_main!();

/// The sandbox of a node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bwrap: PathBuf,
    helper: PathBuf,
    state_dir: Option<PathBuf>,
    /// Where each run's control group is made; none only if the configuration allows that by name.
    parents: Option<cgroup::Parents>,
    /// The user and group to become, where the node is root.
    drop_to: Option<u32>,
    tier: String,
    notes: Vec<String>,
}

impl Sandbox {
    /// Tries every layer on this machine; refuses, with the remedy, if one is missing. Takes some tens of milliseconds.
    pub fn detect(options: &SandboxOptions) -> Result<Self, SandboxError> {
        let survey = probe::survey(options);
        survey.sandbox.ok_or_else(|| {
            let failed = survey.checks.into_iter().find(|check| !check.ok);
            let (what, remedy) =
                failed.map(|check| (format!("{}: {}", check.name, check.detail), check.remedy)).unwrap_or_default();
            SandboxError::Unavailable { what, remedy: remedy.unwrap_or_default() }
        })
    }

    /// What [`Sandbox::detect`] finds, line by line, and which toolchains there are.
    pub fn doctor(options: &SandboxOptions) -> Vec<Check> {
        let mut checks = probe::survey(options).checks;
        checks.extend(probe::toolchains());
        checks
    }

    /// What runs are confined by, e.g. `bwrap+seccomp+cgroup-v1`.
    pub fn tier(&self) -> &str {
        &self.0.tier
    }

    /// User and group that a workspace must belong to; none if the node's own user runs the commands.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.0.drop_to.map(|id| (id, id))
    }

    /// Gives a directory and all in it to [`Sandbox::owner`]; follows no symbolic link.
    pub fn adopt(&self, dir: &Path) -> Result<(), SandboxError> {
        let Some((user, group)) = self.owner() else {
            return Ok(());
        };
        let mut todo = vec![dir.to_path_buf()];
        while let Some(path) = todo.pop() {
            lchown(&path, Some(user), Some(group)).map_err(SandboxError::io(&path))?;
            if path.symlink_metadata().map_err(SandboxError::io(&path))?.is_dir() {
                let listing = std::fs::read_dir(&path).map_err(SandboxError::io(&path))?;
                todo.extend(listing.flatten().map(|entry| entry.path()));
            }
        }
        Ok(())
    }

    /// Runs a command to its end, to a limit, or until `cancel` completes. Dropping the future kills the command.
    pub async fn run(&self, run: Run, cancel: impl Future<Output = ()> + Send) -> Result<RunResult, SandboxError> {
        let spec = self.resolve(&run)?;
        self.launch(spec, run.stdin, cancel).await
    }

    fn assemble(options: &SandboxOptions, parents: Option<cgroup::Parents>) -> Self {
        let layer = parents.as_ref().map_or("rlimits", |parents| parents.version());
        let notes = match parents {
            Some(_) => Vec::new(),
            None => vec![
                "no control group: the memory limit held for each process, the process limit for all runs together"
                    .to_owned(),
            ],
        };
        Self(Arc::new(Inner {
            bwrap: options.bwrap.clone(),
            helper: options.helper.clone().unwrap_or_else(probe::this_program),
            state_dir: options.state_dir.clone(),
            tier: format!("bwrap+seccomp+{layer}"),
            parents,
            drop_to: Uid::current().is_root().then_some(options.uid),
            notes,
        }))
    }

    fn bwrap(&self) -> &Path {
        &self.0.bwrap
    }

    fn helper(&self) -> &Path {
        &self.0.helper
    }

    fn state_dir(&self) -> Option<&Path> {
        self.0.state_dir.as_deref()
    }

    fn notes(&self) -> &[String] {
        &self.0.notes
    }

    fn new_leaf(&self) -> Option<cgroup::Leaf> {
        self.0.parents.as_ref().map(|parents| parents.leaf(&format!("fleet-{}", uuid::Uuid::new_v4().simple())))
    }
}
