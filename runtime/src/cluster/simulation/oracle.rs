//! What must hold at every moment, and what in the end.

use std::collections::BTreeMap;

use super::control::Control;
use super::node::Node;
use super::runner::Runner;
use crate::actor::ActorAddr;
use crate::cluster::registry::{Book, ClusterEvent, Place};
use crate::id::{ActorId, Generation, Incarnation, JobId, NodeId};
use crate::job::JobState;
use crate::membership::MemberState;
use crate::time::Timestamp;

#[derive(Default)]
pub(super) struct Oracle {
    /// What is on disk, as it adds up.
    book: Book,
    /// Every place that an actor was ever given.
    placed: BTreeMap<(ActorId, Generation), Place>,
    /// The highest generation of each actor on each life of a node.
    owners: BTreeMap<ActorId, BTreeMap<(NodeId, Incarnation), Generation>>,
}

impl Oracle {
    /// An event is on disk.
    pub fn recorded(&mut self, event: &ClusterEvent, at: Timestamp) -> Result<(), String> {
        if let ClusterEvent::Placed { actor, generation, place } = event
            && let Some(entry) = self.book.actor(*actor)
        {
            // A batch of which nobody could tell whether it was written is written again.
            let before = self.placed.insert((*actor, *generation), place.clone());
            let twice = before.is_some_and(|before| before == *place);
            if !twice && (entry.place.is_some() || *generation <= entry.generation) {
                return Err(format!(
                    "{actor} was placed while it had a place, or not under a new generation: {event:?}"
                ));
            }
        }
        self.book.apply(event, at);
        Ok(())
    }

    pub fn look(&mut self, nodes: &[Node], now: u64) -> Result<(), String> {
        let mut acting: BTreeMap<ActorId, ActorAddr> = BTreeMap::new();
        let mut runs: BTreeMap<&JobId, &Runner> = BTreeMap::new();
        for node in nodes {
            let Some(life) = &node.life else { continue };
            let held = life.ledger.holdings().map(|(_, amounts, _)| amounts.clone());
            let sum = held.fold(life.ledger.free().clone(), |sum, held| sum.checked_add(&held).unwrap_or_default());
            if sum != life.ledger.totals().amounts {
                return Err(format!("node {} has {sum} and not {}", node.id, life.ledger.totals()));
            }
            if node.may_act(now) {
                let runners = life.copies.values().filter_map(|copy| copy.runner.as_ref());
                for run in runners.filter(|runner| runner.is_acting()) {
                    if let Some(other) = runs.insert(&run.job, run) {
                        return Err(format!("two runs of a job may act: {other:?} and {run:?}"));
                    }
                }
            }
            // Of a frozen node too: they would act if it woke at this very moment.
            let acts = node.may_act(now);
            for addr in life.copies.values().filter_map(|copy| copy.addr).filter(|_| acts) {
                self.owner(addr)?;
                if let Some(other) = acting.insert(addr.actor, addr) {
                    return Err(format!("two lives of an actor may act: {other} and {addr}"));
                }
            }
        }
        Ok(())
    }

    fn owner(&mut self, addr: ActorAddr) -> Result<(), String> {
        let owners = self.owners.entry(addr.actor).or_default();
        let owner = (addr.node, addr.incarnation);
        let others = owners.iter().filter(|(other, _)| **other != owner).map(|(_, generation)| *generation).max();
        if !owners.contains_key(&owner) && others.is_some_and(|others| others >= addr.generation) {
            return Err(format!("{addr} begins under a generation that was used before: {others:?}"));
        }
        let highest = owners.entry(owner).or_default();
        *highest = addr.generation.max(*highest);
        Ok(())
    }

    /// Long after all faults.
    pub fn end(
        &self,
        control: &Control,
        nodes: &[Node],
        (actors, jobs): (&[String], usize),
        now: u64,
        clock: std::time::Duration,
    ) -> Result<(), String> {
        let registry = &control.registry;
        if *registry.book() != self.book {
            return Err(format!(
                "what is on disk isn't what the control node knows:\n{:?}\n{:?}",
                self.book,
                registry.book()
            ));
        }
        for member in registry.members_now(clock) {
            let node = nodes.iter().find(|node| node.id == member.node);
            let well = matches!(member.state, MemberState::Alive | MemberState::Draining);
            if !well || node.is_none_or(|node| node.incarnation != member.incarnation || !node.may_act(now)) {
                return Err(format!("not well: {member:?}"));
            }
        }
        for key in actors {
            let Some((actor, _)) = registry.book().by_key(key) else {
                let over = registry.book().over(key);
                return Err(format!("{key} was acknowledged and isn't there: {over:?}"));
            };
            let at = registry.addr_of(actor);
            let copies: Vec<Option<ActorAddr>> =
                nodes.iter().filter_map(|node| node.life.as_ref()?.copies.get(&actor)).map(|copy| copy.addr).collect();
            if at.is_none() || copies != [at] {
                return Err(format!("{key} is at {at:?}, and really at {copies:?}"));
            }
        }
        self.nothing_left(registry, nodes)?;
        let records = control.jobs.core.records(Timestamp(now.cast_signed()));
        match records.iter().find(|job| job.state != JobState::Succeeded) {
            Some(job) => Err(format!("a job hasn't ended: {job:?}")),
            None if records.len() != jobs => Err(format!("{} jobs of {jobs} are there", records.len())),
            None => Ok(()),
        }
    }

    /// Nothing runs, and nothing is held, for nobody.
    fn nothing_left(&self, registry: &crate::cluster::registry::Registry, nodes: &[Node]) -> Result<(), String> {
        for node in nodes {
            let Some(life) = &node.life else { return Err(format!("node {} isn't there", node.id)) };
            if let Some((actor, copy)) = life.copies.iter().find(|(actor, _)| registry.book().actor(**actor).is_none())
            {
                return Err(format!("{} ({actor}) runs on node {} and is nobody's", copy.key, node.id));
            }
            // A reservation for which nothing was started runs out by itself.
            let held = life.ledger.holdings().filter(|(.., started)| *started);
            let held: Vec<_> = held.map(|(reservation, ..)| reservation).collect();
            let mut used: Vec<_> = life.copies.values().map(|copy| copy.reservation).collect();
            used.sort_unstable();
            if held != used || !life.exits.is_empty() {
                let exits = &life.exits;
                return Err(format!("node {} holds {held:?} and uses {used:?}; not told: {exits:?}", node.id));
            }
        }
        Ok(())
    }
}
