//! Fleet's tools: everything that touches a repository or runs a command.
//!
//! ```text
//! agent ── ToolCall ──▶ gateway ── policy ──▶ validation ──▶ sandbox or file edit ──▶ ToolResult
//!                          └─ intention and outcome are events ─┘
//! base pack ─▶ repo (base + patches) ─▶ workspace ─▶ diff ─▶ verify (fresh checkout) ─▶ commit ─▶ bundle
//! ```
//!
//! No tool runs any other way than through the [`gateway`], and no verdict is given in a workspace that an agent used:
//! [`verify`] makes a fresh one. This crate knows nothing of models, prompts or stories.

pub mod gateway;
pub mod policy;
pub mod repo;
pub mod results;
pub mod run;
pub mod sandbox;
pub mod spectrum;
pub mod syntax;
pub mod verify;

#[cfg(test)]
mod sandboxed_tests;
