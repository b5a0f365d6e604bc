//! What agents may see, and what nobody may.
//!
//! Two concerns live here, both fed by the journal and owning no truth of their own:
//!
//! - [`redact`]: secrets are replaced by placeholders *before* the first durable write. The runtime
//!   asks for it through its `Redactor` port; nothing is appended that did not pass through it.
//! - [`bundle`]: a context bundle is what one agent sees in one phase: scoped by role, within a
//!   token budget, deterministic, hashed, with a list of what was left out and why.
//!
//! Facts of the journal are folded into a [`projection`] per stream; it can be dropped at any time
//! and is rebuilt from the journal. This crate knows nothing of models, tools or stories: an
//! entity's kind is a word to it.

pub mod actor;
pub mod bundle;
pub mod error;
pub mod projection;
pub mod redact;
pub mod tokens;

pub use actor::{MemoryActor, MemoryArgs, MemoryHandle, MemoryMessage, MemoryOptions};
pub use bundle::{BundleRequest, ContextBundle, Material, Omitted, Section};
pub use error::MemoryError;
pub use redact::{EditRefused, Placeholders, SecretRedactor};
pub use tokens::estimate_tokens;
