//! Files as memory.

use std::fs::File;
use std::sync::Arc;

use super::packed::Bytes;

/// Maps a file that nobody changes. One that is cut short while it is mapped ends the process at the next access: only
/// files of our own are mapped, and those are replaced, never written in place.
pub(crate) fn map(file: &File) -> std::io::Result<Bytes> {
    // SAFETY: see above.
    let map = unsafe { memmap2::Mmap::map(file)? };
    // Read ahead: every weight is needed for the first token.
    let _ = map.advise(memmap2::Advice::WillNeed);
    Ok(Arc::new(map))
}
