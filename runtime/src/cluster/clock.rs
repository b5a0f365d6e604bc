//! The clock of leases.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME: never set, and goes on while the machine sleeps or the process is stopped.
pub(super) fn boot_time() -> Duration {
    // Linux has had this clock since 2.6.39; a system without it can't keep a lease and must not try.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
}
