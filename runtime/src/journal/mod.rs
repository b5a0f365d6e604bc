//! The journal: the append-only truth, of which everything else is a projection.
//!
//! [`event`] says what an event is, [`store`] what a journal must do, [`sqlite`] does it on one
//! machine's disk, [`verify`] checks the hash chain of each stream. Payloads are JSON, since a
//! journal is read for years and by more than this program; what travels between processes uses
//! [`crate::codec`].

pub mod event;
mod hash;
mod remote;
mod service;
pub mod sqlite;
pub mod store;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod testing;
pub mod verify;

pub use event::{Author, Entity, EntityRef, Envelope, Fact, NewEvent};
pub use hash::Hash;
pub use remote::RemoteJournal;
pub use service::{JournalMsg, JournalService, JournalServiceArgs};
pub use sqlite::{Cut, JournalOptions, OpenReport, SqliteJournal};
pub use store::{Append, Expected, Journal, JournalError, StreamHead};
pub use verify::{ChainBreak, ChainCheck, VerifyReport};
