//! Jobs: work that was acknowledged and therefore gets done.
//!
//! [`JobsCore`] folds the recorded events and decides what runs next; the jobs actor behind the
//! [`Jobs`] handle records, starts, stops and recovers. What a job does is its [`JobKind`]'s
//! business: here a job is `{kind, spec}`.
//!
//! Each run is a [`JobRunner`], an actor that may be on any node. It reports to the service when it
//! comes up and is told what to run; a run whose node is lost is queued again and finds its own
//! history. A service that begins anew learns from the runners' reports what is still running.

mod core;
mod event;
mod explain;
mod handle;
mod host;
mod kind;
mod options;
mod placer;
mod queue;
mod ranks;
mod record;
mod run;
mod runner;
mod service;

#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod service_tests;

pub use core::{Admission, Decision, JobsCore, RunEnd};
pub use event::JobEvent;
pub use handle::{Jobs, JobsPorts};
pub use host::{JobHost, RunOrder};
pub use kind::{JobContext, JobKind, WaitingHandle};
pub use options::JobsOptions;
pub use placer::{InTheCluster, OnThisNode, RunPlacer};
pub use record::{JobError, JobOutcome, JobPage, JobRecord, JobState, JobSubmit};
pub use runner::{JobRunner, RunnerArgs, RunnerMsg};
pub use service::JobsMsg;
