//! What has happened to a member, as it is written down, and what it adds up to after a restart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::NodeFacts;
use crate::id::{Incarnation, NodeId};

/// Something has happened to one incarnation of a node. Each is told exactly once, in this order:
///
/// `Joined`, then `Up`, then any number of pairs `Suspect`, `Recovered`, then one of `Dead`, `Left`, if
/// anything at all. `Draining` comes at most once, anywhere between `Joined` and the end, and is never
/// followed by `Up`; `Forgotten` at most once, anywhere after `Joined`. A member that never came `Up`
/// may well end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum MemberEvent {
    /// It asks to be one of us. To be durable before its first renewal is answered.
    Joined,
    /// It has its lease, and has said so: both directions work.
    Up,
    /// Something is wrong with it. It gets no new work, and nothing that it has is touched.
    Suspect {
        why: SuspicionReason,
        /// φ of its silence, 0 to 100.
        level: f64,
        /// When the last good sign came; clock of the control node.
        since: Duration,
    },
    /// It renews and hears our answers again.
    Recovered,
    /// It is being emptied: no new work, what it has may move away.
    Draining,
    /// Its lease has run out. From now on its actors may start elsewhere.
    Dead {
        /// Clock of the control node.
        lease_ended: Duration,
    },
    /// It has said that it does nothing more.
    Left,
    /// Somebody took it off the list.
    Forgotten,
}

/// What made a member suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspicionReason {
    #[error("its renewals stay away")]
    Silent,
    /// Killed, or its host, or the network between.
    #[error("its link broke")]
    LinkDown,
    /// Loss in one direction.
    #[error("its renewals arrive, but say that our grants don't reach it")]
    Unacknowledged,
}

/// How far an incarnation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Joining,
    Up,
    Draining,
    Dead,
    Left,
}

impl Standing {
    /// Whether it may hold a lease.
    pub fn is_living(self) -> bool {
        !matches!(self, Self::Dead | Self::Left)
    }

    /// Whether it has been, or may be, given work.
    pub(super) fn is_member(self) -> bool {
        matches!(self, Self::Up | Self::Draining)
    }
}

/// One incarnation of a node as its events tell it. Without times: after a restart of the control node
/// those of its former life mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownMember {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub facts: NodeFacts,
    pub standing: Standing,
    pub suspect: bool,
    pub forgotten: bool,
}

impl KnownMember {
    /// As it is after `Joined`.
    pub fn joined(node: NodeId, incarnation: Incarnation, facts: NodeFacts) -> Self {
        Self { node, incarnation, facts, standing: Standing::Joining, suspect: false, forgotten: false }
    }

    /// Takes in one more event of this incarnation.
    pub fn apply(&mut self, event: &MemberEvent) {
        match event {
            MemberEvent::Joined => {}
            MemberEvent::Up => self.standing = Standing::Up,
            MemberEvent::Suspect { .. } => self.suspect = true,
            MemberEvent::Recovered => self.suspect = false,
            MemberEvent::Draining => self.standing = Standing::Draining,
            MemberEvent::Dead { .. } => self.end(Standing::Dead),
            MemberEvent::Left => self.end(Standing::Left),
            MemberEvent::Forgotten => self.forgotten = true,
        }
    }

    fn end(&mut self, standing: Standing) {
        self.standing = standing;
        self.suspect = false;
    }
}
