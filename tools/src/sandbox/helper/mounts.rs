//! Brings what the command may see to where the sandbox's user can reach it.
//!
//! Only where the node is root: a workspace or toolchain may lie below a home that nobody else may enter. In a mount
//! namespace of our own each is bound to a place below `/tmp`, over which an empty file system was laid; outside,
//! nothing of this shows.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::bwrap::Place;
use super::spec::Spec;

const STAGE: &str = "/tmp";

/// What the command sees, where it lies now.
pub(super) fn places(spec: &Spec) -> Vec<Place> {
    let place = |source: &Path, target: &Path, writable| Place {
        source: source.to_path_buf(),
        target: target.to_path_buf(),
        writable,
    };
    let mut all = vec![place(&spec.workspace, Path::new("/work"), true)];
    all.extend(spec.scratch.iter().map(|dir| place(dir, Path::new("/scratch"), true)));
    all.extend(spec.read_only.iter().map(|bind| place(&bind.source, &bind.target, false)));
    all
}

/// Binds every place below the stage, in a new mount namespace; the places then name where they are.
pub(super) fn stage(places: &mut [Place]) -> Result<(), String> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| format!("unshare mounts: {error}"))?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| format!("make / private: {error}"))?;
    // All are opened before the stage hides what lies below it.
    let opened = places.iter().map(|place| open(&place.source)).collect::<Result<Vec<_>, _>>()?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), STAGE, Some("tmpfs"), flags, Some("size=256k,mode=0755"))
        .map_err(|error| format!("mount a stage on {STAGE}: {error}"))?;
    for (index, (place, fd)) in places.iter_mut().zip(&opened).enumerate() {
        place.source = bind(index, fd).map_err(|error| format!("bind {}: {error}", place.source.display()))?;
    }
    Ok(())
}

/// No component may be a link: the command wrote the workspace, and we are root.
fn open(path: &Path) -> Result<OwnedFd, String> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(AT_FDCWD, path, how).map_err(|error| format!("open {}: {error}", path.display()))
}

fn bind(index: usize, fd: &OwnedFd) -> std::io::Result<PathBuf> {
    let target = Path::new(STAGE).join(index.to_string());
    let source = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    if std::fs::metadata(&source)?.is_dir() {
        std::fs::create_dir(&target)?;
    } else {
        File::create(&target)?;
    }
    let none: Option<&str> = None;
    mount(Some(&source), &target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
    Ok(target)
}
