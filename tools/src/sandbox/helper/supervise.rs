//! Watches over one run from outside: its deadline, its output, its disk, its caller. Always leaves nothing behind.

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, pipe2};

use super::child::{Inherited, become_bwrap, data_file};
use super::disk::DiskGuard;
use super::output::Stream;
use super::spec::{Done, Reply, Spec};
use crate::sandbox::cgroup::{Leaf, Usage};
use crate::sandbox::sys::{self, Forked};
use crate::sandbox::{Clip, Stop};

/// How often processor time is looked at.
const TICK: Duration = Duration::from_millis(200);
/// How long the kernel may take to bury a killed tree.
const BURIAL: Duration = Duration::from_secs(10);

type Step<T> = Result<T, String>;

/// Runs it; `lifeline` reads as ended when the caller is gone.
pub(super) fn run(spec: &Spec, stdin: Option<&[u8]>, lifeline: BorrowedFd<'_>) -> Step<(Reply, [Clip; 2])> {
    let started = Instant::now();
    let group = Group::create(spec)?;
    let mut tree = Tree::start(spec, stdin)?;
    let stopped = tree.watch(spec, &group, lifeline, started)?;
    let ended = tree.end(&group, stopped.is_some())?;
    let usage = group.usage();
    drop(group);
    let clips = tree.output.map(Stream::finish);
    let mut exit = ended.command_exit;
    if let (None, None) = (stopped, exit) {
        exit = Some(without_report(&clips[1], usage)?);
    }
    let done = Done {
        exit: exit.filter(|_| stopped.is_none()),
        stopped,
        oom: usage.oom_kills > 0,
        wall_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        cpu_ms: usage.cpu_ms.unwrap_or(ended.cpu_ms),
        memory_peak: usage.memory_peak,
        notes: Vec::new(),
        omitted: [0, 1].map(|i| (clips[i].omitted_bytes, clips[i].omitted_lines)),
    };
    Ok((Reply::Done(done), clips))
}

/// The exit code where bubblewrap didn't report one, which a command can't bring about by what it writes.
fn without_report(stderr: &Clip, usage: Usage) -> Step<i32> {
    const NOT_FOUND: i32 = 127;
    const KILLED: i32 = 128 + 9;
    let said = String::from_utf8_lossy(&stderr.head);
    match () {
        () if usage.oom_kills > 0 => Ok(KILLED),
        () if said.starts_with("bwrap: execvp ") => Ok(NOT_FOUND),
        () => Err(format!("bubblewrap ended without a report: {}", said.trim())),
    }
}

/// The run's cgroup, which goes when this goes, with whatever is in it.
struct Group<'a>(Option<&'a Leaf>);

impl<'a> Group<'a> {
    fn create(spec: &'a Spec) -> Step<Self> {
        let group = Self(spec.leaf.as_ref());
        if let Some(leaf) = group.0 {
            leaf.create(&spec.limits).map_err(|error| format!("control group: {error}"))?;
        }
        Ok(group)
    }

    fn usage(&self) -> Usage {
        self.0.map(Leaf::usage).unwrap_or_default()
    }

    fn kill_all(&self) -> Step<()> {
        self.0.map_or(Ok(()), |leaf| leaf.kill_all(BURIAL).map_err(|error| error.to_string()))
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let _ = self.kill_all();
        if let Some(leaf) = self.0 {
            // What remains is found by the next sweep.
            let _ = leaf.remove(BURIAL);
        }
    }
}

struct Tree {
    bwrap: i32,
    pidfd: OwnedFd,
    status: File,
    status_text: Vec<u8>,
    output: [Stream; 2],
}

struct Ended {
    /// As bubblewrap reported it; none if the command never ran.
    command_exit: Option<i32>,
    cpu_ms: u64,
}

