//! Holding nodes back for those that have waited long.

use std::time::Duration;

use super::core::PlacementCore;
use super::plan::Basis;
use super::state::{Hold, Rank, WaitReason};

impl PlacementCore {
    /// Lets holds go whose time is over, and holds back what the first of each line needs that has
    /// waited long, best rank first. O(shapes + holds × nodes).
    pub(super) fn hold_back(&mut self, now: Duration) {
        let over: Vec<u64> = self.holds.iter().filter(|h| h.until <= now).map(|h| h.unit).collect();
        for key in over {
            self.drop_holds(|hold| hold.unit == key);
            self.wait_anew(key, now);
        }
        for rank in self.hungry(now) {
            if self.holds.len() >= self.options.max_holds {
                return;
            }
            let key = rank.arrival;
            match self.plan_on(key, None, Basis::Whole) {
                Some(plan) => {
                    let mut hold = Hold {
                        unit: key,
                        rank,
                        nodes: Default::default(),
                        until: now.saturating_add(self.options.hold_for),
                    };
                    for (node, amounts) in plan {
                        let held = hold.nodes.entry(node).or_default();
                        *held = held.checked_add(&amounts).unwrap_or_else(|| held.clone());
                    }
                    let nodes = hold.nodes.keys().copied().collect();
                    self.holds.push(hold);
                    self.say(key, WaitReason::Holding { nodes });
                }
                // Nothing that ends would help it.
                None => self.wait_anew(key, now),
            }
        }
    }

    /// Lets go; whoever waits may use it.
    pub(super) fn drop_holds(&mut self, which: impl Fn(&Hold) -> bool) {
        let (gone, kept) = std::mem::take(&mut self.holds).into_iter().partition(which);
        self.holds = kept;
        let gone: Vec<Hold> = gone;
        for node in gone.iter().flat_map(|hold| hold.nodes.keys()) {
            self.has_more(*node);
        }
    }

    fn hungry(&self, now: Duration) -> Vec<Rank> {
        let long = |rank: &Rank| {
            let unit = self.units.get(&rank.arrival);
            unit.is_some_and(|u| now.saturating_sub(u.hungry_since) >= self.options.hold_after)
        };
        let first = self.classes.values().filter_map(|line| line.queue.first().copied());
        let mut hungry: Vec<Rank> =
            first.filter(long).filter(|r| !self.holds.iter().any(|h| h.unit == r.arrival)).collect();
        hungry.sort();
        hungry
    }

    fn wait_anew(&mut self, key: u64, now: Duration) {
        if let Some(unit) = self.units.get_mut(&key) {
            unit.hungry_since = now;
            if matches!(unit.said, Some(WaitReason::Holding { .. })) {
                self.say(key, WaitReason::Busy);
            }
        }
    }
}
