//! What an actor needs of a node, and whether a node has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use super::text::{check_name, milli_text};
use super::{Amounts, PlacementError, Resources};

/// What an actor needs. The default is nothing: it fits everywhere.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead,
)]
#[serde(default)]
pub struct Request {
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    pub memory_bytes: u64,
    pub gpu: GpuRequest,
    /// Thousandths, by name.
    pub custom: BTreeMap<String, u64>,
    /// All must hold for the node's labels.
    pub labels: BTreeSet<Selector>,
}

/// What an actor needs of a node's GPUs.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead,
)]
#[serde(rename_all = "snake_case")]
pub enum GpuRequest {
    #[default]
    None,
    /// So many GPUs for itself, each with at least so many bytes in total.
    Whole { count: u32, memory_bytes: u64 },
    /// So many bytes of any one GPU, beside others.
    Share { memory_bytes: u64 },
    /// This GPU: so many bytes of it, or all of it for itself.
    Named { uuid: String, share_bytes: Option<u64> },
}

/// A condition on one label of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    Is {
        key: String,
        value: String,
    },
    /// Holds too where the node has no such label.
    IsNot {
        key: String,
        value: String,
    },
    In {
        key: String,
        values: BTreeSet<String>,
    },
    Exists {
        key: String,
    },
    Missing {
        key: String,
    },
}

/// One thing that keeps a request from a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(rename_all = "snake_case")]
pub enum Short {
    Cpu {
        missing_milli: u64,
    },
    Memory {
        missing_bytes: u64,
    },
    /// Of the GPUs wanted, so many would do.
    Gpu {
        wanted: GpuRequest,
        found: u32,
    },
    Custom {
        name: String,
        missing_milli: u64,
    },
    /// The node has this value, or no such label.
    Label {
        selector: Selector,
        has: Option<String>,
    },
}

impl Selector {
    pub fn key(&self) -> &str {
        match self {
            Self::Is { key, .. }
            | Self::IsNot { key, .. }
            | Self::In { key, .. }
            | Self::Exists { key }
            | Self::Missing { key } => key,
        }
    }

    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = labels.get(self.key());
        match self {
            Self::Is { value, .. } => has == Some(value),
            Self::IsNot { value, .. } => has != Some(value),
            Self::In { values, .. } => has.is_some_and(|v| values.contains(v)),
            Self::Exists { .. } => has.is_some(),
            Self::Missing { .. } => has.is_none(),
        }
    }
}

impl Request {
    /// Whether all names can be written and read back, and no GPU is asked for in vain.
    pub fn check(&self) -> Result<(), PlacementError> {
        self.custom.keys().try_for_each(|name| check_name(name))?;
        for selector in &self.labels {
            check_name(selector.key())?;
            match selector {
                Selector::Is { value, .. } | Selector::IsNot { value, .. } => check_name(value)?,
                Selector::In { values, .. } if values.is_empty() => {
                    return Err(invalid(selector.to_string(), "`in` needs at least one value"));
                }
                Selector::In { values, .. } => values.iter().try_for_each(|v| check_name(v))?,
                Selector::Exists { .. } | Selector::Missing { .. } => {}
            }
        }
        match &self.gpu {
            GpuRequest::Named { uuid, .. } => check_name(uuid)?,
            GpuRequest::None | GpuRequest::Whole { .. } | GpuRequest::Share { .. } => {}
        }
        match self.gpu {
            GpuRequest::Whole { count: 0, .. } => Err(invalid("gpu".into(), "ask for at least one GPU, or for none")),
            GpuRequest::Share { memory_bytes: 0 } | GpuRequest::Named { share_bytes: Some(0), .. } => {
                Err(invalid("gpu".into(), "a share is more than 0 bytes"))
            }
            _ => Ok(()),
        }
    }

    /// What this request would hold on a node with so much free; `None` if it doesn't fit.
    /// GPUs are chosen so that the least is broken up: whole ones the smallest that do, a share
    /// where the least is left; among equals the first UUID.
    pub fn take(&self, node: &Resources, free: &Amounts) -> Option<Amounts> {
        let enough = self.cpu_milli <= free.cpu_milli
            && self.memory_bytes <= free.memory_bytes
            && self.custom.iter().all(|(name, n)| *n <= amount(&free.custom, name))
            && self.labels.iter().all(|s| s.holds(&node.labels));
        if !enough {
            return None;
        }
        let gpus = self.gpu.choose(&node.amounts.gpus, &free.gpus).ok()?;
        let custom = self.custom.iter().filter(|(_, n)| **n > 0).map(|(k, n)| (k.clone(), *n)).collect();
        Some(Amounts { cpu_milli: self.cpu_milli, memory_bytes: self.memory_bytes, gpus, custom })
    }

