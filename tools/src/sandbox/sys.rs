//! The system calls that have no safe wrapper. Nothing here decides anything.
#![expect(
    unsafe_code,
    reason = "fork, pidfd, close_range, prctl and raw waits have no safe interface; kept in one place"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;

/// Which side of [`fork`] this is.
pub(crate) enum Forked {
    Parent(i32),
    Child,
}

/// Splits the process in two. Refuses unless the process has a single thread: the child may then run any code.
pub(crate) fn fork() -> io::Result<Forked> {
    if thread_count()? != 1 {
        return Err(io::Error::other("the sandbox helper must run before any thread is started"));
    }
    // SAFETY: there is only one thread, so no lock can be held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// A descriptor that becomes readable when the process ends.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers; the result is checked before it is owned.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Marks every descriptor from 3 up as closed on exec.
pub(crate) fn cloexec_all() -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: takes three integers and only sets flags.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets a descriptor live through exec.
pub(crate) fn keep_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `fd` is open for the duration of the call.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Lets reads of a descriptor return at once.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `fd` is open for the duration of both calls.
    let done = unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        flags != -1 && libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) != -1
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends the process at once: no exit handler of a program that was forked may run twice.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: doesn't return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Writing to a pipe that nobody reads is an error, not a death.
pub(crate) fn ignore_broken_pipe() -> io::Result<()> {
    handle(libc::SIGPIPE, libc::SIG_IGN)
}

/// A command starts with every signal as the kernel made it: `yes | head` relies on it.
pub(crate) fn default_signals() -> io::Result<()> {
    for signal in 1..=31 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            handle(signal, libc::SIG_DFL)?;
        }
    }
    nix::sys::signal::SigSet::empty().thread_set_mask().map_err(io::Error::from)
}

fn handle(signal: i32, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: installs no code of ours, only one of the kernel's two standard answers.
    match unsafe { libc::signal(signal, action) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Makes a program its own sandbox helper without a line in its `main`; meant for test programs, which have none.
/// Put it once at the top of the file.
#[macro_export]
macro_rules! helper_before_main {
    () => {
        /// Lets this test program serve as its own sandbox helper: runs before `main`, so before any thread.
        #[allow(unsafe_code, reason = "a function can only be placed in .init_array by naming the section")]
        #[used]
        #[unsafe(link_section = ".init_array")]
        static SANDBOX_HELPER_BEFORE_MAIN: extern "C" fn() = {
            extern "C" fn enter() {
                if std::env::args_os().nth(1).is_some_and(|arg| arg == "__sandbox") {
                    $crate::sandbox::sandbox_main()
                }
            }
            enter
        };
    };
}