impl Tree {
    fn start(spec: &Spec, stdin: Option<&[u8]>) -> Step<Self> {
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|error| format!("pipe: {error}"));
        let (out, err, status, failure) = (pipe()?, pipe()?, pipe()?, pipe()?);
        let inherited =
            Inherited { stdin: input(stdin)?, stdout: out.1, stderr: err.1, status: status.1, supervisor: getpid() };
        let bwrap = match sys::fork().map_err(|error| format!("fork: {error}"))? {
            Forked::Parent(pid) => pid,
            Forked::Child => fail_loudly(failure.1, become_bwrap(spec, &inherited)),
        };
        drop((inherited, failure.1));
        // From here on an error must not leave the child running; it dies with us.
        let mut why = String::new();
        let _ = File::from(failure.0).read_to_string(&mut why);
        if !why.is_empty() {
            let _ = waitpid(Pid::from_raw(bwrap), None);
            return Err(why);
        }
        let keep = spec.limits.keep_bytes.as_u64();
        let stream = |fd| Stream::new(fd, keep).map_err(|error| error.to_string());
        let status = File::from(status.0);
        sys::set_nonblocking(status.as_fd()).map_err(|error| error.to_string())?;
        let pidfd = sys::pidfd_open(bwrap).map_err(|error| format!("pidfd: {error}"))?;
        Ok(Self { bwrap, pidfd, status, status_text: Vec::new(), output: [stream(out.0)?, stream(err.0)?] })
    }

    /// Until it has ended (none) or has to be stopped.
    fn watch(
        &mut self,
        spec: &Spec,
        group: &Group<'_>,
        lifeline: BorrowedFd<'_>,
        started: Instant,
    ) -> Step<Option<Stop>> {
        let limits = &spec.limits;
        let deadline = started + limits.wall;
        let roots = std::iter::once(&spec.workspace).chain(&spec.scratch).cloned().collect();
        let mut disk = DiskGuard::new(roots, limits.disk_bytes.as_u64(), started);
        let mut tick = started + TICK;
        loop {
            let until = deadline.min(disk.due()).min(tick);
            let seen = self.wait(lifeline, until)?;
            self.output.iter_mut().for_each(Stream::drain);
            let now = Instant::now();
            if self.output.iter().map(Stream::total).sum::<u64>() > limits.output_bytes.as_u64() {
                return Ok(Some(Stop::Output));
            }
            if seen.ended {
                let overfull = now >= started + TICK && disk.finish(now);
                return Ok(overfull.then_some(Stop::Disk));
            }
            if seen.caller_gone {
                return Ok(Some(Stop::Cancelled));
            }
            if now >= deadline {
                return Ok(Some(Stop::Wall));
            }
            if disk.step(now) {
                return Ok(Some(Stop::Disk));
            }
            if now >= tick {
                tick = now + TICK;
                if group.usage().cpu_ms.is_some_and(|used| u128::from(used) > limits.cpu.as_millis()) {
                    return Ok(Some(Stop::Cpu));
                }
            }
        }
    }

    fn wait(&self, lifeline: BorrowedFd<'_>, until: Instant) -> Step<Seen> {
        let mut fds =
            vec![PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(lifeline, PollFlags::POLLIN)];
        fds.extend(self.output.iter().filter_map(Stream::fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let left = until.saturating_duration_since(Instant::now());
        // A millisecond more than the rounded-down rest, or the last one would be spent spinning.
        let millis = u16::try_from(left.as_millis()).unwrap_or(u16::MAX - 1) + u16::from(!left.is_zero());
        match poll(&mut fds, PollTimeout::from(millis)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        let happened = |index: usize| fds[index].revents().is_some_and(|events| !events.is_empty());
        Ok(Seen { ended: happened(0), caller_gone: happened(1) })
    }

    /// Makes sure that nothing of the tree runs any more, and learns how it ended.
    fn end(&mut self, group: &Group<'_>, forced: bool) -> Step<Ended> {
        if forced {
            let _ = kill(Pid::from_raw(self.bwrap), Signal::SIGKILL);
        }
        // Also after a good end: what the command left in the background is stopped by its pid namespace, soon.
        group.kill_all()?;
        waitpid(Pid::from_raw(self.bwrap), None).map_err(|error| format!("wait: {error}"))?;
        bury_orphans()?;
        let cpu_ms = children_cpu_ms();
        let deadline = Instant::now() + BURIAL;
        while self.output.iter().any(|stream| stream.fd().is_some()) && Instant::now() < deadline {
            let mut fds: Vec<_> =
                self.output.iter().filter_map(Stream::fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            let _ = poll(&mut fds, PollTimeout::from(100u8));
            self.output.iter_mut().for_each(Stream::drain);
        }
        Ok(Ended { command_exit: self.reported("exit-code"), cpu_ms })
    }

    /// What bubblewrap wrote to its status descriptor, which the command can't reach: JSON objects, one after another.
    fn reported(&mut self, key: &str) -> Option<i32> {
        // Non-blocking: what there is, is read; the rest is an error that changes nothing.
        let _ = self.status.read_to_end(&mut self.status_text);
        serde_json::Deserializer::from_slice(&self.status_text)
            .into_iter::<serde_json::Value>()
            .map_while(Result::ok)
            .find_map(|object| i32::try_from(object.get(key)?.as_i64()?).ok())
    }
}

/// Kills and reaps whatever is or becomes our child, until there is none. As subreaper we inherit pid 1 of a sandbox
/// whose bubblewrap is gone, also one that was orphaned before it could ask to die with its parent; and when it is
/// reaped, so is its whole namespace.
fn bury_orphans() -> Step<()> {
    let me = getpid();
    let deadline = Instant::now() + BURIAL;
    loop {
        let children = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
        }
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(nix::errno::Errno::ECHILD) => return Ok(()),
            Ok(WaitStatus::StillAlive) if Instant::now() >= deadline => {
                return Err("a killed process does not end".to_owned());
            }
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_micros(200)),
            _ => {}
        }
    }
}

/// Processor time of all that were reaped.
fn children_cpu_ms() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return 0;
    };
    let millis = |time: TimeVal| u64::try_from(time.num_milliseconds()).unwrap_or(0);
    millis(usage.user_time()) + millis(usage.system_time())
}

fn input(stdin: Option<&[u8]>) -> Step<OwnedFd> {
    match stdin {
        Some(bytes) => data_file("stdin", bytes),
        None => File::open("/dev/null").map(OwnedFd::from).map_err(|error| format!("/dev/null: {error}")),
    }
}

/// The forked half has failed: says why to the supervisor and ends without running anything that isn't its own.
fn fail_loudly(to: OwnedFd, outcome: Step<Infallible>) -> ! {
    let Err(why) = outcome;
    let _ = File::from(to).write_all(why.as_bytes());
    sys::exit_now(125)
}

struct Seen {
    ended: bool,
    caller_gone: bool,
}