    /// Everything that keeps this request from a node with so much free; empty if it fits.
    pub fn shortfalls(&self, node: &Resources, free: &Amounts) -> Vec<Short> {
        let mut short = Vec::new();
        if let Some(missing_milli) = missing(self.cpu_milli, free.cpu_milli) {
            short.push(Short::Cpu { missing_milli });
        }
        if let Some(missing_bytes) = missing(self.memory_bytes, free.memory_bytes) {
            short.push(Short::Memory { missing_bytes });
        }
        if let Err(found) = self.gpu.choose(&node.amounts.gpus, &free.gpus) {
            short.push(Short::Gpu { wanted: self.gpu.clone(), found });
        }
        for (name, wanted) in &self.custom {
            if let Some(missing_milli) = missing(*wanted, amount(&free.custom, name)) {
                short.push(Short::Custom { name: name.clone(), missing_milli });
            }
        }
        for selector in self.labels.iter().filter(|s| !s.holds(&node.labels)) {
            let has = node.labels.get(selector.key()).cloned();
            short.push(Short::Label { selector: selector.clone(), has });
        }
        short
    }
}

impl GpuRequest {
    /// The GPUs to take and how much of each; else how many would do.
    fn choose(&self, all: &BTreeMap<String, u64>, free: &BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>, u32> {
        let unused = |uuid: &str, total: u64| total > 0 && amount(free, uuid) == total;
        match self {
            Self::None => Ok(BTreeMap::new()),
            Self::Whole { count, memory_bytes } => {
                let does = |(uuid, total): &(&String, &u64)| **total >= *memory_bytes && unused(uuid, **total);
                let mut fitting: Vec<(&String, &u64)> = all.iter().filter(does).collect();
                let found = u32::try_from(fitting.len()).unwrap_or(u32::MAX);
                if found < *count {
                    return Err(found);
                }
                fitting.sort_by_key(|(uuid, total)| (**total, *uuid));
                Ok(fitting.into_iter().zip(0..*count).map(|((uuid, total), _)| (uuid.clone(), *total)).collect())
            }
            Self::Share { memory_bytes } => {
                let fitting = all.keys().filter(|uuid| amount(free, uuid) >= *memory_bytes);
                let best = fitting.min_by_key(|uuid| (amount(free, uuid), *uuid)).ok_or(0_u32)?;
                Ok(BTreeMap::from([(best.clone(), *memory_bytes)]))
            }
            Self::Named { uuid, share_bytes } => {
                let total = amount(all, uuid);
                let wanted = share_bytes.unwrap_or(total);
                let fits =
                    total > 0 && if share_bytes.is_some() { amount(free, uuid) >= wanted } else { unused(uuid, total) };
                if fits { Ok(BTreeMap::from([(uuid.clone(), wanted)])) } else { Err(0) }
            }
        }
    }
}

fn amount(of: &BTreeMap<String, u64>, name: &str) -> u64 {
    of.get(name).copied().unwrap_or(0)
}

fn missing(wanted: u64, has: u64) -> Option<u64> {
    wanted.checked_sub(has).filter(|short| *short > 0)
}

fn invalid(what: String, rule: &'static str) -> PlacementError {
    PlacementError::Invalid { what, rule }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { missing_milli } => write!(f, "short of cpu by {}", milli_text(*missing_milli)),
            Self::Memory { missing_bytes } => write!(f, "short of memory by {}", ByteSize(*missing_bytes)),
            Self::Gpu { wanted: GpuRequest::Named { uuid, .. }, .. } => write!(f, "gpu {uuid} is not free enough"),
            Self::Gpu { wanted, found } => write!(f, "gpu={wanted} wanted, {found} would do"),
            Self::Custom { name, missing_milli } => write!(f, "short of {name} by {}", milli_text(*missing_milli)),
            Self::Label { selector, has: None } => write!(f, "label {selector} missing"),
            Self::Label { selector, has: Some(has) } => write!(f, "label {selector} wanted, it has {has}"),
        }
    }
}
