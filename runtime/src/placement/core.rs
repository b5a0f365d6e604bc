//! The decisions of the control node: pure, driven by what happened and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::{ActorId, Incarnation, NodeId};

use super::demand::Shape;
use super::explain::Explanation;
use super::state::{Accepts, Class, Hold, Node, Phase, Placement, Rank, Slot, Unit, WaitReason};
use super::{
    Amounts, Anchor, Demand, NodeView, PlacementError, PlacementOptions, Request, ReservationId, ReserveResult,
    Resources,
};

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Ask this node, in this incarnation only, and report its answer by
    /// [`PlacementCore::reserve_result`].
    Reserve { node: NodeId, incarnation: Incarnation, reservation: ReservationId, request: Request, ttl: Duration },
    /// Tell this node; there is no answer to wait for.
    Release { node: NodeId, reservation: ReservationId },
    /// Start the actor there under this reservation. A gang's members come together.
    Placed { id: ActorId, node: NodeId, reservation: ReservationId, assigned: Amounts },
    /// It waits, and why has changed.
    Waiting { id: ActorId, why: WaitReason },
    /// No node can ever hold it; it is forgotten.
    Failed { id: ActorId, why: Box<Explanation> },
}

/// A node as it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUp {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub totals: Resources,
    pub view: NodeView,
    pub accepts: Accepts,
}

/// Decides for the cluster. Times are counted from any start, on a clock that never goes back.
///
/// Requests alike in shape (request, strategy, group) wait in one line, of which only the first is
/// looked at. With S different shapes waiting and N nodes: a new request costs O(log) if others of its
/// shape are ahead, else O(N); a node that has more free costs O(S) looks at that one node; each
/// placement costs O(N); a tick costs O(S + what is in flight). The number waiting enters only as a
/// logarithm. Reports that free nothing cost nothing.
///
/// Fairness: the first in rank goes first, those behind may go ahead where it doesn't fit. After
/// `hold_after` what the first of a shape needs on its best nodes is held back from all behind it:
/// they may use what it leaves, and nothing that it needs and that becomes free.
#[derive(Debug)]
pub struct PlacementCore {
    pub(super) options: PlacementOptions,
    by: Incarnation,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    /// How many nodes have ever come up.
    pub(super) arrivals_of_nodes: u64,
    /// By arrival.
    pub(super) units: BTreeMap<u64, Unit>,
    pub(super) unit_of: BTreeMap<ActorId, u64>,
    pub(super) placed: BTreeMap<ActorId, Placement>,
    placed_under: BTreeSet<ReservationId>,
    pub(super) in_flight: BTreeMap<ReservationId, u64>,
    pub(super) backoffs: BTreeSet<(Duration, u64)>,
    /// How many of a group are on each node, reserved or placed.
    pub(super) groups: BTreeMap<String, BTreeMap<NodeId, u64>>,
    pub(super) classes: BTreeMap<u64, Class>,
    pub(super) class_of: BTreeMap<Vec<Shape>, u64>,
    pub(super) watchers: BTreeMap<Anchor, BTreeSet<u64>>,
    pub(super) ready: BTreeSet<(Rank, u64)>,
    pub(super) holds: Vec<Hold>,
    pub(super) last_class: u64,
    /// The line of a gang that was looked at last without any news.
    pub(super) last_gang_line: u64,
    last_arrival: u64,
    last_reservation: u64,
    pub(super) out: Vec<Command>,
    pub(super) evaluations: u64,
}

impl PlacementCore {
    /// `by`: the control node's incarnation, which makes reservations unique over its restarts.
    pub fn new(options: PlacementOptions, by: Incarnation) -> Self {
        Self {
            options,
            by,
            nodes: BTreeMap::new(),
            arrivals_of_nodes: 0,
            units: BTreeMap::new(),
            unit_of: BTreeMap::new(),
            placed: BTreeMap::new(),
            placed_under: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            backoffs: BTreeSet::new(),
            groups: BTreeMap::new(),
            classes: BTreeMap::new(),
            class_of: BTreeMap::new(),
            watchers: BTreeMap::new(),
            ready: BTreeSet::new(),
            holds: Vec::new(),
            last_class: 0,
            last_gang_line: 0,
            last_arrival: 0,
            last_reservation: 0,
            out: Vec::new(),
            evaluations: 0,
        }
    }

