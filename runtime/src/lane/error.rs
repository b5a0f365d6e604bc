//! Why a lane ended.

use thiserror::Error;

use crate::codec::CodecError;

/// Why a lane ended. Questions under way are told [`Unknown`](crate::AskError::Unknown); a new lane may be opened.
#[derive(Debug, Error)]
pub enum LaneError {
    /// The other node closed the connection, or is gone.
    #[error("the other node closed the lane")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The other node speaks another protocol, or what it sent was altered on the way.
    #[error("the other node broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("the other node sent what can't be read: {0}")]
    Codec(#[from] CodecError),
    /// This node ended it.
    #[error("ended here")]
    Ended,
}
