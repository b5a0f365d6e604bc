//! SHA-256 of files and streams, as lower-case hex.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ModelError;

/// Large enough that the hash, not the calls, is the cost.
const CHUNK: usize = 1 << 20;

/// Copies a stream into a sink and a hash at once. Stops with an error of the sink's or the reader's.
pub(super) fn copy_hashed(
    reader: &mut impl Read,
    hasher: &mut Sha256,
    mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(&buffer[..n]);
        sink(&buffer[..n])?;
        total += n as u64;
    }
}

/// The hash of a whole file.
pub fn sha256_file(path: &Path) -> Result<String, ModelError> {
    let mut file = File::open(path).map_err(ModelError::io("reading", path))?;
    let mut hasher = Sha256::new();
    copy_hashed(&mut file, &mut hasher, |_| Ok(())).map_err(ModelError::io("reading", path))?;
    Ok(hex(hasher))
}

/// The finished hash as text.
pub(super) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().fold(String::with_capacity(64), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
