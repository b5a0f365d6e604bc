//! Port: how control messages get to other nodes.

use std::time::Duration;

use futures::future::BoxFuture;
use thiserror::Error;

use crate::id::NodeId;

/// Brings a call to another node and its answer back. The caller is known to the other side by its certificate.
pub trait Carrier: Send + Sync + 'static {
    fn call(
        &self,
        to: NodeId,
        message: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, CarrierError>>;
}

/// Why a call brought no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CarrierError {
    /// It certainly didn't get there: safe to call again.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have been carried out.
    #[error("no answer ({0}); it may have been carried out")]
    Unknown(String),
    /// The other node said no.
    #[error("refused: {0}")]
    Refused(String),
}

impl CarrierError {
    /// Stable, for people and programs that look it up: `docs/errors.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "FLT-C014",
            Self::Unknown(_) => "FLT-C015",
            Self::Refused(_) => "FLT-C016",
        }
    }
}
