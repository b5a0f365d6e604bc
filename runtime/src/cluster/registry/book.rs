//! What the cluster's events add up to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::cluster::message::SpawnRequest;
use crate::id::{ActorId, Generation, Incarnation, NodeId};
use crate::membership::{KnownMember, MemberEvent};
use crate::placement::Resources;
use crate::time::Timestamp;

use super::event::{ClusterEvent, Part, Place};

/// How many ended actors are remembered, with the reason.
const REMEMBERED: usize = 1024;
/// Members and actors of one part of a snapshot: some hundred bytes each, an event has up to 1 MiB.
const PER_PART: usize = 500;

/// The recorded state. Changes by [`Book::apply`] only, so that a fold over the events gives the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cluster) struct Book {
    /// How often a control node has taken the cluster over.
    pub life: u64,
    members: BTreeMap<(NodeId, Incarnation), (KnownMember, MemberEntry)>,
    actors: BTreeMap<ActorId, ActorEntry>,
    by_key: BTreeMap<String, ActorId>,
    /// By the key of their owner.
    owned: BTreeMap<String, BTreeSet<ActorId>>,
    over: VecDeque<OverEntry>,
    /// How many actors were ever asked for.
    arrivals: u64,
}

/// What is known of a life of a node beside its membership.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cluster) struct MemberEntry {
    pub totals: Resources,
    /// When its state changed last.
    pub since: Timestamp,
}

/// An actor of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cluster) struct ActorEntry {
    pub request: SpawnRequest,
    /// Its place in the order in which actors were asked for.
    pub arrival: u64,
    /// Of its latest place; 0 before the first.
    pub generation: Generation,
    pub place: Option<Place>,
    /// How often it was given a place.
    pub placed: u32,
    /// Starts that failed, in a row.
    pub failures: u32,
    /// Why it left its last place.
    pub left: Option<String>,
    /// When that changed last.
    pub since: Timestamp,
}

/// An actor that is no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cluster) struct OverEntry {
    pub key: String,
    pub actor: ActorId,
    pub kind: String,
    pub generation: Generation,
    pub placed: u32,
    pub why: String,
    pub at: Timestamp,
}

impl Book {
    pub fn apply(&mut self, event: &ClusterEvent, at: Timestamp) {
        match event {
            ClusterEvent::Opened { life, .. } => self.life = self.life.max(*life),
            ClusterEvent::Joined { node, incarnation, facts, totals } => {
                self.prune(*node, *incarnation);
                let fresh = || {
                    let known = KnownMember::joined(*node, *incarnation, facts.clone());
                    (known, MemberEntry { totals: totals.clone(), since: at })
                };
                self.members.entry((*node, *incarnation)).or_insert_with(fresh);
            }
            ClusterEvent::Member { node, incarnation, event } => self.member_event(*node, *incarnation, event, at),
            ClusterEvent::Spawned { actor, request } => self.spawned(*actor, request, at),
            ClusterEvent::Placed { actor, generation, place } => {
                if let Some(entry) = self.actors.get_mut(actor).filter(|entry| entry.generation < *generation) {
                    (entry.generation, entry.place, entry.since) = (*generation, Some(place.clone()), at);
                    entry.placed += 1;
                }
            }
            ClusterEvent::Vacated { actor, generation, why, failed } => {
                let there = |entry: &&mut ActorEntry| entry.generation == *generation && entry.place.is_some();
                if let Some(entry) = self.actors.get_mut(actor).filter(there) {
                    (entry.place, entry.since) = (None, at);
                    entry.failures = if *failed { entry.failures + 1 } else { 0 };
                    entry.left = Some(why.clone());
                }
            }
            ClusterEvent::Over { actor, why } => self.end(*actor, why, at),
            ClusterEvent::Snapshot(part) => self.take_part(part),
        }
    }

    fn spawned(&mut self, actor: ActorId, request: &SpawnRequest, at: Timestamp) {
        if self.actors.contains_key(&actor) {
            return;
        }
        self.arrivals += 1;
        let entry = ActorEntry {
            request: request.clone(),
            arrival: self.arrivals,
            generation: Generation(0),
            place: None,
            placed: 0,
            failures: 0,
            left: None,
            since: at,
        };
        self.enter(actor, entry);
    }

    fn enter(&mut self, actor: ActorId, entry: ActorEntry) {
        self.by_key.insert(entry.request.order.key.clone(), actor);
        if let Some(owner) = &entry.request.owner {
            self.owned.entry(owner.clone()).or_default().insert(actor);
        }
        self.actors.insert(actor, entry);
    }

    fn member_event(&mut self, node: NodeId, incarnation: Incarnation, event: &MemberEvent, at: Timestamp) {
        if let Some((known, entry)) = self.members.get_mut(&(node, incarnation)) {
            known.apply(event);
            entry.since = at;
        }
        if !matches!(event, MemberEvent::Dead { .. } | MemberEvent::Left) {
            return;
        }
        let was_there = |entry: &&mut ActorEntry| entry.place.as_ref().is_some_and(|p| p.is_on(node, incarnation));
        for entry in self.actors.values_mut().filter(was_there) {
            (entry.place, entry.since, entry.failures) = (None, at, 0);
            entry.left = Some(format!("node {node} is gone"));
        }
        if self.members.range((node, incarnation.next())..=(node, Incarnation(u64::MAX))).next().is_some() {
            self.members.remove(&(node, incarnation));
        }
    }

