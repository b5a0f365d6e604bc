//! Where a unit would go: one look at the nodes, nothing is changed.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;

use super::core::PlacementCore;
use super::explain::WhyNot;
use super::resources::{less, millionths};
use super::state::{Accepts, Node, Unit};
use super::{Amounts, Anchor, Strategy};

/// Against what a unit is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// What is free now, less what is held back for others.
    Free,
    /// The whole nodes, less what is held back: where it will be soonest.
    Whole,
}

/// For each member its node and what it takes there.
pub(super) type Plan = Vec<(NodeId, Amounts)>;

/// Less is better; then the lowest node id.
type Score = (Reverse<u64>, u64, u64, u64);

/// Plans one unit. A gang is planned largest bundle first; where that finds no place it is tried
/// once more with the loads evened out. O(bundles × nodes).
pub(super) struct Planner<'a> {
    core: &'a PlacementCore,
    unit: &'a Unit,
    basis: Basis,
    even_out: bool,
    taken: BTreeMap<NodeId, Amounts>,
    found: Vec<Option<(NodeId, Amounts)>>,
    /// How often a node was looked at.
    pub evaluations: u64,
}

impl<'a> Planner<'a> {
    pub fn new(core: &'a PlacementCore, unit: &'a Unit, basis: Basis) -> Self {
        let found = vec![None; unit.members.len()];
        Self { core, unit, basis, even_out: false, taken: BTreeMap::new(), found, evaluations: 0 }
    }

    /// A place for every member, or none at all. `only`: the nodes that have changed since there
    /// was no place; elsewhere there is none still.
    pub fn plan(&mut self, only: Option<&BTreeSet<NodeId>>) -> Option<Plan> {
        let unit = self.unit;
        if unit.bundles.len() == 1 {
            return self.place_all(only);
        }
        if let Some(changed) = only
            && !unit.bundles.iter().any(|bundle| changed.iter().any(|node| self.fit(bundle, *node).is_some()))
        {
            return None;
        }
        self.place_all(None).or_else(|| {
            self.even_out = true;
            self.taken.clear();
            self.found.fill(None);
            self.place_all(None)
        })
    }

    /// How many members found a place in the last try.
    pub fn places_found(&self) -> usize {
        self.found.iter().flatten().count()
    }

    fn place_all(&mut self, only: Option<&BTreeSet<NodeId>>) -> Option<Plan> {
        let unit = self.unit;
        for bundle in &unit.bundles {
            self.place(bundle, only)?;
        }
        self.found.iter().cloned().collect()
    }

    fn place(&mut self, bundle: &[usize], only: Option<&BTreeSet<NodeId>>) -> Option<()> {
        let core = self.core;
        let mut best: Option<(Score, NodeId, Vec<Amounts>)> = None;
        let nodes: Box<dyn Iterator<Item = &NodeId>> = match only {
            Some(only) => Box::new(only.iter()),
            None => Box::new(core.nodes.keys()),
        };
        for node in nodes {
            if let Some((score, takes)) = self.fit(bundle, *node)
                && best.as_ref().is_none_or(|(than, _, _)| score < *than)
            {
                best = Some((score, *node, takes));
            }
        }
        let (_, node, takes) = best?;
        for (member, take) in bundle.iter().zip(takes) {
            let taken = self.taken.entry(node).or_default();
            *taken = taken.checked_add(&take)?;
            self.found[*member] = Some((node, take));
        }
        Some(())
    }

    fn fit(&mut self, bundle: &[usize], at: NodeId) -> Option<(Score, Vec<Amounts>)> {
        self.evaluations += 1;
        let node = self.core.nodes.get(&at)?;
        for member in bundle {
            self.allowed(*member, bundle, at, node).ok()?;
        }
        let before = self.available(at, node);
        let mut free = before.clone();
        let mut takes = Vec::with_capacity(bundle.len());
        for member in bundle {
            let take = self.take(*member, node, &free)?;
            free = Cow::Owned(free.checked_sub(&take)?);
            takes.push(take);
        }
        Some((self.score(bundle, at, node, &before, &free), takes))
    }

    fn take(&self, member: usize, node: &Node, free: &Amounts) -> Option<Amounts> {
        let request = &self.unit.members[member].demand.request;
        if self.basis == Basis::Whole {
            // Rather the GPUs that are free already.
            let gpus = free
                .gpus
                .iter()
                .map(|(uuid, n)| (uuid.clone(), node.available.gpus.get(uuid).map_or(0, |now| (*now).min(*n))));
            let free_gpus = Amounts { gpus: gpus.collect(), ..free.clone() };
            if let Some(take) = request.take(&node.totals, &free_gpus) {
                return Some(take);
            }
        }
        request.take(&node.totals, free)
    }

