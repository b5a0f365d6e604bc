//! Port: which GPUs this node has. Implemented where the drivers are known.

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

/// One GPU, by the UUID that survives reboots and re-ordering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct Gpu {
    pub uuid: String,
    pub name: String,
    pub memory_bytes: u64,
}

/// Looks at the machine.
pub trait ResourceProbe: Send + Sync + 'static {
    fn gpus(&self) -> Vec<Gpu>;
}

/// A machine without GPUs.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGpus;

impl ResourceProbe for NoGpus {
    fn gpus(&self) -> Vec<Gpu> {
        Vec::new()
    }
}
