//! GPUs by their UUIDs. An ordinal is no name: it changes with `CUDA_VISIBLE_DEVICES`, with the driver's order and with MIG.
//!
//! All engines of a process that use a GPU share its lease, and load one after the other: what is free means something only
//! while nobody else takes of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, result};

use super::shape::Shape;
use super::tensor::TensorBackend;
use super::{Backend, Batch};
use crate::EngineError;
use crate::gpu::admission::Memory;
use crate::gpu::{GpuLease, LeaseDir};

/// The GPUs that this process holds.
static HELD: Mutex<Option<HashMap<String, Weak<Held>>>> = Mutex::new(None);

/// A GPU of this process.
pub(crate) struct Held {
    /// Taken while an engine is being loaded.
    loading: Mutex<()>,
    _lease: GpuLease,
}

impl Held {
    fn of(uuid: &str) -> Result<Arc<Self>, EngineError> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.get_or_insert_default();
        if let Some(held) = held.get(uuid).and_then(Weak::upgrade) {
            return Ok(held);
        }
        let lease = LeaseDir::of_machine().take(uuid).map_err(|e| EngineError::Config(e.to_string()))?;
        let new = Arc::new(Self { loading: Mutex::new(()), _lease: lease });
        held.insert(uuid.to_owned(), Arc::downgrade(&new));
        Ok(new)
    }
}

/// A GPU that is opened. Kept as long as anything of an engine is on it.
pub(crate) struct Gpu {
    pub(crate) device: Device,
    context: Arc<CudaContext>,
    held: Arc<Held>,
}

impl Gpu {
    /// Opens the GPU with that UUID, as the driver writes it: `GPU-…`.
    pub(crate) fn open(uuid: &str) -> Result<Self, EngineError> {
        let held = Held::of(uuid)?;
        result::init().map_err(driver)?;
        let count = result::device::get_count().map_err(driver)?;
        let mut found = Vec::new();
        for ordinal in 0..count {
            // Not by a context: that would take memory of every GPU that is only looked at.
            let gpu = result::device::get(ordinal).and_then(result::device::get_uuid).map_err(driver)?;
            let id = spelled(gpu.bytes.map(|b| b as u8));
            if id == uuid {
                let ordinal = usize::try_from(ordinal).unwrap_or(0);
                let context = CudaContext::new(ordinal).map_err(driver)?;
                let device = Device::new_cuda_with_stream(ordinal)?;
                return Ok(Self { device, context, held });
            }
            found.push(id);
        }
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        Err(EngineError::Model(format!("there is no such GPU: {uuid}; found: {found}")))
    }

    /// Until it is dropped no other engine of this process is loaded onto this GPU.
    pub(crate) fn loading(&self) -> MutexGuard<'_, ()> {
        self.held.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is free now, of all there is.
    pub(crate) fn memory(&self) -> Result<Memory, EngineError> {
        let asked = self.context.bind_to_thread().and_then(|()| self.context.mem_get_info());
        let (free, total) = asked.map_err(driver)?;
        Ok(Memory { free: free as u64, total: total as u64 })
    }
}

/// A model on a GPU, and the GPU's lease as long as it is there.
pub(crate) struct GpuBackend {
    pub(crate) backend: TensorBackend,
    pub(crate) gpu: Gpu,
    /// Whether a step has failed. The driver is asked only then.
    pub(crate) failed: bool,
}

impl Backend for GpuBackend {
    fn shape(&self) -> &Shape {
        self.backend.shape()
    }

    fn context(&self) -> usize {
        self.backend.context()
    }

    fn blocks(&self) -> usize {
        self.backend.blocks()
    }

    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        let done = self.backend.step(batch, logits);
        self.failed = done.is_err();
        done
    }

    fn copy_block(&mut self, from: u32, to: u32) {
        self.backend.copy_block(from, to);
    }

    fn vocabulary(&self) -> usize {
        self.backend.vocabulary()
    }

    fn weight_bytes(&self) -> u64 {
        self.backend.weight_bytes()
    }

    fn describe(&self) -> String {
        self.backend.describe()
    }

    /// A fault stays with the context: every later call gives it again. Want of memory doesn't.
    fn is_lost(&self) -> bool {
        self.failed && self.gpu.memory().is_err()
    }
}

/// Not by its `Display`, which asks the driver that has just failed.
fn driver(error: DriverError) -> EngineError {
    EngineError::Model(format!("the CUDA driver: {error:?}"))
}

/// `GPU-` and the bytes in the customary groups.
fn spelled(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("GPU-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
