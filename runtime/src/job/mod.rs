//! Jobs: work that was acknowledged and therefore gets done.
//!
//! [`JobsCore`] folds the recorded events and decides what runs next; the jobs actor behind the
//! [`Jobs`] handle records, starts, stops and recovers. What a job does is its [`JobKind`]'s
//! business: here a job is `{kind, spec}`. A job that the process lost is queued again when the
//! service starts, and finds its own history there.

mod core;
mod event;
mod explain;
mod handle;
mod kind;
mod options;
mod record;
mod run;
mod service;

#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod service_tests;

#[cfg(test)]
pub(crate) use core::Admission;
pub use core::{Decision, JobsCore, RunEnd};
pub use event::JobEvent;
pub use handle::{Jobs, JobsPorts};
pub use kind::{JobContext, JobKind, WaitingHandle};
pub use options::JobsOptions;
pub use record::{JobError, JobOutcome, JobRecord, JobState, JobSubmit};
