//! Whole stories on a whole node: real journal, real git, real sandbox, real runs; only the model is a script.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what went wrong")]

mod crashes;
mod gate;
mod real;
mod refusals;
mod solving;
mod world;

fleet_tools::helper_before_main!();
