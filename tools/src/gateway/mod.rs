//! The only way to a tool.
//!
//! ```text
//! ToolCall ─▶ policy ─▶ validation ─▶ intention (event) ─▶ run or edit ─▶ outcome (event) ─▶ ToolResult
//! ```
//!
//! The [`GatewayHandle`] opens workspaces; each has a tool actor of its own, supervised by the gateway's actor, that takes
//! one call at a time. A call is an effect: what was recorded is given back, not done again. After a crash the agent's
//! calls are repeated in order; those that changed the workspace are applied to the fresh one, and answer as recorded.

mod call;
mod desk;
mod gate;
mod guard;
mod loops;
pub mod output;
mod runs;
mod tool_actor;
mod tools;

pub use call::{ToolCall, ToolError, ToolResult, WorkspaceSpec};
pub use gate::{GatewayHandle, GatewayOptions, WorkspaceRef};
pub use guard::{EditGuard, ShowAll};
pub use loops::{LoopGuard, LoopSign};
pub use tools::{TOOLS, ToolInfo, tool_info};

#[cfg(test)]
mod tests;
