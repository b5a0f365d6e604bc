//! The software team: turns a story into a verified commit, or into a failure that says why.
//!
//! ```text
//! story text ─▶ Story ─▶ StoryCore (pure) ─▶ commands ─▶ team (actors) ─▶ events ─▶ journal
//!                            ▲                                                        │
//!                            └──────────────── fold ◀─────────────────────────────────┤
//!                                                        report, narrate ◀────────────┘
//! ```
//!
//! What is decided, is decided by pure code over recorded events: which step is next ([`core`]),
//! where to begin ([`localise`]), which proposal stands first ([`core::rank`]), who may approve
//! ([`gate`]). The actors in [`team`] carry it out through the node's memory, engine and tools, and
//! know nothing that isn't in the journal. No module knows any particular story.

mod cases;
pub mod core;
pub mod event;
mod facts;
pub mod gate;
pub mod localise;
pub mod narrate;
pub mod options;
pub mod plain;
pub mod plan;
mod probes;
pub mod prompt;
mod record;
pub mod reply;
pub mod report;
pub mod role;
#[cfg(test)]
mod sample;
pub mod spec;
pub mod story;
pub mod team;

pub use gate::{Approval, ApprovalError, Approvals, Decision};
pub use options::TeamOptions;
pub use report::Report;
pub use role::{Role, RoleError, Roles};
pub use spec::{Approve, StoryLimits, StorySpec};
pub use story::{Story, StoryError};
pub use team::{SecretGuard, Services, StoryJob};
