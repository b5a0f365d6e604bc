//! Who is looked at, and when: one line for each shape, only its first is tried, and only where
//! something has changed for the better.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use crate::id::NodeId;

use super::core::{Command, PlacementCore};
use super::demand::Shape;
use super::plan::{Basis, Plan, Planner};
use super::state::{Class, Due, Phase, Unit, WaitReason};
use super::{Anchor, Strategy};

/// How many lines of gangs are looked at in a tick without any news.
const GANG_LINES: usize = 16;

impl PlacementCore {
    /// Tries all that may have a place now, best rank first; then hands out the commands.
    pub(super) fn finish(&mut self, now: Duration) -> Vec<Command> {
        while let Some((rank, class)) = self.ready.pop_first() {
            let Some(line) = self.classes.get_mut(&class) else { continue };
            line.ready_as = None;
            let due = std::mem::replace(&mut line.due, Due::On(BTreeSet::new()));
            let only = match &due {
                Due::On(nodes) => Some(nodes),
                Due::Everywhere => None,
            };
            match self.plan(rank.arrival, only) {
                Some(plan) => {
                    // The next of the line may fit as well: where this one was looked for.
                    self.make_due(class, due);
                    self.reserve(rank.arrival, plan, now);
                }
                None => self.say_waiting(rank.arrival),
            }
        }
        std::mem::take(&mut self.out)
    }

    pub(super) fn plan(&mut self, key: u64, only: Option<&BTreeSet<NodeId>>) -> Option<Plan> {
        self.plan_on(key, only, Basis::Free)
    }

    pub(super) fn plan_on(&mut self, key: u64, only: Option<&BTreeSet<NodeId>>, basis: Basis) -> Option<Plan> {
        let mut planner = Planner::new(self, self.units.get(&key)?, basis);
        let plan = planner.plan(only);
        let evaluations = planner.evaluations;
        self.evaluations += evaluations;
        plan
    }

    /// Puts a unit into the line of its shape. It is looked at if it is the first there.
    pub(super) fn enqueue(&mut self, key: u64) {
        let Some(unit) = self.units.get(&key) else { return };
        let rank = unit.rank;
        let shapes: Vec<Shape> = unit.members.iter().map(|m| Shape::from(&m.demand)).collect();
        let anchors = unit.anchors();
        let class = match self.class_of.get(&shapes) {
            Some(class) => *class,
            None => self.new_class(shapes, anchors),
        };
        if let Some(unit) = self.units.get_mut(&key) {
            unit.class = class;
        }
        let Some(line) = self.classes.get_mut(&class) else { return };
        line.queue.insert(rank);
        if line.queue.first() == Some(&rank) {
            self.make_due(class, Due::Everywhere);
        }
    }

    fn new_class(&mut self, shapes: Vec<Shape>, anchors: BTreeSet<Anchor>) -> u64 {
        self.last_class += 1;
        let class = self.last_class;
        for anchor in &anchors {
            self.watchers.entry(anchor.clone()).or_default().insert(class);
        }
        self.class_of.insert(shapes.clone(), class);
        let due = Due::On(BTreeSet::new());
        self.classes.insert(class, Class { shapes, anchors, queue: BTreeSet::new(), due, ready_as: None });
        class
    }

    /// Takes a unit out of its line; the next one takes over what was due.
    pub(super) fn dequeue(&mut self, key: u64) {
        let Some(unit) = self.units.get(&key) else { return };
        let (rank, class) = (unit.rank, unit.class);
        let Some(line) = self.classes.get_mut(&class) else { return };
        if !line.queue.remove(&rank) {
            return;
        }
        if !line.queue.is_empty() {
            return self.line_up(class);
        }
        if let Some(line) = self.classes.remove(&class) {
            if let Some(rank) = line.ready_as {
                self.ready.remove(&(rank, class));
            }
            self.class_of.remove(&line.shapes);
            for anchor in &line.anchors {
                if let Some(watchers) = self.watchers.get_mut(anchor) {
                    watchers.remove(&class);
                    if watchers.is_empty() {
                        self.watchers.remove(anchor);
                    }
                }
            }
        }
    }

    /// There is more on this node: every line has a look at it.
    pub(super) fn has_more(&mut self, node: NodeId) {
        for class in self.classes.keys().copied().collect::<Vec<_>>() {
            self.make_due(class, Due::On(BTreeSet::from([node])));
        }
    }

