//! Fleet's runtime: actors, supervision, the journal, effects, jobs and blobs.
//!
//! It knows nothing of models, prompts, tools or stories: to it a job is a kind and a JSON
//! specification. What it needs from above (who may do what, what is secret, which GPUs there
//! are) comes in through ports: [`auth::Authorizer`], [`redact::Redactor`],
//! [`probe::ResourceProbe`].
//!
//! Everything that must outlive the process goes through the [`journal`]; an action on the
//! outside world goes through [`effect::Effects`], so that what was recorded isn't done twice.

pub mod actor;
pub mod auth;
pub mod blob;
pub mod cluster;
pub mod codec;
pub mod control;
pub mod effect;
pub mod error;
pub mod id;
pub mod job;
pub mod journal;
pub mod kept;
pub mod lane;
pub mod membership;
pub mod net;
pub mod placement;
pub mod probe;
pub mod progress;
pub mod redact;
pub mod stream;
pub mod supervise;
pub mod time;
pub mod trace;

pub use actor::{
    Actor, ActorAddr, ActorError, AskError, Context, Json, Message, Payload, Ref, ReplyTo, SendError, System,
};
pub use blob::{BlobError, BlobOptions, BlobStore, Blobs, BlobsOptions, Digest};
pub use codec::{CodecError, Wire};
pub use effect::{EffectClass, EffectError, EffectRun, EffectSpec, Effects};
pub use error::Error;
pub use id::{ActorId, Generation, Incarnation, JobId, NodeId, Position, ProjectId, Seq, StreamId};
pub use job::{
    JobContext, JobError, JobKind, JobOutcome, JobPage, JobRecord, JobState, JobSubmit, Jobs, JobsOptions, JobsPorts,
};
pub use journal::{
    Append, Author, Entity, EntityRef, Envelope, Expected, Fact, Hash, Journal, JournalError, JournalOptions, NewEvent,
    OpenReport, SqliteJournal, StreamHead, VerifyReport,
};
pub use kept::{Kept, StateStore};
pub use progress::{Progress, ProgressBus, ProgressItem, ProgressWatch};
pub use redact::{NoSecrets, Redacted, Redactor};
pub use stream::StreamWriter;
pub use supervise::{Backoff, ChildOptions, Intensity, Restart, Strategy, SupervisorOptions};
pub use time::Timestamp;
pub use trace::{TraceContext, TraceId};
