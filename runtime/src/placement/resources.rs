//! What a node has and what is taken of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::probe::Gpu;

use super::PlacementError;
use super::text::check_name;

/// What can be counted. Of a node: its whole or what is free; of an actor: what it holds.
///
/// A subtraction keeps the names whose amount became 0, so that free and total have the same names.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead,
)]
#[serde(default)]
pub struct Amounts {
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    pub memory_bytes: u64,
    /// Bytes of memory of each GPU, by UUID. A GPU that is held whole has all its bytes taken.
    pub gpus: BTreeMap<String, u64>,
    /// Thousandths of what the operator counts, by name (licences, slots).
    pub custom: BTreeMap<String, u64>,
}

/// The whole of a node.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead,
)]
#[serde(default)]
pub struct Resources {
    pub amounts: Amounts,
    pub labels: BTreeMap<String, String>,
}

type Named = BTreeMap<String, u64>;

impl Amounts {
    /// The sum; `None` where a number would overflow.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        self.with(other, u64::checked_add)
    }

    /// The rest; `None` where more would be taken than there is, or of something that isn't there.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.with(other, u64::checked_sub)
    }

    /// The rest, 0 where more would be taken than there is.
    pub fn saturating_sub(&self, other: &Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            gpus: saturating_sub(&self.gpus, &other.gpus),
            custom: saturating_sub(&self.custom, &other.custom),
        }
    }

    /// The sum, nowhere more than `limit`: what was given back to a node.
    pub fn add_up_to(&self, other: &Self, limit: &Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli).min(limit.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes).min(limit.memory_bytes),
            gpus: add_up_to(&self.gpus, &other.gpus, &limit.gpus),
            custom: add_up_to(&self.custom, &other.custom, &limit.custom),
        }
    }

    /// Whether there is nothing of anything.
    pub fn is_nothing(&self) -> bool {
        self.cpu_milli == 0
            && self.memory_bytes == 0
            && [&self.gpus, &self.custom].iter().all(|m| m.values().all(|n| *n == 0))
    }

    /// The share of the whole that is taken most, in millionths: what makes a node loaded.
    pub(super) fn dominant_share(&self, free: &Self) -> u64 {
        let gpu = (self.gpu_bytes(), free.gpu_bytes());
        let custom = self.custom.iter().map(|(name, all)| (*all, free.custom.get(name).copied().unwrap_or(0)));
        [(self.cpu_milli, free.cpu_milli), (self.memory_bytes, free.memory_bytes), gpu]
            .into_iter()
            .chain(custom)
            .map(|(all, free)| millionths(all.saturating_sub(free), all))
            .max()
            .unwrap_or(0)
    }

    /// The mean share of the whole that is free, in millionths: what best fit makes small.
    pub(super) fn free_share(&self, free: &Self) -> u64 {
        let gpu = (self.gpu_bytes(), free.gpu_bytes());
        let dimensions = [(self.cpu_milli, free.cpu_milli), (self.memory_bytes, free.memory_bytes), gpu];
        dimensions.into_iter().map(|(all, free)| millionths(free, all)).fold(0, u64::saturating_add)
    }

    /// Whether there is more of anything than in `other`.
    pub(super) fn has_more_than(&self, other: &Self) -> bool {
        let more = |a: &Named, b: &Named| a.iter().any(|(name, n)| *n > b.get(name).copied().unwrap_or(0));
        self.cpu_milli > other.cpu_milli
            || self.memory_bytes > other.memory_bytes
            || more(&self.gpus, &other.gpus)
            || more(&self.custom, &other.custom)
    }

    fn gpu_bytes(&self) -> u64 {
        self.gpus.values().copied().fold(0, u64::saturating_add)
    }

    fn with(&self, other: &Self, by: fn(u64, u64) -> Option<u64>) -> Option<Self> {
        Some(Self {
            cpu_milli: by(self.cpu_milli, other.cpu_milli)?,
            memory_bytes: by(self.memory_bytes, other.memory_bytes)?,
            gpus: named_with(&self.gpus, &other.gpus, by)?,
            custom: named_with(&self.custom, &other.custom, by)?,
        })
    }
}

impl Resources {
    /// The machine's GPUs beside what the operator gave. A GPU without memory can't be shared out
    /// and is left away.
    pub fn with_gpus(mut self, gpus: &[Gpu]) -> Self {
        let known = gpus.iter().filter(|g| g.memory_bytes > 0);
        self.amounts.gpus.extend(known.map(|g| (g.uuid.clone(), g.memory_bytes)));
        self
    }

    /// Whether all names are ones that can be written and read back.
    pub fn check(&self) -> Result<(), PlacementError> {
        let counted = self.amounts.gpus.keys().chain(self.amounts.custom.keys());
        counted.chain(self.labels.keys()).chain(self.labels.values()).try_for_each(|name| check_name(name))?;
        match self.amounts.gpus.iter().find(|(_, bytes)| **bytes == 0) {
            Some((uuid, _)) => {
                Err(PlacementError::Invalid { what: format!("gpu {uuid}"), rule: "a GPU has more than 0 bytes" })
            }
            None => Ok(()),
        }
    }
}

/// `a - b` without a copy where there is nothing to take off.
pub(super) fn less<'a>(a: Cow<'a, Amounts>, b: &Amounts) -> Cow<'a, Amounts> {
    if b.is_nothing() { a } else { Cow::Owned(a.saturating_sub(b)) }
}

/// `part / whole` in millionths; nothing of nothing is 0.
pub(super) fn millionths(part: u64, whole: u64) -> u64 {
    let share = (u128::from(part) * 1_000_000).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(share).unwrap_or(u64::MAX)
}

fn named_with(a: &Named, b: &Named, by: fn(u64, u64) -> Option<u64>) -> Option<Named> {
    let mut sum = a.clone();
    for (name, amount) in b {
        let old = sum.get(name).copied().unwrap_or(0);
        let new = by(old, *amount)?;
        if new != old {
            sum.insert(name.clone(), new);
        }
    }
    Some(sum)
}

fn saturating_sub(a: &Named, b: &Named) -> Named {
    a.iter().map(|(name, v)| (name.clone(), v.saturating_sub(b.get(name).copied().unwrap_or(0)))).collect()
}

fn add_up_to(a: &Named, b: &Named, limit: &Named) -> Named {
    let sum = |name: &str| a.get(name).copied().unwrap_or(0).saturating_add(b.get(name).copied().unwrap_or(0));
    limit.iter().map(|(name, most)| (name.clone(), sum(name).min(*most))).collect()
}