    /// A gang is planned by best fit, which may find a place because something became *less*: the next
    /// few lines of gangs are looked at again, in turn.
    pub(super) fn look_at_gangs(&mut self) {
        let after = (Bound::Excluded(self.last_gang_line), Bound::Unbounded);
        let gangs = self.classes.range(after).filter(|(_, line)| line.shapes.len() > 1);
        let next: Vec<u64> = gangs.map(|(class, _)| *class).take(GANG_LINES).collect();
        self.last_gang_line = next.last().copied().filter(|_| next.len() == GANG_LINES).unwrap_or(0);
        for class in next {
            self.make_due(class, Due::Everywhere);
        }
    }

    /// Something about what these depend on has changed.
    pub(super) fn wake(&mut self, anchor: &Anchor) {
        for class in self.watchers.get(anchor).cloned().unwrap_or_default() {
            self.make_due(class, Due::Everywhere);
        }
    }

    fn make_due(&mut self, class: u64, due: Due) {
        let Some(line) = self.classes.get_mut(&class) else { return };
        match (&mut line.due, due) {
            (Due::On(nodes), Due::On(more)) => nodes.extend(more),
            (due, Due::Everywhere) => *due = Due::Everywhere,
            (Due::Everywhere, Due::On(_)) => {}
        }
        self.line_up(class);
    }

    fn line_up(&mut self, class: u64) {
        let Some(line) = self.classes.get_mut(&class) else { return };
        let nothing = line.due == Due::On(BTreeSet::new());
        let rank = line.queue.first().copied().filter(|_| !nothing);
        let before = std::mem::replace(&mut line.ready_as, rank);
        if let Some(rank) = before {
            self.ready.remove(&(rank, class));
        }
        self.ready.extend(rank.map(|rank| (rank, class)));
    }

    fn say_waiting(&mut self, key: u64) {
        let anchor = |unit: &Unit| {
            let of = unit.members.iter().filter_map(|m| match &m.demand.strategy {
                Strategy::Same(Anchor::Actor(actor)) if !self.placed.contains_key(actor) => Some(*actor),
                _ => None,
            });
            of.into_iter().find(|actor| unit.members.iter().all(|m| m.id != *actor)).map(Anchor::Actor)
        };
        let anchor = self.units.get(&key).and_then(anchor);
        let held = self.holds.iter().find(|h| h.unit == key).map(|h| h.nodes.keys().copied().collect());
        let why = if self.nodes.is_empty() {
            WaitReason::NoNodes
        } else if let Some(anchor) = anchor {
            WaitReason::NoAnchor(anchor)
        } else if let Some(nodes) = held {
            WaitReason::Holding { nodes }
        } else if self.check_possible(key) {
            WaitReason::Busy
        } else {
            WaitReason::Impossible
        };
        self.say(key, why);
    }

    /// Says why all of a unit wait, if that is new.
    pub(super) fn say(&mut self, key: u64, why: WaitReason) {
        let Some(unit) = self.units.get_mut(&key) else { return };
        if unit.said.as_ref() == Some(&why) {
            return;
        }
        self.out.extend(unit.members.iter().map(|m| Command::Waiting { id: m.id, why: why.clone() }));
        unit.said = Some(why);
    }

    /// Adds that a new unit waits behind others, if nothing was said of it.
    pub(super) fn with_behind(&mut self, key: u64, mut commands: Vec<Command>) -> Vec<Command> {
        let silent = |u: &Unit| u.phase == Phase::Queued && u.said.is_none();
        if self.units.get(&key).is_some_and(silent) {
            self.say(key, WaitReason::Behind);
            commands.append(&mut self.out);
        }
        commands
    }

    /// Whether each member fits on some node in total. Looked up again only after a node has come,
    /// since it is O(members × nodes).
    pub(super) fn check_possible(&mut self, key: u64) -> bool {
        let Some(unit) = self.units.get(&key) else { return false };
        if unit.possible_as_of == self.arrivals_of_nodes {
            return unit.possible;
        }
        let possible = unit.members.iter().all(|member| {
            let demand = &member.demand;
            let named = |id: &NodeId| match &demand.strategy {
                Strategy::Same(Anchor::Node(node)) => node == id,
                Strategy::Excluding { nodes, .. } => !nodes.contains(id),
                _ => true,
            };
            let fits = |(id, node): (&NodeId, &super::state::Node)| {
                named(id) && demand.request.take(&node.totals, &node.totals.amounts).is_some()
            };
            self.nodes.iter().any(fits)
        });
        let as_of = self.arrivals_of_nodes;
        if let Some(unit) = self.units.get_mut(&key) {
            (unit.possible, unit.possible_as_of) = (possible, as_of);
        }
        possible
    }

    pub(super) fn wants_to_wait(&self, key: u64) -> bool {
        self.units.get(&key).is_some_and(|u| u.members.iter().all(|m| m.demand.wait_if_impossible))
    }
}
