//! A Fleet node.

use std::process::ExitCode;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The sandbox re-executes this program; that must be dealt with while there is one thread.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == "__sandbox") {
        fleet_tools::sandbox::sandbox_main();
    }
    fleet::daemon::main()
}
