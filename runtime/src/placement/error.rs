//! What can be wrong with what placement was given.

use crate::id::ActorId;

use super::ReservationId;

/// Why an input was refused. None of these goes away by trying the same again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The text isn't one of resources; correct that part.
    #[error("{part:?}: {rule}")]
    Syntax { part: String, rule: String },
    /// A name or an amount isn't allowed; correct it.
    #[error("{what} is not valid: {rule}")]
    Invalid { what: String, rule: &'static str },
    /// This actor waits already or has its place; cancel or release it first.
    #[error("actor {0} has been asked for already")]
    AlreadyRequested(ActorId),
    /// A gang has at least one member; leave the call out.
    #[error("a gang without members")]
    EmptyGang,
    /// The node never heard of this reservation, or has forgotten its end; ask for a new one.
    #[error("reservation {0} is not known here")]
    UnknownReservation(ReservationId),
    /// The reservation ran out or was released before the actor started; ask for a new one.
    #[error("reservation {0} has ended")]
    EndedReservation(ReservationId),
}
