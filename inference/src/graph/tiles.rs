//! The weights of a model as tiles, kept in a file that is mapped: a second start has them at once, and the processes of
//! a machine share their memory.
//!
//! The file is named after the model's file and a key: the hash of that file's header, size and time, and the version of
//! the form. It is written beside its name, made durable and renamed, so a file of that name is whole. It is a cache:
//! deleting it costs the next start some seconds.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::EngineError;
use crate::candle::GgufFile;
use crate::kernels::{Bytes, map};

/// Raised when the planes of a matrix change.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"FLTTILES";
/// Before the first plane: magic, version, length, key.
const HEADER: usize = 64;

/// Where the bytes of the tiles come from: `fill` puts those of its range, in order, into the writer.
pub(super) struct Tiles<'a> {
    pub(super) file: &'a GgufFile,
    pub(super) dir: Option<&'a Path>,
    pub(super) len: usize,
}

impl Tiles<'_> {
    /// The tiles of a file that was made before, or new ones. They begin at the offset that comes with them.
    pub(super) fn get(
        &self,
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), EngineError>,
    ) -> Result<(Bytes, usize), EngineError> {
        let Some(dir) = self.dir else { return self.in_memory(fill) };
        let key = self.key()?;
        let path = dir.join(format!("{}-{}.tiles", self.stem(), hex(&key[..8])));
        if let Some(bytes) = self.known(&path, &key) {
            return Ok((bytes, HEADER));
        }
        match self.begin(dir, &path) {
            Ok((file, temporary)) => self.write(file, temporary, &path, &key, fill),
            Err(error) => {
                tracing::warn!(%error, dir = %dir.display(), "tiles can't be kept here; every start makes them anew");
                self.in_memory(fill)
            }
        }
    }

    fn in_memory(
        &self,
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), EngineError>,
    ) -> Result<(Bytes, usize), EngineError> {
        let mut bytes = vec![0_u8; self.len];
        fill(&mut Memory(&mut bytes))?;
        Ok((Arc::new(bytes), 0))
    }

    fn key(&self) -> Result<[u8; 32], EngineError> {
        let refuse = |e: std::io::Error| self.file.refuse(e);
        let about = self.file.handle().metadata().map_err(refuse)?;
        let modified = about.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(VERSION.to_le_bytes());
        hash.update(about.len().to_le_bytes());
        hash.update(modified.as_nanos().to_le_bytes());
        hash.update(self.file.header().map_err(refuse)?);
        Ok(hash.finalize().into())
    }

    fn stem(&self) -> String {
        let stem = self.file.path().file_stem().unwrap_or_default().to_string_lossy();
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

    fn known(&self, path: &Path, key: &[u8; 32]) -> Option<Bytes> {
        let file = File::open(path).ok()?;
        let bytes = map(&file).ok()?;
        let all = (*bytes).as_ref();
        (all.len() == HEADER + self.len && all[..HEADER] == self.head(key)).then_some(bytes)
    }

    fn begin(&self, dir: &Path, path: &Path) -> std::io::Result<(File, PathBuf)> {
        fs::create_dir_all(dir)?;
        // Those of the same model as it was before are of no use to anybody.
        let stem = format!("{}-", self.stem());
        for entry in fs::read_dir(dir)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_prefix(&stem).is_some_and(|rest| rest.len() == 22 && rest.ends_with(".tiles")) {
                fs::remove_file(entry.path())?;
            }
        }
        let temporary = path.with_extension(format!("{}.part", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&temporary)?;
        file.set_len((HEADER + self.len) as u64).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        Ok((file, temporary))
    }

    fn write(
        &self,
        file: File,
        temporary: PathBuf,
        path: &Path,
        key: &[u8; 32],
        fill: impl FnOnce(&mut dyn Sink) -> Result<(), EngineError>,
    ) -> Result<(Bytes, usize), EngineError> {
        let remove = |error: EngineError| {
            let _ = fs::remove_file(&temporary);
            error
        };
        fill(&mut InFile(&file)).map_err(remove)?;
        let failed = |e: std::io::Error| EngineError::Model(format!("{}: {e}", temporary.display()));
        file.write_all_at(&self.head(key), 0).map_err(failed).map_err(remove)?;
        let bytes = map(&file).map_err(failed).map_err(remove)?;
        // What was written can be used; that it outlives the machine's fall is not waited for.
        let path = path.to_owned();
        let keep = move || match file.sync_all().and_then(|()| fs::rename(&temporary, &path)) {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, path = %path.display(), "the tiles were not kept"),
        };
        if let Err(error) = std::thread::Builder::new().name("keep-tiles".into()).spawn(keep) {
            tracing::warn!(%error, "the tiles were not kept");
        }
        Ok((bytes, HEADER))
    }
}

/// Where tiles are written.
pub(super) trait Sink {
    /// `at` counts from the first plane.
    fn put(&mut self, at: usize, bytes: &[u8]) -> std::io::Result<()>;
}

struct Memory<'a>(&'a mut [u8]);

impl Sink for Memory<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) -> std::io::Result<()> {
        (&mut self.0[at..]).write_all(bytes)
    }
}

struct InFile<'a>(&'a File);

impl Sink for InFile<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all_at(bytes, (HEADER + at) as u64)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