    /// Earlier lives that have ended mean nothing once there is a later one.
    fn prune(&mut self, node: NodeId, next: Incarnation) {
        let before = (node, Incarnation(0))..(node, next);
        let ended = self.members.range(before).filter(|(_, (known, _))| !known.standing.is_living());
        let ended: Vec<_> = ended.map(|(life, _)| *life).collect();
        ended.iter().for_each(|life| drop(self.members.remove(life)));
    }

    fn end(&mut self, actor: ActorId, why: &str, at: Timestamp) {
        let Some(entry) = self.actors.remove(&actor) else { return };
        if let Some(owner) = &entry.request.owner
            && let Some(owned) = self.owned.get_mut(owner)
        {
            owned.remove(&actor);
            if owned.is_empty() {
                self.owned.remove(owner);
            }
        }
        let key = entry.request.order.key;
        if self.by_key.get(&key) == Some(&actor) {
            self.by_key.remove(&key);
        }
        self.over.push_back(OverEntry {
            key,
            actor,
            kind: entry.request.order.kind.to_string(),
            generation: entry.generation,
            placed: entry.placed,
            why: why.to_owned(),
            at,
        });
        if self.over.len() > REMEMBERED {
            self.over.pop_front();
        }
    }

    fn take_part(&mut self, part: &Part) {
        if part.part == 1 {
            *self = Self { life: part.life, arrivals: part.arrivals, ..Self::default() };
        }
        for (known, entry) in &part.members {
            self.members.insert((known.node, known.incarnation), (known.clone(), entry.clone()));
        }
        for (actor, entry) in &part.actors {
            self.enter(*actor, entry.clone());
        }
        self.over.extend(part.over.iter().cloned());
    }

    /// Events that add up to this book.
    pub fn snapshot(&self) -> Vec<ClusterEvent> {
        let members: Vec<_> = self.members.values().cloned().collect();
        let actors: Vec<_> = self.actors.iter().map(|(id, entry)| (*id, entry.clone())).collect();
        let over: Vec<_> = self.over.iter().cloned().collect();
        let longest = members.len().max(actors.len()).max(over.len());
        let of = longest.div_ceil(PER_PART).max(1);
        let part = |n: usize| Part {
            part: n + 1,
            of,
            life: self.life,
            arrivals: self.arrivals,
            members: nth(&members, n),
            actors: nth(&actors, n),
            over: nth(&over, n),
        };
        (0..of).map(|n| ClusterEvent::Snapshot(part(n))).collect()
    }

    /// Members and actors: what a snapshot costs.
    pub fn size(&self) -> usize {
        self.members.len() + self.actors.len() + self.over.len()
    }

    pub fn actors(&self) -> impl Iterator<Item = (ActorId, &ActorEntry)> {
        self.actors.iter().map(|(id, entry)| (*id, entry))
    }

    pub fn actor(&self, actor: ActorId) -> Option<&ActorEntry> {
        self.actors.get(&actor)
    }

    pub fn by_key(&self, key: &str) -> Option<(ActorId, &ActorEntry)> {
        let actor = *self.by_key.get(key)?;
        Some((actor, self.actors.get(&actor)?))
    }

    /// Those that belong to the actor of that key, and those that belong to these; owners come before what they own.
    pub fn owned_by(&self, key: &str) -> Vec<ActorId> {
        let of = |key: &str| self.owned.get(key).into_iter().flatten().copied();
        let mut family: Vec<ActorId> = of(key).collect();
        let mut next = 0;
        while let Some(actor) = family.get(next) {
            let key = self.actors.get(actor).map(|entry| entry.request.order.key.as_str());
            family.extend(key.into_iter().flat_map(of));
            next += 1;
        }
        family
    }

    /// Those whose owner is no more.
    pub fn orphans(&self) -> impl Iterator<Item = ActorId> {
        let gone = self.owned.iter().filter(|(owner, _)| !self.by_key.contains_key(*owner));
        gone.flat_map(|(_, owned)| owned.iter().copied())
    }

    /// In the order of their keys, those behind `after`.
    pub fn keys_after(&self, after: Option<&str>) -> impl Iterator<Item = (ActorId, &ActorEntry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |key| Excluded(key));
        let behind = self.by_key.range::<str, _>((from, Unbounded));
        behind.filter_map(|(_, actor)| Some((*actor, self.actors.get(actor)?)))
    }

    /// The latest actor of that key that is no more.
    pub fn over(&self, key: &str) -> Option<&OverEntry> {
        self.over.iter().rev().find(|over| over.key == key)
    }

    /// The latest first.
    pub fn all_over(&self) -> impl Iterator<Item = &OverEntry> {
        self.over.iter().rev()
    }

    pub fn on(&self, node: NodeId, incarnation: Incarnation) -> impl Iterator<Item = (ActorId, &ActorEntry)> {
        let there = move |entry: &ActorEntry| entry.place.as_ref().is_some_and(|place| place.is_on(node, incarnation));
        self.actors().filter(move |(_, entry)| there(entry))
    }

    pub fn members(&self) -> impl Iterator<Item = (&KnownMember, &MemberEntry)> {
        self.members.values().map(|(known, entry)| (known, entry))
    }

    pub fn member(&self, node: NodeId, incarnation: Incarnation) -> Option<(&KnownMember, &MemberEntry)> {
        self.members.get(&(node, incarnation)).map(|(known, entry)| (known, entry))
    }
}

fn nth<T: Clone>(all: &[T], part: usize) -> Vec<T> {
    all.chunks(PER_PART).nth(part).map(<[T]>::to_vec).unwrap_or_default()
}
