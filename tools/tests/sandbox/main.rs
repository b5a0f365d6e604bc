//! The sandbox as an attacker and as a developer meet it: real bubblewrap, real kernel, checked from outside.
//!
//! Attacks are Python programs, bounded by construction: one that gets through does no harm to the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test says what went wrong")]

mod attacks;
mod bounds;
mod lifetime;
mod place;
mod start_up;
mod work;

fleet_tools::helper_before_main!();
