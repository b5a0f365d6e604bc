//! Whole-system tests: real processes of both programs, a real git repository, the sandbox, and the mock engine's script.
//! One binary, so that it is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod access;
mod bad_input;
mod cluster;
mod crash;
mod gpu;
mod harness;
mod kill;
mod members;
mod misbehaviour;
mod model_bench;
mod network;
mod network_faults;
mod openai;
mod start;
mod story;
mod story_bench;
#[path = "../../inference/tests/tiny/mod.rs"]
mod tiny;
mod traces;
