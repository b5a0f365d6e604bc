//! One incarnation of a node as the control node sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::known::{KnownMember, Standing, SuspicionReason};
use super::message::{Grant, NodeFacts, NodeLoad, Refusal, RefusalReason, Renewal};
use super::options::MembershipOptions;
use super::phi::Rhythm;
use crate::id::{Incarnation, NodeId};

/// What a person sees of a member's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    Joining,
    Alive,
    Suspect,
    /// Also while it is suspected; then [`Member::suspicion`] says so.
    Draining,
    Dead,
    Left,
}

impl MemberState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

/// Why and since when a member is suspected, and what others found when they looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    pub why: SuspicionReason,
    /// When the last good sign came.
    pub since: Duration,
    /// Members that were asked to look, and whether they reached it. If they did, it is the path between
    /// it and the control node that is broken: its lease runs out all the same.
    pub probes: BTreeMap<NodeId, bool>,
}

/// A member as `fleet node list` and `explain` show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub facts: NodeFacts,
    pub load: NodeLoad,
    pub state: MemberState,
    pub suspicion: Option<Suspicion>,
    /// φ of its present silence.
    pub level: f64,
    /// When its last renewal arrived.
    pub last_renewal: Duration,
    /// From when on it counts as dead unless it renews.
    pub lease_ends: Duration,
    pub linked: bool,
}

#[derive(Debug)]
pub(super) struct Life {
    pub incarnation: Incarnation,
    pub facts: NodeFacts,
    pub load: NodeLoad,
    pub standing: Standing,
    pub forgotten: bool,
    /// Whether we have a link to it.
    pub linked: bool,
    pub suspicion: Option<Suspicion>,
    pub rhythm: Rhythm,
    /// It never had a lease, so there is none to wait for.
    pub never_granted: bool,
    /// Until when a lease of ours may be in force; before the first, until when we wait for it.
    pub lease_end: Duration,
    last_seq: Option<u64>,
    /// `sent_at` of its first renewal that we saw.
    first_sent: Duration,
    /// `sent_at` of its latest renewal that we granted.
    granted: Option<Duration>,
}

impl Life {
    pub fn new(incarnation: Incarnation, facts: NodeFacts, options: &MembershipOptions, now: Duration) -> Self {
        Self {
            incarnation,
            facts,
            load: NodeLoad::default(),
            standing: Standing::Joining,
            forgotten: false,
            linked: true,
            suspicion: None,
            rhythm: Rhythm::new(options, now),
            never_granted: true,
            lease_end: now + options.lease,
            last_seq: None,
            first_sent: Duration::ZERO,
            granted: None,
        }
    }

    /// As it has to be taken after a restart: the last grant may have been given just now.
    pub fn restored(known: KnownMember, options: &MembershipOptions, now: Duration) -> Self {
        let suspicion = Suspicion { why: SuspicionReason::Silent, since: now, probes: BTreeMap::new() };
        Self {
            standing: known.standing,
            forgotten: known.forgotten,
            linked: false,
            suspicion: known.suspect.then_some(suspicion),
            never_granted: false,
            ..Self::new(known.incarnation, known.facts, options, now)
        }
    }

    /// Why this incarnation of the node gets no lease, if it doesn't.
    pub fn refuses(&self, incarnation: Incarnation) -> Option<Refusal> {
        let why = match incarnation.cmp(&self.incarnation) {
            std::cmp::Ordering::Less => RefusalReason::OldIncarnation,
            std::cmp::Ordering::Greater => RefusalReason::Unknown,
            std::cmp::Ordering::Equal if self.forgotten => RefusalReason::Forgotten,
            std::cmp::Ordering::Equal => match self.standing {
                Standing::Dead => RefusalReason::Dead,
                Standing::Left => RefusalReason::Left,
                Standing::Joining | Standing::Up | Standing::Draining => return None,
            },
        };
        Some(Refusal { incarnation, why, above: incarnation.max(self.incarnation) })
    }

    /// Takes a renewal in; false if a later one has been answered already.
    pub fn hear(&mut self, renewal: &Renewal, load: NodeLoad, now: Duration) -> bool {
        if self.last_seq.is_some_and(|last| renewal.seq <= last) {
            return false;
        }
        if self.last_seq.is_none() {
            self.first_sent = renewal.sent_at;
        }
        self.last_seq = Some(renewal.seq);
        self.load = load;
        self.rhythm.beat(now);
        true
    }

    /// For how long, when it sent this, the node had heard no grant. Both times are of its own clock.
    pub fn unheard(&self, renewal: &Renewal) -> Duration {
        renewal.sent_at.saturating_sub(renewal.acked.unwrap_or(self.first_sent))
    }

    /// The answer to a renewal that is not refused.
    ///
    /// A node that had fenced itself when it sent this, and hasn't heard our last grant, may be deaf to
    /// us for good. Another grant would prolong, in our book only, a lease that nobody uses, and its actors
    /// would never start elsewhere. So the last grant is repeated, which prolongs nothing; once
    /// that is acknowledged, new ones are given again.
    pub fn grant(&mut self, renewal: &Renewal, options: &MembershipOptions, now: Duration) -> Grant {
        let deaf = self.unheard(renewal) >= options.fence_after;
        let echo = match self.granted {
            Some(granted) if deaf && renewal.acked.is_none_or(|acked| acked < granted) => granted,
            _ => {
                self.granted = Some(renewal.sent_at);
                self.never_granted = false;
                self.lease_end = now + options.lease;
                renewal.sent_at
            }
        };
        Grant { incarnation: self.incarnation, echo, valid_for: options.lease }
    }

    /// That much time doesn't count, because we couldn't listen.
    pub fn skip(&mut self, pause: Duration) {
        self.lease_end += pause;
        self.rhythm.skip(pause);
    }

    pub fn end(&mut self, standing: Standing) {
        self.standing = standing;
        self.suspicion = None;
    }

    /// It is well, and both directions to it work.
    pub fn is_sound(&self) -> bool {
        self.standing.is_member() && self.linked && self.suspicion.is_none() && !self.forgotten
    }

    pub fn view(&self, node: NodeId, now: Duration) -> Member {
        let state = match self.standing {
            Standing::Joining => MemberState::Joining,
            Standing::Up if self.suspicion.is_some() => MemberState::Suspect,
            Standing::Up => MemberState::Alive,
            Standing::Draining => MemberState::Draining,
            Standing::Dead => MemberState::Dead,
            Standing::Left => MemberState::Left,
        };
        Member {
            node,
            incarnation: self.incarnation,
            facts: self.facts.clone(),
            load: self.load,
            state,
            suspicion: self.suspicion.clone(),
            level: self.rhythm.level(now),
            last_renewal: self.rhythm.last(),
            lease_ends: self.lease_end,
            linked: self.linked,
        }
    }
}
