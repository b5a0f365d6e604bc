//! What a node has given away: it has the last word.
//!
//! The control node plans by what it last heard; here is decided. A reservation is kept for its
//! time to live until the actor has started, then until it is released. The same call twice has
//! the effect of one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use super::{Amounts, PlacementError, Request, ReservationId, Resources, Short};

/// How many ended reservations are remembered, so that a call that comes late doesn't revive one.
/// An older one that is revived all the same runs out by its time to live.
const REMEMBERED: usize = 4096;

/// What is free on a node. A higher version is a later one, within an incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct NodeView {
    pub version: u64,
    pub free: Amounts,
}

/// A node's answer to a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum ReserveResult {
    /// It is held; GPUs are by UUID.
    Granted { assigned: Amounts, view: NodeView },
    /// It isn't; `view` is what is really free.
    Refused { why: Refusal, view: NodeView },
}

/// Why a node refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There isn't enough.
    Short(Vec<Short>),
    /// The node takes no new work: it drains, or has fenced itself.
    NotAccepting,
    /// This reservation has ended already.
    Ended,
    /// This reservation is held for another request.
    OtherRequest,
    /// The request itself isn't valid.
    Invalid(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(short) => f.write_str(&short.iter().map(Short::to_string).collect::<Vec<_>>().join(", ")),
            Self::NotAccepting => f.write_str("it takes no new work"),
            Self::Ended => f.write_str("the reservation has ended"),
            Self::OtherRequest => f.write_str("the reservation is held for another request"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

#[derive(Debug)]
struct Held {
    request: Request,
    amounts: Amounts,
    /// `None` once the actor has started.
    until: Option<Duration>,
}

/// What a node has, what of it is held and by whom. Free plus held is always the total. Times are
/// counted from any start, on a clock that never goes back.
#[derive(Debug)]
pub struct NodeLedger {
    totals: Resources,
    free: Amounts,
    version: u64,
    accepts: bool,
    held: BTreeMap<ReservationId, Held>,
    ended: BTreeSet<ReservationId>,
    ended_order: VecDeque<ReservationId>,
    /// When those run out whose actor hasn't started.
    ends: BTreeSet<(Duration, ReservationId)>,
}

impl NodeLedger {
    /// A node that has all its resources free. Names must be valid ([`Resources::check`]).
    pub fn new(totals: Resources) -> Result<Self, PlacementError> {
        totals.check()?;
        let free = totals.amounts.clone();
        Ok(Self {
            totals,
            free,
            version: 1,
            accepts: true,
            held: BTreeMap::new(),
            ended: BTreeSet::new(),
            ended_order: VecDeque::new(),
            ends: BTreeSet::new(),
        })
    }

    /// Holds what is asked for, for so long. Asked again under the same id it gives the same answer
    /// and no longer time. O(GPUs + log held).
    pub fn reserve(&mut self, id: ReservationId, request: &Request, ttl: Duration, now: Duration) -> ReserveResult {
        self.expire(now);
        match self.try_reserve(id, request, now.saturating_add(ttl)) {
            Ok(assigned) => ReserveResult::Granted { assigned, view: self.view() },
            Err(why) => ReserveResult::Refused { why, view: self.view() },
        }
    }

    fn try_reserve(&mut self, id: ReservationId, request: &Request, until: Duration) -> Result<Amounts, Refusal> {
        if let Some(held) = self.held.get(&id) {
            let same = held.request == *request;
            return if same { Ok(held.amounts.clone()) } else { Err(Refusal::OtherRequest) };
        }
        if self.ended.contains(&id) {
            return Err(Refusal::Ended);
        }
        if !self.accepts {
            return Err(Refusal::NotAccepting);
        }
        request.check().map_err(|e| Refusal::Invalid(e.to_string()))?;
        let short = || Refusal::Short(request.shortfalls(&self.totals, &self.free));
        let amounts = request.take(&self.totals, &self.free).ok_or_else(short)?;
        self.free = self.free.checked_sub(&amounts).ok_or_else(short)?;
        self.version += 1;
        self.ends.insert((until, id));
        self.held.insert(id, Held { request: request.clone(), amounts: amounts.clone(), until: Some(until) });
        Ok(amounts)
    }

    /// The actor has started: held until it is released.
    pub fn confirm(&mut self, id: ReservationId, now: Duration) -> Result<&Amounts, PlacementError> {
        self.expire(now);
        if self.ended.contains(&id) {
            return Err(PlacementError::EndedReservation(id));
        }
        let held = self.held.get_mut(&id).ok_or(PlacementError::UnknownReservation(id))?;
        if let Some(until) = held.until.take() {
            self.ends.remove(&(until, id));
        }
        Ok(&held.amounts)
    }

    /// Gives back; whether anything was held. A reservation that comes after its release is refused.
    pub fn release(&mut self, id: ReservationId) -> bool {
        self.remember_end(id);
        let Some(held) = self.held.remove(&id) else {
            return false;
        };
        if let Some(until) = held.until {
            self.ends.remove(&(until, id));
        }
        self.free = self.free.add_up_to(&held.amounts, &self.totals.amounts);
        self.version += 1;
        true
    }

    /// Gives back what ran out before its actor started; which that was.
    pub fn expire(&mut self, now: Duration) -> Vec<ReservationId> {
        let mut over = Vec::new();
        while let Some((_, id)) = self.ends.first().filter(|(until, _)| *until <= now).copied() {
            self.release(id);
            over.push(id);
        }
        over
    }

    /// Whether new work is taken. What is held stays held.
    pub fn set_accepting(&mut self, accepts: bool) {
        self.accepts = accepts;
    }

    /// What is free now, to be told to the control node.
    pub fn view(&self) -> NodeView {
        NodeView { version: self.version, free: self.free.clone() }
    }

    pub fn totals(&self) -> &Resources {
        &self.totals
    }

    pub fn free(&self) -> &Amounts {
        &self.free
    }

    /// What is held, and whether its actor has started.
    pub fn holdings(&self) -> impl Iterator<Item = (ReservationId, &Amounts, bool)> {
        self.held.iter().map(|(id, held)| (*id, &held.amounts, held.until.is_none()))
    }

    fn remember_end(&mut self, id: ReservationId) {
        if self.ended.insert(id) {
            self.ended_order.push_back(id);
        }
        if self.ended_order.len() > REMEMBERED
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}