    /// A node has joined, or is back in a later life: then what it had is gone. An older life, or
    /// names that aren't valid, are ignored.
    pub fn node_up(&mut self, up: NodeUp, now: Duration) -> Vec<Command> {
        let known = self.nodes.get(&up.node).map(|n| n.incarnation);
        if known.is_some_and(|known| known >= up.incarnation) || up.totals.check().is_err() {
            return Vec::new();
        }
        self.forget_node(up.node, now);
        let mut node = Node {
            incarnation: up.incarnation,
            totals: up.totals,
            heard: NodeView::default(),
            accepts: up.accepts,
            unanswered: BTreeMap::new(),
            promised: Amounts::default(),
            available: Amounts::default(),
            actors: 0,
        };
        node.hear(up.view);
        node.reckon();
        self.nodes.insert(up.node, node);
        self.arrivals_of_nodes += 1;
        self.has_more(up.node);
        self.finish(now)
    }

    /// A node is gone and its lease has run out: its actors are forgotten (whoever supervises them
    /// asks anew), what was being reserved there is tried elsewhere.
    pub fn node_down(&mut self, node: NodeId, now: Duration) -> Vec<Command> {
        self.forget_node(node, now);
        self.finish(now)
    }

    /// What a node says is free. An older report, or one of another life, is ignored.
    pub fn node_view(&mut self, id: NodeId, incarnation: Incarnation, view: NodeView, now: Duration) -> Vec<Command> {
        if self.nodes.get(&id).is_some_and(|n| n.incarnation == incarnation) {
            self.hear(id, view);
        }
        self.finish(now)
    }