    /// What this unit may have of a node, less what the plan takes there already.
    fn available(&self, at: NodeId, node: &'a Node) -> Cow<'a, Amounts> {
        let mut free = match self.basis {
            Basis::Free => Cow::Borrowed(&node.available),
            Basis::Whole => Cow::Borrowed(&node.totals.amounts),
        };
        let core = self.core;
        for hold in core.holds.iter().filter(|h| h.unit != self.unit.rank.arrival) {
            // One with a better rank takes what it can get; a hold only binds those behind.
            if (self.basis == Basis::Whole || hold.rank < self.unit.rank)
                && let Some(held) = hold.nodes.get(&at)
            {
                free = less(free, held);
            }
        }
        match self.taken.get(&at) {
            Some(taken) => less(free, taken),
            None => free,
        }
    }

    /// What keeps a member from a node other than its resources.
    pub fn allowed(&self, member: usize, mates: &[usize], at: NodeId, node: &Node) -> Result<(), WhyNot> {
        match node.accepts {
            Accepts::Yes => {}
            Accepts::Draining => return Err(WhyNot::Draining),
            Accepts::Suspect => return Err(WhyNot::Suspect),
        }
        if let (Some(why), Basis::Free) = (self.unit.avoid.get(&at), self.basis) {
            return Err(WhyNot::Refused { why: why.clone() });
        }
        match &self.unit.members[member].demand.strategy {
            Strategy::Pack | Strategy::Spread => Ok(()),
            Strategy::Same(anchor) => {
                let near = match anchor {
                    Anchor::Node(node) => *node == at,
                    Anchor::Actor(actor) => self.near_actor(*actor, mates, at),
                    Anchor::Group(group) => self.near_group(group, at),
                };
                if near { Ok(()) } else { Err(WhyNot::NotNear(anchor.clone())) }
            }
            Strategy::Excluding { nodes, .. } if nodes.contains(&at) => Err(WhyNot::Excluded),
            Strategy::Excluding { groups, .. } => {
                let mate = |group: &String| {
                    let others = mates.iter().filter(|m| **m != member);
                    others.into_iter().any(|m| self.unit.members[*m].demand.group.as_ref() == Some(group))
                };
                match groups.iter().find(|g| self.members_of(g, at) > 0 || mate(g)) {
                    Some(group) => Err(WhyNot::HasGroup(group.clone())),
                    None => Ok(()),
                }
            }
        }
    }

    fn near_actor(&self, actor: crate::id::ActorId, mates: &[usize], at: NodeId) -> bool {
        let mate = mates.iter().any(|m| self.unit.members[*m].id == actor);
        mate || self.core.placed.get(&actor).is_some_and(|p| p.node == at)
    }

    fn near_group(&self, group: &str, at: NodeId) -> bool {
        self.members_of(group, at) > 0 || !self.core.groups.contains_key(group)
    }

    /// How many of a group are on a node, those planned included.
    fn members_of(&self, group: &str, at: NodeId) -> u64 {
        let there = self.core.groups.get(group).and_then(|nodes| nodes.get(&at)).copied().unwrap_or(0);
        let planned = self.unit.members.iter().zip(&self.found).filter(|(member, found)| {
            member.demand.group.as_deref() == Some(group) && found.as_ref().is_some_and(|(node, _)| *node == at)
        });
        there.saturating_add(u64::try_from(planned.count()).unwrap_or(u64::MAX))
    }

    fn score(&self, bundle: &[usize], at: NodeId, node: &Node, before: &Amounts, after: &Amounts) -> Score {
        let totals = &node.totals.amounts;
        if self.basis == Basis::Whole {
            return (Reverse(0), self.missing(node, before, after), node.actors, 0);
        }
        let members = bundle.iter().map(|m| &self.unit.members[*m].demand);
        let near: u64 = members.clone().filter_map(|d| d.near_data.get(&at)).fold(0, |a, b| a.saturating_add(*b));
        let near = Reverse(near / self.core.options.locality_step.max(1));
        let first = bundle.first().map(|m| &self.unit.members[*m].demand);
        if self.even_out || first.is_some_and(|d| d.strategy == Strategy::Spread) {
            let group = first.and_then(|d| d.group.as_deref());
            let gang = self.found.iter().flatten().filter(|(node, _)| *node == at).count();
            let peers = group.map_or(0, |g| self.members_of(g, at)).max(u64::try_from(gang).unwrap_or(u64::MAX));
            return (near, peers, totals.dominant_share(after), node.actors);
        }
        let no_gpu = members.into_iter().all(|d| d.request.gpu == super::GpuRequest::None);
        let spoils_gpu = u64::from(no_gpu && !totals.gpus.is_empty());
        let idle = u64::from(totals.dominant_share(before) == 0 && node.actors == 0);
        (near, spoils_gpu, idle, totals.free_share(after))
    }

    /// The largest share of the node that still has to become free, in millionths.
    fn missing(&self, node: &Node, before: &Amounts, after: &Amounts) -> u64 {
        let need = before.saturating_sub(after);
        let all = &node.totals.amounts;
        let now = &node.available;
        let cpu = millionths(need.cpu_milli.saturating_sub(now.cpu_milli), all.cpu_milli);
        let memory = millionths(need.memory_bytes.saturating_sub(now.memory_bytes), all.memory_bytes);
        let named = |need: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>, all: &BTreeMap<String, u64>| {
            let of = |map: &BTreeMap<String, u64>, name: &str| map.get(name).copied().unwrap_or(0);
            need.iter().map(|(n, v)| millionths(v.saturating_sub(of(now, n)), of(all, n))).max().unwrap_or(0)
        };
        let gpus = named(&need.gpus, &now.gpus, &all.gpus);
        cpu.max(memory).max(gpus).max(named(&need.custom, &now.custom, &all.custom))
    }
}
