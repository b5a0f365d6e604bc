//! The directory of model files, shared by all nodes of a machine.
//!
//! Hashing a gigabyte takes seconds, so a file that was hashed once gets a *stamp* beside it: size, modification time
//! and hash. While those agree the file is taken as verified; `verify` always hashes. A stamp guards against
//! accidents (a cut copy, an overwritten file), not against somebody who may write in the user's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::ModelError;
use super::catalogue::{Catalogue, CatalogueEntry};
use super::hash::sha256_file;
use super::pull::{self, PullProgress, Source};

/// What is known about one model's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ModelStatus {
    Missing,
    /// There with the right size; not hashed since it last changed.
    Unverified,
    Verified,
    WrongSize {
        bytes: u64,
    },
}

/// One line of `list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredModel {
    pub entry: CatalogueEntry,
    pub path: PathBuf,
    pub status: ModelStatus,
}

/// Proof that a file was hashed, valid while size and modification time stay.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    sha256: String,
    bytes: u64,
    modified_ns: u128,
}

/// A directory of model files and the catalogue that says what they should be.
#[derive(Clone, Debug)]
pub struct ModelStore {
    dir: PathBuf,
    catalogue: Catalogue,
}

impl ModelStore {
    /// A store in this directory, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>, catalogue: Catalogue) -> Self {
        Self { dir: dir.into(), catalogue }
    }

    /// Where engines keep what they make of the models: caches, which may be deleted.
    pub fn tiles(&self) -> PathBuf {
        self.dir.join("tiles")
    }

    /// The user's store: `$FLEET_MODELS`, else `$XDG_CACHE_HOME/fleet/models`, else `~/.cache/fleet/models`.
    pub fn of_user() -> Result<Self, ModelError> {
        let set = |key| std::env::var_os(key).filter(|v| !v.is_empty()).map(PathBuf::from);
        let dir = set("FLEET_MODELS")
            .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("fleet/models")))
            .or_else(|| set("HOME").map(|d| d.join(".cache/fleet/models")))
            .ok_or(ModelError::NoDirectory)?;
        Ok(Self::new(dir, Catalogue::built_in()?))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Every model of the catalogue and whether it is here. Cheap: hashes nothing.
    pub fn list(&self) -> Vec<StoredModel> {
        let entries = self.catalogue.entries().iter();
        entries
            .map(|entry| {
                let path = self.file_of(entry);
                StoredModel { status: status(entry, &path), entry: entry.clone(), path }
            })
            .collect()
    }

    /// The file of a model, proven: by its stamp, or by hashing it now if it has none.
    pub fn path(&self, name: &str) -> Result<PathBuf, ModelError> {
        let path = self.quick_path(name)?;
        match status(self.catalogue.get(name)?, &path) {
            ModelStatus::Verified => Ok(path),
            _ => self.verify(name),
        }
    }

    /// Where a model's file lies if it is there with the right size; hashes nothing.
    pub fn quick_path(&self, name: &str) -> Result<PathBuf, ModelError> {
        let entry = self.catalogue.get(name)?;
        let path = self.file_of(entry);
        match status(entry, &path) {
            ModelStatus::Verified | ModelStatus::Unverified => Ok(path),
            ModelStatus::Missing => Err(ModelError::Missing { name: name.to_owned(), dir: self.dir.clone() }),
            ModelStatus::WrongSize { bytes } => {
                Err(ModelError::WrongSize { name: name.to_owned(), path, expected: entry.bytes, actual: bytes })
            }
        }
    }

    /// Hashes the file, whatever its stamp says.
    pub fn verify(&self, name: &str) -> Result<PathBuf, ModelError> {
        let entry = self.catalogue.get(name)?;
        let path = self.file_of(entry);
        if !path.exists() {
            return Err(ModelError::Missing { name: name.to_owned(), dir: self.dir.clone() });
        }
        let actual = sha256_file(&path)?;
        if actual != entry.sha256 {
            let _ = fs::remove_file(stamp_path(&path));
            let expected = entry.sha256.clone();
            return Err(ModelError::WrongHash { name: name.to_owned(), path, expected, actual });
        }
        write_stamp(entry, &path);
        Ok(path)
    }

    /// Brings a model into the store, unless it is there already.
    pub fn pull(
        &self,
        name: &str,
        source: &Source,
        progress: &mut dyn FnMut(PullProgress),
    ) -> Result<PathBuf, ModelError> {
        let entry = self.catalogue.get(name)?;
        if let Ok(path) = self.path(name) {
            return Ok(path);
        }
        let path = self.file_of(entry);
        pull::pull(&self.dir, entry, source, progress)?;
        write_stamp(entry, &path);
        Ok(path)
    }

    /// Takes a file into the store under the name that its hash has in the catalogue.
    pub fn add(&self, file: &Path, progress: &mut dyn FnMut(PullProgress)) -> Result<(String, PathBuf), ModelError> {
        let sha256 = sha256_file(file)?;
        let entry = self.catalogue.by_hash(&sha256);
        let entry = entry.ok_or_else(|| ModelError::Unrecognised { path: file.into(), sha256 })?;
        let path = self.pull(&entry.name, &Source::File(file.to_owned()), progress)?;
        Ok((entry.name.clone(), path))
    }

    fn file_of(&self, entry: &CatalogueEntry) -> PathBuf {
        self.dir.join(&entry.file)
    }
}

fn status(entry: &CatalogueEntry, path: &Path) -> ModelStatus {
    let Some((bytes, modified_ns)) = size_and_time(path) else { return ModelStatus::Missing };
    if bytes != entry.bytes {
        return ModelStatus::WrongSize { bytes };
    }
    let valid = Stamp { sha256: entry.sha256.clone(), bytes, modified_ns };
    let stamp = fs::read(stamp_path(path)).ok().and_then(|b| serde_json::from_slice::<Stamp>(&b).ok());
    if stamp == Some(valid) { ModelStatus::Verified } else { ModelStatus::Unverified }
}

fn size_and_time(path: &Path) -> Option<(u64, u128)> {
    let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let modified = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((meta.len(), modified.as_nanos()))
}

/// A stamp that can't be written only costs a hash at the next start.
fn write_stamp(entry: &CatalogueEntry, path: &Path) {
    let Some((bytes, modified_ns)) = size_and_time(path) else { return };
    let stamp = Stamp { sha256: entry.sha256.clone(), bytes, modified_ns };
    let written = serde_json::to_vec(&stamp).map_err(std::io::Error::other);
    if let Err(error) = written.and_then(|b| fs::write(stamp_path(path), b)) {
        tracing::warn!(%error, path = %path.display(), "the model's stamp could not be written");
    }
}

fn stamp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".verified");
    name.into()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
