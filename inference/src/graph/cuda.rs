//! GPUs by their UUIDs. An ordinal is no name: it changes with `CUDA_VISIBLE_DEVICES`, with the driver's order and with MIG.

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, result};

use crate::EngineError;

/// Left to the driver, to cuBLAS and to what a step needs beside weights, keys and values.
const SPARE: f64 = 0.1;

/// A GPU that is opened.
pub(crate) struct Gpu {
    pub(crate) device: Device,
    context: std::sync::Arc<CudaContext>,
}

impl Gpu {
    /// Opens the GPU with that UUID, as the driver writes it: `GPU-…`.
    pub(crate) fn open(uuid: &str) -> Result<Self, EngineError> {
        let fail = |what: &str, why: String| EngineError::Model(format!("{what}: {why}"));
        let driver = |e| fail("the CUDA driver", format!("{e:?}"));
        result::init().map_err(driver)?;
        let count = usize::try_from(result::device::get_count().map_err(driver)?).unwrap_or(0);
        let mut found = Vec::new();
        for ordinal in 0..count {
            let context = CudaContext::new(ordinal).map_err(driver)?;
            let id = spelled(context.uuid().map_err(driver)?.bytes.map(|b| b as u8));
            if id == uuid {
                let device = Device::new_cuda_with_stream(ordinal)?;
                return Ok(Self { device, context });
            }
            found.push(id);
        }
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        Err(fail("there is no such GPU", format!("{uuid}; found: {found}")))
    }

    /// What keys and values may take now: the free memory less what a step needs.
    pub(crate) fn room(&self) -> Result<u64, EngineError> {
        let bound = self.context.bind_to_thread().and_then(|()| self.context.mem_get_info());
        let (free, _) = bound.map_err(|e| EngineError::Failed(format!("the GPU's memory: {e:?}")))?;
        Ok((free as f64 * (1.0 - SPARE)) as u64)
    }
}

/// `GPU-` and the bytes in the customary groups.
fn spelled(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("GPU-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