    /// A node takes new work, or no longer. What is there stays.
    pub fn node_accepts(&mut self, id: NodeId, accepts: Accepts, now: Duration) -> Vec<Command> {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.accepts = accepts;
            if accepts == Accepts::Yes {
                self.has_more(id);
            } else {
                self.drop_holds(|hold| hold.nodes.contains_key(&id));
            }
        }
        self.finish(now)
    }

    /// An actor wants a place. Fails if it has one, waits for one, or its names aren't valid.
    pub fn request(&mut self, id: ActorId, demand: Demand, now: Duration) -> Result<Vec<Command>, PlacementError> {
        self.request_gang(vec![(id, demand)], now)
    }

    /// These want places all together or not at all.
    pub fn request_gang(
        &mut self,
        members: Vec<(ActorId, Demand)>,
        now: Duration,
    ) -> Result<Vec<Command>, PlacementError> {
        let mut seen = BTreeSet::new();
        for (id, demand) in &members {
            if self.unit_of.contains_key(id) || self.placed.contains_key(id) || !seen.insert(*id) {
                return Err(PlacementError::AlreadyRequested(*id));
            }
            demand.check()?;
        }
        if members.is_empty() {
            return Err(PlacementError::EmptyGang);
        }
        self.last_arrival += 1;
        let key = self.last_arrival;
        let unit = Unit::new(key, members, now);
        self.unit_of.extend(unit.members.iter().map(|m| (m.id, key)));
        self.units.insert(key, unit);
        if !self.nodes.is_empty() && !self.check_possible(key) && !self.wants_to_wait(key) {
            self.fail(key, now);
        } else {
            self.enqueue(key);
        }
        let commands = self.finish(now);
        Ok(self.with_behind(key, commands))
    }

    /// A node's answer. One that nobody waits for any more is given back.
    pub fn reserve_result(
        &mut self,
        reservation: ReservationId,
        node: NodeId,
        result: ReserveResult,
        now: Duration,
    ) -> Vec<Command> {
        let (ReserveResult::Granted { view, .. } | ReserveResult::Refused { view, .. }) = &result;
        let view = view.clone();
        let waits = self.nodes.get_mut(&node).is_some_and(|n| n.answered(reservation));
        if waits {
            self.hear(node, view);
        }
        let unit = self.in_flight.get(&reservation).copied().filter(|_| waits);
        match (unit, result) {
            (Some(unit), ReserveResult::Granted { assigned, .. }) => self.granted(unit, reservation, assigned),
            (Some(unit), ReserveResult::Refused { why, .. }) => self.refused(unit, node, why.to_string(), now),
            (None, ReserveResult::Granted { .. }) if !self.is_held(reservation) => {
                self.out.push(Command::Release { node, reservation });
            }
            (None, _) => {}
        }
        self.finish(now)
    }

    /// An actor has ended and its node has released what it held. Until the node's next report that
    /// much is taken as free. Unknown ones are ignored.
    pub fn released(&mut self, id: ActorId, now: Duration) -> Vec<Command> {
        self.unplace(id);
        self.finish(now)
    }

    /// Nobody wants this place any more: a request is forgotten (a gang as a whole), a place is
    /// released.
    pub fn cancel(&mut self, id: ActorId, now: Duration) -> Vec<Command> {
        if let Some(key) = self.unit_of.get(&id).copied() {
            self.give_back(key);
            self.forget_unit(key);
        } else if let Some((node, reservation)) = self.unplace(id) {
            self.out.push(Command::Release { node, reservation });
        }
        self.finish(now)
    }

    /// After a restart of the control node: a node says that it holds this for that actor. Ignored
    /// where the node isn't up or the actor is known. What it holds is missing from the node's view
    /// already.
    pub fn adopt(&mut self, id: ActorId, node: NodeId, held: (ReservationId, Amounts), group: Option<String>) {
        let known = self.unit_of.contains_key(&id) || self.placed.contains_key(&id);
        if !known && self.nodes.contains_key(&node) {
            self.count(node, group.as_deref());
            self.place(id, Placement { node, reservation: held.0, amounts: held.1, group });
        }
    }

    /// Time has passed: unanswered reservations are tried elsewhere, refused requests again, nodes
    /// are held back for those that wait long. To be called a few times a second.
    pub fn tick(&mut self, now: Duration) -> Vec<Command> {
        let late = |key: &u64| {
            let slots = self.units.get(key)?.members.iter().filter_map(|m| m.slot.as_ref());
            let node = slots.into_iter().find(|s| s.granted.is_none() && s.deadline <= now)?.node;
            Some((*key, node))
        };
        let keys: BTreeSet<u64> = self.in_flight.values().copied().collect();
        let late: Vec<(u64, NodeId)> = keys.iter().filter_map(late).collect();
        for (key, node) in late {
            self.refused(key, node, "it did not answer in time".to_owned(), now);
        }
        while let Some((_, key)) = self.backoffs.first().filter(|(until, _)| *until <= now).copied() {
            self.backoffs.pop_first();
            if let Some(unit) = self.units.get_mut(&key) {
                unit.phase = Phase::Queued;
                unit.avoid.clear();
                self.enqueue(key);
            }
        }
        self.look_at_gangs();
        self.hold_back(now);
        self.finish(now)
    }

    /// Where an actor is; `None` while it has no place.
    pub fn place_of(&self, id: ActorId) -> Option<(NodeId, ReservationId)> {
        self.placed.get(&id).map(|p| (p.node, p.reservation))
    }

    /// Actors that wait, those being reserved included.
    pub fn waiting(&self) -> impl Iterator<Item = ActorId> {
        self.unit_of.keys().copied()
    }

    /// How often a node was looked at since the start: the cost of placement.
    pub fn evaluations(&self) -> u64 {
        self.evaluations
    }

    pub(super) fn reserve(&mut self, key: u64, plan: Vec<(NodeId, Amounts)>, now: Duration) {
        self.dequeue(key);
        self.drop_holds(|hold| hold.unit == key);
        let Some(mut unit) = self.units.remove(&key) else { return };
        unit.phase = Phase::Reserving;
        for (member, (at, amounts)) in unit.members.iter_mut().zip(plan) {
            let Some(node) = self.nodes.get_mut(&at) else { continue };
            self.last_reservation += 1;
            let reservation = ReservationId { by: self.by, number: self.last_reservation };
            node.promise(reservation, amounts);
            let deadline = now.saturating_add(self.options.reserve_timeout);
            member.slot = Some(Slot { node: at, reservation, granted: None, deadline });
            self.in_flight.insert(reservation, key);
            self.out.push(Command::Reserve {
                node: at,
                incarnation: node.incarnation,
                reservation,
                request: member.demand.request.clone(),
                ttl: self.options.reservation_ttl,
            });
            self.refresh(at);
            self.count(at, member.demand.group.as_deref());
        }
        self.units.insert(key, unit);
    }

    fn granted(&mut self, key: u64, reservation: ReservationId, assigned: Amounts) {
        let Some(unit) = self.units.get_mut(&key) else { return };
        let slots = unit.members.iter_mut().filter_map(|m| m.slot.as_mut());
        for slot in slots.filter(|s| s.reservation == reservation) {
            slot.granted = Some(assigned.clone());
        }
        if unit.members.iter().any(|m| m.slot.as_ref().is_none_or(|s| s.granted.is_none())) {
            return;
        }
        let members = std::mem::take(&mut unit.members);
        self.units.remove(&key);
        for member in members {
            self.unit_of.remove(&member.id);
            let Some(Slot { node, reservation, granted: Some(amounts), .. }) = member.slot else { continue };
            self.in_flight.remove(&reservation);
            let placed = Command::Placed { id: member.id, node, reservation, assigned: amounts.clone() };
            self.out.push(placed);
            self.place(member.id, Placement { node, reservation, amounts, group: member.demand.group });
        }
    }

    /// One node won't have it: all is given back; one actor is tried elsewhere at once, a gang later.
    fn refused(&mut self, key: u64, node: NodeId, why: String, now: Duration) {
        self.give_back(key);
        let Some(unit) = self.units.get_mut(&key) else { return };
        unit.avoid.insert(node, why);
        unit.refusals = unit.refusals.saturating_add(1);
        let gang = unit.is_gang();
        if !gang && let Some(plan) = self.plan(key, None) {
            return self.reserve(key, plan, now);
        }
        let Some(unit) = self.units.get_mut(&key) else { return };
        let after = self.options.retry.after(unit.refusals);
        let until = now.saturating_add(after);
        unit.phase = Phase::Backoff { until };
        self.backoffs.insert((until, key));
        self.say(key, WaitReason::Retry { after });
    }

    /// Releases what a unit has reserved. A refused reservation is released too: that costs a
    /// message and saves telling the two apart.
    fn give_back(&mut self, key: u64) {
        let Some(unit) = self.units.get_mut(&key) else { return };
        let slots: Vec<(Option<String>, Slot)> =
            unit.members.iter_mut().filter_map(|m| Some((m.demand.group.clone(), m.slot.take()?))).collect();
        for (group, slot) in slots {
            self.in_flight.remove(&slot.reservation);
            self.uncount(slot.node, group.as_deref());
            if let Some(node) = self.nodes.get_mut(&slot.node) {
                node.answered(slot.reservation);
                if let Some(amounts) = &slot.granted {
                    node.heard.free = node.heard.free.add_up_to(amounts, &node.totals.amounts);
                }
                self.out.push(Command::Release { node: slot.node, reservation: slot.reservation });
                self.refresh(slot.node);
            }
        }
    }

    fn fail(&mut self, key: u64, now: Duration) {
        let ids: Vec<ActorId> =
            self.units.get(&key).map(|u| u.members.iter().map(|m| m.id).collect()).unwrap_or_default();
        for id in ids {
            if let Some(why) = self.explain(id, now) {
                self.out.push(Command::Failed { id, why: Box::new(why) });
            }
        }
        self.forget_unit(key);
    }

    fn forget_unit(&mut self, key: u64) {
        self.dequeue(key);
        self.drop_holds(|hold| hold.unit == key);
        if let Some(unit) = self.units.remove(&key) {
            for member in &unit.members {
                self.unit_of.remove(&member.id);
            }
            if let Phase::Backoff { until } = unit.phase {
                self.backoffs.remove(&(until, key));
            }
        }
    }

    fn forget_node(&mut self, id: NodeId, now: Duration) {
        if self.nodes.remove(&id).is_none() {
            return;
        }
        self.drop_holds(|hold| hold.nodes.contains_key(&id));
        let gone: Vec<ActorId> = self.placed.iter().filter(|(_, p)| p.node == id).map(|(actor, _)| *actor).collect();
        for actor in gone {
            self.unplace(actor);
        }
        let here = |u: &Unit| u.members.iter().any(|m| m.slot.as_ref().is_some_and(|s| s.node == id));
        let flying: BTreeSet<u64> = self.in_flight.values().copied().collect();
        for key in flying.into_iter().filter(|key| self.units.get(key).is_some_and(here)).collect::<Vec<_>>() {
            self.refused(key, id, "it went down".to_owned(), now);
        }
    }

    fn place(&mut self, id: ActorId, placement: Placement) {
        self.placed_under.insert(placement.reservation);
        self.placed.insert(id, placement);
        self.wake(&Anchor::Actor(id));
    }

    fn unplace(&mut self, id: ActorId) -> Option<(NodeId, ReservationId)> {
        let placement = self.placed.remove(&id)?;
        self.placed_under.remove(&placement.reservation);
        self.uncount(placement.node, placement.group.as_deref());
        if let Some(node) = self.nodes.get_mut(&placement.node) {
            node.heard.free = node.heard.free.add_up_to(&placement.amounts, &node.totals.amounts);
            self.refresh(placement.node);
        }
        Some((placement.node, placement.reservation))
    }

    fn is_held(&self, reservation: ReservationId) -> bool {
        self.in_flight.contains_key(&reservation) || self.placed_under.contains(&reservation)
    }

    fn count(&mut self, at: NodeId, group: Option<&str>) {
        if let Some(node) = self.nodes.get_mut(&at) {
            node.actors += 1;
        }
        if let Some(group) = group {
            *self.groups.entry(group.to_owned()).or_default().entry(at).or_default() += 1;
            self.wake(&Anchor::Group(group.to_owned()));
        }
    }

    fn uncount(&mut self, at: NodeId, group: Option<&str>) {
        if let Some(node) = self.nodes.get_mut(&at) {
            node.actors = node.actors.saturating_sub(1);
        }
        let Some(group) = group else { return };
        if let Some(nodes) = self.groups.get_mut(group) {
            let left = nodes.get(&at).copied().unwrap_or(0).saturating_sub(1);
            if left == 0 {
                nodes.remove(&at);
            } else {
                nodes.insert(at, left);
            }
            if nodes.is_empty() {
                self.groups.remove(group);
            }
        }
        self.wake(&Anchor::Group(group.to_owned()));
    }

    fn hear(&mut self, id: NodeId, view: NodeView) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.hear(view);
        }
        self.refresh(id);
    }

    /// Reckons what is available there; whoever waits hears if it is more.
    fn refresh(&mut self, id: NodeId) {
        if self.nodes.get_mut(&id).is_some_and(Node::reckon) {
            self.has_more(id);
        }
    }
}
