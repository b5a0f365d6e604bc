//! The weights of a model as tiles, kept in a file: a second start reads them instead of making them.
//!
//! The file is named after the model's file or folder and a key: the hash of headers, sizes and times, and the version of the
//! form. It is written beside its name, made durable and renamed, so a file of that name is whole. It is a cache:
//! deleting it costs the next start some seconds.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::MmapMut;
use sha2::{Digest, Sha256};

use crate::EngineError;
use crate::checkpoint::Checkpoint;
use crate::kernels::{Bytes, large};

/// Raised when the planes of a matrix change.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"FLTTILES";
/// Before the first plane: magic, version, length, key.
const HEADER: usize = 64;
/// What each thread reads at a time.
const CHUNK: usize = 8 << 20;

/// Where the bytes of a model's tiles come from.
pub(super) struct Tiles<'a> {
    pub(super) file: &'a Checkpoint,
    pub(super) dir: Option<&'a Path>,
    pub(super) len: usize,
}

impl Tiles<'_> {
    /// The tiles of a file that was made before; or new ones, which `fill` puts into zeroed memory.
    pub(super) fn get(&self, fill: impl FnOnce(&mut [u8]) -> Result<(), EngineError>) -> Result<Bytes, EngineError> {
        let no_memory = |e| self.file.refuse(format_args!("no memory for {} bytes of weights: {e}", self.len));
        let mut memory = large(self.len).map_err(no_memory)?;
        let Some(dir) = self.dir else {
            fill(&mut memory[..self.len])?;
            return Ok(Arc::new(memory));
        };
        let key = self.key()?;
        let path = dir.join(format!("{}-{}.tiles", self.stem(), hex(&key[..8])));
        if self.read(&path, &key, &mut memory[..self.len]) {
            return Ok(Arc::new(memory));
        }
        // A file that was cut short may have been read in part.
        memory.fill(0);
        fill(&mut memory[..self.len])?;
        let memory = Arc::new(memory);
        self.keep(dir, path, &key, Arc::clone(&memory));
        Ok(memory)
    }

    fn key(&self) -> Result<[u8; 32], EngineError> {
        let refuse = |e: std::io::Error| self.file.refuse(e);
        let mut hash = Sha256::new_with_prefix(VERSION.to_le_bytes());
        self.file.identify(&mut hash).map_err(refuse)?;
        Ok(hash.finalize().into())
    }

    fn stem(&self) -> String {
        let stem = self.file.stem();
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
    }

    fn head(&self, key: &[u8; 32]) -> [u8; HEADER] {
        let mut head = [0; HEADER];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[16..24].copy_from_slice(&(self.len as u64).to_le_bytes());
        head[32..].copy_from_slice(key);
        head
    }

    /// Reads a file that was kept, on all cores. False: there is none, or not this one.
    fn read(&self, path: &Path, key: &[u8; 32], out: &mut [u8]) -> bool {
        let Ok(file) = File::open(path) else { return false };
        let mut head = [0; HEADER];
        let whole = file.metadata().is_ok_and(|about| about.len() == (HEADER + self.len) as u64);
        if !whole || file.read_exact_at(&mut head, 0).is_err() || head != self.head(key) {
            return false;
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = self.len.div_ceil(threads).max(1);
        let part = |start: usize, out: &mut [u8]| {
            let chunks = out.chunks_mut(CHUNK).zip((HEADER + start..).step_by(CHUNK));
            chunks.into_iter().all(|(chunk, at)| file.read_exact_at(chunk, at as u64).is_ok())
        };
        std::thread::scope(|scope| {
            let parts = out.chunks_mut(share).zip((0..).step_by(share));
            let reading: Vec<_> = parts.map(|(out, start)| scope.spawn(move || part(start, out))).collect();
            reading.into_iter().all(|thread| thread.join().unwrap_or(false))
        })
    }

    /// Writes the file beside the engine's work; that it fails costs only the next start.
    fn keep(&self, dir: &Path, path: PathBuf, key: &[u8; 32], memory: Arc<MmapMut>) {
        let (dir, stem, head, len) = (dir.to_owned(), format!("{}-", self.stem()), self.head(key), self.len);
        let write = move || {
            if let Err(error) = write(&dir, &stem, &path, &head, &memory[..len]) {
                tracing::warn!(%error, dir = %dir.display(), "the weights' tiles are not kept; every start makes them anew");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("keep-tiles".into()).spawn(write) {
            tracing::warn!(%error, "the weights' tiles are not kept");
        }
    }
}

fn write(dir: &Path, stem: &str, path: &Path, head: &[u8], tiles: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    // Those of the same model as it was before are of no use to anybody.
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(stem).is_some_and(|rest| rest.len() == 22 && rest.ends_with(".tiles")) {
            fs::remove_file(entry.path())?;
        }
    }
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = File::create(&temporary).and_then(|file| {
        file.write_all_at(tiles, head.len() as u64)?;
        file.write_all_at(head, 0)?;
        file.sync_all()
    });
    let kept = written.and_then(|()| fs::rename(&temporary, path));
    kept.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::Quantise;
    use crate::models::ModelStore;

    #[test]
    fn what_was_kept_is_read_again_and_what_was_cut_short_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let model = ModelStore::of_user().unwrap().path("smollm2-135m-instruct");
        let model = model.unwrap_or_else(|e| panic!("run `make setup`: {e}"));
        let file = Checkpoint::open(&model, Quantise::Q8_0).unwrap();
        let tiles = Tiles { file: &file, dir: Some(dir.path()), len: 100_000 };
        let made = |byte: u8| {
            let mut new = false;
            let bytes = tiles.get(|out| {
                new = true;
                out.fill(byte);
                Ok(())
            });
            let bytes = bytes.unwrap();
            (new, (*bytes).as_ref()[..100_000].to_vec())
        };
        let kept = || fs::read_dir(dir.path()).unwrap().flatten().find(|e| e.path().extension().unwrap() == "tiles");
        let until_kept = || {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while kept().is_none() {
                assert!(std::time::Instant::now() < deadline, "it isn't kept");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        };
        assert_eq!(made(7), (true, vec![7; 100_000]));
        until_kept();
        assert_eq!(made(8), (false, vec![7; 100_000]));
        let path = kept().unwrap().path();
        File::options().write(true).open(&path).unwrap().set_len(5000).unwrap();
        assert_eq!(made(9), (true, vec![9; 100_000]));
    }
}
