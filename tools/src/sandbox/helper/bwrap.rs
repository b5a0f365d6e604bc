//! The arguments for bubblewrap: the minimal root that a command sees.
//!
//! `/usr` and a few files of `/etc` read-only, a `/proc` of its own, a bare `/dev`, sized in-memory `/tmp` and `/dev/shm`,
//! the workspace at `/work`. The root itself is read-only. They travel over a descriptor (`--args`), so that no
//! environment shows in the host's process list.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use super::spec::Spec;

/// The user and group that a command sees itself as, whoever that is outside.
const INSIDE_ID: &str = "1000";

/// What compilers and TLS libraries look for. Each costs a mount, so a third of a millisecond.
const ETC: [&str; 5] = ["alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl/certs"];

/// What the command sees at `target` lies, by now, at `source`.
pub(super) struct Place {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) writable: bool,
}

/// Descriptors that bubblewrap inherits.
pub(super) struct Fds {
    pub(super) status: RawFd,
    pub(super) seccomp: Vec<RawFd>,
    /// Small files of `/etc`: name and content.
    pub(super) files: Vec<(&'static str, RawFd)>,
}

/// Small files of `/etc` that are made rather than shown: the host's name its users and networks.
pub(super) const MADE: [(&str, &str); 4] = [
    ("passwd", "sandbox:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"),
    ("group", "sandbox:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

pub(super) fn arguments(spec: &Spec, places: &[Place], fds: &Fds) -> Vec<String> {
    let mut args = Args::default();
    isolation(&mut args);
    for (key, value) in &spec.env {
        args.add(["--setenv", key, value]);
    }
    system(&mut args, fds);
    let tmp = spec.limits.tmp_bytes.as_u64().to_string();
    args.add(["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]);
    args.add(["--perms", "1777", "--size", &tmp, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]);
    args.add(["--perms", "1777", "--size", &tmp, "--tmpfs", "/tmp"]);
    for place in places {
        let how = if place.writable { "--bind" } else { "--ro-bind" };
        args.add([how, &text(&place.source), &text(&place.target)]);
    }
    args.add(["--remount-ro", "/", "--chdir", &spec.cwd]);
    for fd in &fds.seccomp {
        args.add(["--add-seccomp-fd", &fd.to_string()]);
    }
    args.add(["--json-status-fd", &fds.status.to_string()]);
    args.0
}

fn isolation(args: &mut Args) {
    args.add([
        "--unshare-user",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]);
    args.add(["--uid", INSIDE_ID, "--gid", INSIDE_ID, "--disable-userns", "--cap-drop", "ALL"]);
    args.add(["--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"]);
}

fn system(args: &mut Args, fds: &Fds) {
    args.add(["--ro-bind", "/usr", "/usr"]);
    for dir in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let path = format!("/{dir}");
        match std::fs::read_link(&path) {
            Ok(target) => args.add(["--symlink", &text(&target), &path]),
            Err(_) => args.add(["--ro-bind-try", &path, &path]),
        }
    }
    for name in ETC {
        let path = format!("/etc/{name}");
        args.add(["--ro-bind-try", &path, &path]);
    }
    for (name, fd) in &fds.files {
        // Into the root itself, which is closed in the end: no mount.
        args.add(["--perms", "0444", "--file", &fd.to_string(), &format!("/etc/{name}")]);
    }
}

/// Every path of a spec was checked to be UTF-8 when the request was made.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn add<const N: usize>(&mut self, args: [&str; N]) {
        self.0.extend(args.map(str::to_owned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> String {
        let spec = Spec {
            bwrap: "/usr/bin/bwrap".into(),
            argv: vec!["true".into()],
            workspace: "/ws".into(),
            cwd: "/work".into(),
            scratch: None,
            read_only: vec![],
            env: vec![("A".into(), "b c".into())],
            limits: Default::default(),
            drop_to: None,
            leaf: None,
        };
        let places = [Place { source: "/ws".into(), target: "/work".into(), writable: true }];
        arguments(&spec, &places, &Fds { status: 9, seccomp: vec![7, 8], files: vec![("passwd", 6)] }).join(" ")
    }

    #[test]
    fn every_namespace_is_new_and_can_not_be_nested() {
        let args = sample();
        for needed in
            ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--disable-userns", "--cap-drop ALL"]
        {
            assert!(args.contains(needed), "{needed}");
        }
    }

    #[test]
    fn the_root_is_closed_after_the_last_place_was_put_in() {
        let args = sample();
        let (bind, close) = (args.find("--bind /ws /work"), args.find("--remount-ro / "));
        assert!(bind.is_some() && bind < close, "{args}");
    }

    #[test]
    fn of_etc_only_what_is_named_is_shown() {
        assert!(!sample().contains("--ro-bind /etc /etc"));
        assert!(!sample().contains("/etc/shadow"));
    }
}
