//! The helper: the running program, executed again as `… __sandbox`, with one thread and one run to look after.
//!
//! It reads a request from stdin, forks the half that becomes bubblewrap, watches over it from outside its cgroup and
//! writes a reply to stdout. End of stdin means that nobody wants the answer any more: the tree is killed.

mod bwrap;
mod child;
mod disk;
mod mounts;
mod output;
pub(super) mod spec;
mod supervise;

use std::io;
use std::os::fd::AsFd;

use crate::sandbox::sys;
use spec::{Reply, read_request, write_reply};

/// The argument by which a program knows that it is the helper.
pub const HELPER_ARGUMENT: &str = "__sandbox";

/// The helper's program, for `argv[1] == "__sandbox"`. Call it before any thread is started; it doesn't return.
pub fn sandbox_main() -> ! {
    let code = match serve() {
        Ok(()) => 0,
        // Nobody to tell: whoever asked is gone, or never asked.
        Err(_) => 70,
    };
    std::process::exit(code)
}

fn serve() -> io::Result<()> {
    // Out of the terminal's group: Ctrl-C is for fleetd, which ends runs in an orderly way.
    let _ = nix::unistd::setsid();
    // Pid 1 of a sandbox whose bubblewrap has died becomes our child, to be killed and reaped here.
    nix::sys::prctl::set_child_subreaper(true)?;
    sys::ignore_broken_pipe()?;
    let (spec, stdin) = {
        let mut input = io::stdin().lock();
        read_request(&mut input)?
    };
    let (reply, clips) = supervise::run(&spec, stdin.as_deref(), io::stdin().as_fd())
        .unwrap_or_else(|why| (Reply::SetupFailed(why), Default::default()));
    write_reply(&mut io::stdout().lock(), &reply, &clips)
}
