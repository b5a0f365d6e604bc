//! The forked half of the helper: takes on every bound, gives up every right, becomes bubblewrap.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{
    Gid, Pid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, execve, getppid, setgroups, setresgid, setresuid,
};

use super::bwrap::{Fds, MADE, arguments};
use super::mounts;
use super::spec::Spec;
use crate::sandbox::{Limits, seccomp, sys};

/// What the supervisor hands over.
pub(super) struct Inherited {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) status: OwnedFd,
    pub(super) supervisor: Pid,
}

type Step<T> = Result<T, String>;

/// Returns only if it failed; the text says where.
pub(super) fn become_bwrap(spec: &Spec, inherited: &Inherited) -> Step<Infallible> {
    join_cgroup(spec)?;
    let mut places = mounts::places(spec);
    if spec.drop_to.is_some() {
        mounts::stage(&mut places)?;
    }
    let data = Data::prepare()?;
    let args = arguments(spec, &places, &data.fds(inherited.status.as_raw_fd()));
    let args = data_file("args", args.join("\0").as_bytes())?;
    bound(spec)?;
    drop_privileges(spec.drop_to)?;
    die_with(inherited.supervisor)?;
    connect(inherited, &data, &args)?;
    exec(spec, args.as_raw_fd())
}

/// First of all, so that everything from here on is counted.
fn join_cgroup(spec: &Spec) -> Step<()> {
    for file in spec.leaf.iter().flat_map(|leaf| leaf.join_files()) {
        std::fs::write(&file, "0").map_err(|error| format!("join {}: {error}", file.display()))?;
    }
    Ok(())
}

/// What bubblewrap reads from descriptors.
struct Data {
    seccomp: Vec<OwnedFd>,
    files: Vec<(&'static str, OwnedFd)>,
}

impl Data {
    fn prepare() -> Step<Self> {
        let seccomp = seccomp::programs()?.iter().map(|p| data_file("seccomp", p)).collect::<Step<_>>()?;
        let files =
            MADE.iter().map(|(name, text)| Ok((*name, data_file(name, text.as_bytes())?))).collect::<Step<_>>()?;
        Ok(Self { seccomp, files })
    }

    fn fds(&self, status: RawFd) -> Fds {
        Fds {
            status,
            seccomp: self.seccomp.iter().map(AsRawFd::as_raw_fd).collect(),
            files: self.files.iter().map(|(name, fd)| (*name, fd.as_raw_fd())).collect(),
        }
    }
}

/// A file in memory, to be read from its start.
pub(super) fn data_file(name: &str, bytes: &[u8]) -> Step<OwnedFd> {
    use std::io::Seek;
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC).map_err(|error| format!("memfd {name}: {error}"))?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes).and_then(|()| file.rewind()).map_err(|error| format!("memfd {name}: {error}"))?;
    Ok(file.into())
}

fn bound(spec: &Spec) -> Step<()> {
    // Should the machine run out of memory, a sandbox goes before the node does. Raising it is always allowed.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let Limits { cpu, file_bytes, memory, pids, .. } = &spec.limits;
    let set = |what: Resource, limit: u64| {
        setrlimit(what, limit, limit).map_err(|error| format!("rlimit {what:?} = {limit}: {error}"))
    };
    set(Resource::RLIMIT_CORE, 0)?;
    set(Resource::RLIMIT_FSIZE, file_bytes.as_u64())?;
    set(Resource::RLIMIT_CPU, cpu.as_secs().max(1) + 1)?;
    lower(Resource::RLIMIT_NOFILE, 4096)?;
    if spec.leaf.is_none() {
        set(Resource::RLIMIT_AS, memory.as_u64())?;
        // Counted by user, not by run: what that user runs already must not use it up.
        let user = spec.drop_to.unwrap_or_else(|| Uid::current().as_raw());
        lower(Resource::RLIMIT_NPROC, u64::from(*pids) + threads_of(user))?;
    }
    Ok(())
}

fn threads_of(user: u32) -> u64 {
    let Ok(listing) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let of = |status: &str, key: &str| {
        status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
    };
    listing
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok())
        .filter(|status| of(status, "Uid:") == Some(u64::from(user)))
        .filter_map(|status| of(&status, "Threads:"))
        .sum()
}

/// Sets a limit, or keeps the one there is if it is lower already and we may not raise it.
fn lower(what: Resource, limit: u64) -> Step<()> {
    let fail = |error| format!("rlimit {what:?} = {limit}: {error}");
    let (_, hard) = nix::sys::resource::getrlimit(what).map_err(fail)?;
    let limit = limit.min(hard);
    setrlimit(what, limit, limit).map_err(fail)
}

fn drop_privileges(to: Option<u32>) -> Step<()> {
    let Some(id) = to else { return Ok(()) };
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    setgroups(&[]).map_err(|error| format!("drop groups: {error}"))?;
    setresgid(group, group, group).map_err(|error| format!("become group {id}: {error}"))?;
    setresuid(user, user, user).map_err(|error| format!("become user {id}: {error}"))
}

/// After the change of user, which clears it.
fn die_with(supervisor: Pid) -> Step<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("pdeathsig: {error}"))?;
    if getppid() == supervisor { Ok(()) } else { Err("the supervisor is gone".to_owned()) }
}

fn connect(inherited: &Inherited, data: &Data, args: &OwnedFd) -> Step<()> {
    let fail = |error: std::io::Error| format!("descriptors: {error}");
    dup2_stdin(&inherited.stdin).map_err(|error| fail(error.into()))?;
    dup2_stdout(&inherited.stdout).map_err(|error| fail(error.into()))?;
    dup2_stderr(&inherited.stderr).map_err(|error| fail(error.into()))?;
    sys::cloexec_all().map_err(fail)?;
    let keep: Vec<BorrowedFd<'_>> = data
        .seccomp
        .iter()
        .chain(data.files.iter().map(|(_, fd)| fd))
        .chain([args, &inherited.status])
        .map(AsFd::as_fd)
        .collect();
    keep.into_iter().try_for_each(sys::keep_on_exec).map_err(fail)?;
    sys::default_signals().map_err(fail)
}

fn exec(spec: &Spec, args: RawFd) -> Step<Infallible> {
    let command = ["bwrap", "--args", &args.to_string(), "--"].map(str::to_owned);
    let argv = command
        .iter()
        .chain(&spec.argv)
        .map(|arg| CString::new(arg.as_str()).map_err(|_| "an argument holds a zero byte".to_owned()))
        .collect::<Step<Vec<_>>>()?;
    let program = c_path(&spec.bwrap)?;
    let none: [&CStr; 0] = [];
    execve(&program, &argv, &none).map_err(|error| format!("execute {}: {error}", spec.bwrap.display()))
}

fn c_path(path: &Path) -> Step<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| "a path holds a zero byte".to_owned())
}
