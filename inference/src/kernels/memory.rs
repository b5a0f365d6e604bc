//! Memory for weights, and for keys and values.

use std::alloc::{Layout, alloc_zeroed};

use half::f16;
use memmap2::{Advice, MmapMut};

/// Zeroed memory in large pages where the system has them: every weight is read for every token, and with pages of 4 KiB
/// looking them up takes a third of the memory's speed (measured: 24 instead of 32 GB/s). That is why the tiles' file is
/// read into such memory and not mapped: a file's pages are small.
pub(crate) fn large(len: usize) -> std::io::Result<MmapMut> {
    // Nothing can be mapped as nothing.
    let memory = MmapMut::map_anon(len.max(1))?;
    // A wish: without it everything works, slower.
    let _ = memory.advise(Advice::HugePage);
    Ok(memory)
}

/// So many zeros, of which the system gives each page when it is first written; `None` if it never could. How many are asked
/// for is what a model's file says, so a refusal must not end the process.
pub(super) fn zeroed(len: usize) -> Option<Vec<f16>> {
    let layout = Layout::array::<f16>(len).ok().filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout has a size.
    let start = unsafe { alloc_zeroed(layout) };
    // SAFETY: it was allocated with the layout of a vector of that capacity, and zeros are numbers.
    (!start.is_null()).then(|| unsafe { Vec::from_raw_parts(start.cast(), len, len) })
}
