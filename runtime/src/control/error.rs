//! What can go wrong between gateways.

use std::sync::Arc;

use crate::id::NodeId;
use crate::net::{ClusterId, NetError};

/// Why a call, a cast or an attachment failed. [`ControlError::may_have_run`] tells whether a retry is safe.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// There is no link, or the other node is stopping. It wasn't handled: try again once there is a link.
    #[error("no link to node {0}")]
    NotSent(NodeId),
    /// It was sent, but there is no answer. It may have been handled: retry only what may be done twice.
    #[error("node {node} gave no answer: {why}")]
    Unknown { node: NodeId, why: &'static str },
    /// The other node's handler said no.
    #[error("refused: {0}")]
    Refused(String),
    /// Too much is under way, here or at the other node (`there`). It wasn't handled: try again later.
    #[error("too much is under way {} node {node}; try again later", if *there { "at" } else { "to" })]
    Busy { node: NodeId, there: bool },
    /// It wasn't sent. Send less, or a blob.
    #[error("a message of {bytes} bytes is over the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// It was handled, but its answer is over the limit.
    #[error("node {0} has handled it, but the answer is over the limit of a message")]
    AnswerTooLarge(NodeId),

    /// The link didn't come up in time. Dial again.
    #[error("the link to node {0} didn't come up in time")]
    AttachDeadline(NodeId),
    /// Another link to that node took its place, or keeps it. Use that one.
    #[error("another link to node {0} has taken the place of this one")]
    Superseded(NodeId),
    /// The link ended before it was up. Dial again.
    #[error("the link to node {node} ended before it was up: {why}")]
    Broken { node: NodeId, why: &'static str },
    /// A node doesn't dial itself.
    #[error("{0} is this node itself")]
    Oneself(NodeId),
    /// The stream belongs to another cluster.
    #[error("the peer belongs to cluster {found}, not to {expected}")]
    OtherCluster { expected: ClusterId, found: ClusterId },
    /// The stream's secret can't be had.
    #[error(transparent)]
    Link(#[from] NetError),

    #[error("option {option}: {what}")]
    BadOption { option: &'static str, what: &'static str },
    /// There is one already in this process: ractor's registry knows no two nodes.
    #[error("this process has a control plane already")]
    AnotherOne,
    /// ractor didn't start. A fault of this program or machine.
    #[error("the control plane can't start: {0}")]
    Start(Arc<str>),
    #[error("the control plane is stopped")]
    Stopped,
}

impl ControlError {
    /// Whether the other node may have handled the message all the same.
    pub fn may_have_run(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::AnswerTooLarge(_) | Self::Refused(_))
    }

    /// Stable, for people and programs that look it up: `docs/errors.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Link(e) => e.code(),
            Self::NotSent(_) => "FLT-P001",
            Self::Unknown { .. } => "FLT-P002",
            Self::Refused(_) => "FLT-P003",
            Self::Busy { .. } => "FLT-P004",
            Self::TooLarge { .. } => "FLT-P005",
            Self::AnswerTooLarge(_) => "FLT-P006",
            Self::AttachDeadline(_) => "FLT-P007",
            Self::Superseded(_) => "FLT-P008",
            Self::Broken { .. } => "FLT-P009",
            Self::Oneself(_) => "FLT-P010",
            Self::OtherCluster { .. } => "FLT-P011",
            Self::BadOption { .. } => "FLT-P012",
            Self::AnotherOne => "FLT-P013",
            Self::Start(_) => "FLT-P014",
            Self::Stopped => "FLT-P015",
        }
    }

    pub(super) fn start(why: impl std::fmt::Display) -> Self {
        Self::Start(why.to_string().into())
    }
}
