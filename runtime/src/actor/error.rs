//! What can go wrong with an actor and on the way to one.

use thiserror::Error;

/// Why an actor ended or didn't start.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ActorError {
    /// The actor said so itself.
    #[error("{0}")]
    Failed(String),
    /// A handler panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// A child failed more often than its supervision allows.
    #[error("gave up on its children: {0}")]
    Escalated(String),
    /// The actor it should be started under is ending.
    #[error("its parent is ending")]
    ParentEnding,
    /// The parent already has a child of that name.
    #[error("there is already a child named {0:?}")]
    NameTaken(String),
}

impl ActorError {
    /// Any error as the reason for which an actor ends.
    pub fn failed(why: impl std::fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// Why a message was not accepted. It certainly was not handled.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// It couldn't be sent at all: safe to try again.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The mailbox is full: safe to try again later.
    #[error("the mailbox is full")]
    Busy,
    /// The actor has ended and won't come back.
    #[error("the actor is gone")]
    Gone,
}

/// Why a question has no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AskError {
    /// It couldn't be sent at all: safe to ask again.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The mailbox stayed full until the deadline: safe to ask again later.
    #[error("the mailbox is full")]
    Busy,
    /// The actor has ended and won't come back.
    #[error("the actor is gone")]
    Gone,
    /// It was sent, and no answer will come or came in time: it may have been handled.
    #[error("no answer ({0}); it may have been handled")]
    Unknown(&'static str),
}

impl From<SendError> for AskError {
    fn from(e: SendError) -> Self {
        match e {
            SendError::NotSent(why) => Self::NotSent(why),
            SendError::Busy => Self::Busy,
            SendError::Gone => Self::Gone,
        }
    }
}
