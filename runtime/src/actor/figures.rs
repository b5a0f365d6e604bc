//! What the actors of a process have done and have before them, by the kind of their messages; never by actor, of which
//! there may be any number.

use std::collections::BTreeMap;

/// The actors of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindFigures {
    /// Actors that are here now.
    pub actors: u64,
    /// Messages that were handled, also by actors that have ended since.
    pub handled: u64,
    /// Messages that wait in their mailboxes.
    pub waiting: u64,
    /// Those that wait in the fullest of these.
    pub fullest: u64,
}

/// By [`Message::KIND`](super::Message::KIND).
pub type ActorFigures = BTreeMap<&'static str, KindFigures>;

/// One actor's part.
pub(crate) struct SlotFigures {
    pub(crate) kind: &'static str,
    pub(crate) handled: u64,
    pub(crate) waiting: u64,
}

impl SlotFigures {
    pub(super) fn add_to(&self, all: &mut ActorFigures) {
        let of_kind = all.entry(self.kind).or_default();
        of_kind.actors += 1;
        of_kind.handled += self.handled;
        of_kind.waiting += self.waiting;
        of_kind.fullest = of_kind.fullest.max(self.waiting);
    }
}
