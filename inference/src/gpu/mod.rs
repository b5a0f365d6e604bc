//! Whose a GPU is, and what fits on it. Nothing here needs CUDA: a node without it can ask who holds which GPU.
//!
//! ```text
//! engine's thread → HeldGpu::of(uuid)  the lease of the process, shared by its engines
//!                 → admission::admit   bytes of weights, keys and values against what is free
//! ```

// Without CUDA only its tests run.
#[cfg(any(test, feature = "cuda"))]
pub(crate) mod admission;
mod lease;

pub use self::lease::{GpuLease, LeaseDir, LeaseError};
