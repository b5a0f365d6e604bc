//! The directory of model files, shared by all nodes of a machine.
//!
//! Hashing a gigabyte takes seconds, so a file that was hashed once gets a *stamp* beside it: size, modification time
//! and hash. While those agree the file is taken as verified; `verify` always hashes. A stamp guards against
//! accidents (a cut copy, an overwritten file), not against somebody who may write in the user's cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::ModelError;
use super::catalogue::{Catalogue, CatalogueEntry, ModelFile, ModelTask};
use super::fetch::{self, Fetch};
use super::hash::sha256_file;
use super::hub::HubRepo;
use super::pull::{self, PullProgress, PullStep, Source};

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

impl ModelStatus {
    fn badness(&self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::Unverified => 1,
            Self::WrongSize { .. } => 2,
            Self::Missing => 3,
        }
    }
}

/// What a person says of a model that the catalogue doesn't know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewModel {
    pub name: String,
    pub summary: String,
    pub licence: String,
    /// Where it came from, for other machines: a file's address,
    pub url: Option<String>,
    /// or a repository of the hub.
    pub hub: Option<HubRepo>,
}

/// The catalogue of the models that were added here.
const OWN: &str = "catalogue.toml";

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
        let mut catalogue = Catalogue::built_in()?;
        catalogue.extend(own_catalogue(&dir)?);
        Ok(Self::new(dir, catalogue))
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
                StoredModel { status: self.status(entry), entry: entry.clone(), path }
            })
            .collect()
    }

    /// The worst that is known of a model's files.
    fn status(&self, entry: &CatalogueEntry) -> ModelStatus {
        let all = entry.files().into_iter().map(|file| status(&file, &self.dir.join(&file.file)));
        all.max_by_key(ModelStatus::badness).unwrap_or(ModelStatus::Missing)
    }

    /// The weights of a model, proven with what belongs beside them: by their stamps, or by hashing now what has none.
    pub fn path(&self, name: &str) -> Result<PathBuf, ModelError> {
        let path = self.quick_path(name)?;
        match self.status(self.catalogue.get(name)?) {
            ModelStatus::Verified => Ok(path),
            _ => self.verify(name),
        }
    }

    /// Where a model's weights lie if all its files are there with the right sizes; hashes nothing.
    pub fn quick_path(&self, name: &str) -> Result<PathBuf, ModelError> {
        let entry = self.catalogue.get(name)?;
        for file in entry.files() {
            let (path, name) = (self.dir.join(&file.file), name.to_owned());
            match status(&file, &path) {
                ModelStatus::Verified | ModelStatus::Unverified => {}
                ModelStatus::Missing => return Err(ModelError::Missing { name, dir: self.dir.clone() }),
                ModelStatus::WrongSize { bytes } => {
                    return Err(ModelError::WrongSize { name, path, expected: file.bytes, actual: bytes });
                }
            }
        }
        Ok(self.file_of(entry))
    }

    /// Hashes the model's files, whatever their stamps say.
    pub fn verify(&self, name: &str) -> Result<PathBuf, ModelError> {
        let entry = self.catalogue.get(name)?;
        for file in entry.files() {
            let path = self.dir.join(&file.file);
            if !path.exists() {
                return Err(ModelError::Missing { name: name.to_owned(), dir: self.dir.clone() });
            }
            let actual = sha256_file(&path)?;
            if actual != file.sha256 {
                let _ = fs::remove_file(stamp_path(&path));
                return Err(ModelError::WrongHash { name: name.to_owned(), path, expected: file.sha256, actual });
            }
            write_stamp(&file, &path);
        }
        Ok(self.file_of(entry))
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
        let lacking: Vec<ModelFile> = entry
            .files()
            .into_iter()
            .filter(|file| status(file, &self.dir.join(&file.file)) != ModelStatus::Verified)
            .collect();
        pull::pull(&self.dir, entry, &lacking, source, progress)?;
        for file in &lacking {
            write_stamp(file, &self.dir.join(&file.file));
        }
        Ok(self.file_of(entry))
    }

    /// Fetches a file that the catalogue doesn't know yet, for [`add`](Self::add). It stays until it is taken in.
    pub fn fetch(&self, url: &str, progress: &mut dyn FnMut(PullProgress)) -> Result<PathBuf, ModelError> {
        let name = url.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        if !is_inside(name) {
            return Err(ModelError::Fetch { url: url.to_owned(), why: "the address ends with no file's name".into() });
        }
        let folder = self.dir.join(".partial");
        fs::create_dir_all(&folder).map_err(ModelError::io("creating", &folder))?;
        let path = folder.join(name);
        let fetch = Fetch { url: url.to_owned(), token: None, path: &path, bytes: None };
        fetch::run(&fetch, &mut |done, total| {
            let step = PullStep::Downloading { part: 1, parts: 1 };
            progress(PullProgress { model: name.to_owned(), step, done, total });
        })?;
        Ok(path)
    }

    /// Takes a file or the folder of a safetensors checkpoint into the store: under the name that its hash has in the catalogue, else under a name of its own, which
    /// the store's own catalogue keeps together with the hash and where the file came from.
    pub fn add(
        &mut self,
        file: &Path,
        new: &NewModel,
        progress: &mut dyn FnMut(PullProgress),
    ) -> Result<(String, PathBuf), ModelError> {
        if crate::checkpoint::is_folder(file) {
            return self.add_folder(file, new, progress);
        }
        let sha256 = sha256_file(file)?;
        if let Some(entry) = self.catalogue.by_hash(&sha256) {
            let name = entry.name.clone();
            let path = self.pull(&name, &Source::File(file.to_owned()), progress)?;
            return Ok((name, path));
        }
        let bytes = fs::metadata(file).map_err(ModelError::io("reading", file))?.len();
        let extension = file.extension().map_or("gguf".into(), |e| e.to_string_lossy());
        let entry = CatalogueEntry {
            name: new.name.clone(),
            summary: new.summary.clone(),
            file: format!("{}.{extension}", new.name),
            bytes,
            sha256,
            licence: new.licence.clone(),
            default: false,
            task: ModelTask::Generate,
            wheels: None,
            hub: None,
            urls: new.url.iter().cloned().collect(),
            beside: Vec::new(),
        };
        self.take_in(entry, file, progress)
    }

    /// Takes in a model that no catalogue knows.
    pub(super) fn take_in(
        &mut self,
        entry: CatalogueEntry,
        file: &Path,
        progress: &mut dyn FnMut(PullProgress),
    ) -> Result<(String, PathBuf), ModelError> {
        let name = entry.name.clone();
        if !is_name(&name) {
            return Err(ModelError::BadName { name });
        }
        if self.catalogue.get(&name).is_ok() {
            return Err(ModelError::NameTaken { name });
        }
        let mut own = own_catalogue(&self.dir)?;
        own.push(entry.clone());
        self.catalogue.push(entry);
        let path = self.pull(&name, &Source::File(file.to_owned()), progress)?;
        write_whole(&self.dir.join(OWN), own.to_toml()?.as_bytes())?;
        Ok((name, path))
    }

    fn file_of(&self, entry: &CatalogueEntry) -> PathBuf {
        self.dir.join(&entry.file)
    }
}

/// The models that were added here.
fn own_catalogue(dir: &Path) -> Result<Catalogue, ModelError> {
    let path = dir.join(OWN);
    match fs::read_to_string(&path) {
        Ok(text) => Catalogue::parse(&text).map_err(|e| ModelError::Catalogue(format!("{}: {e}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Catalogue::default()),
        Err(error) => Err(ModelError::io("reading", path)(error)),
    }
}

fn write_whole(path: &Path, content: &[u8]) -> Result<(), ModelError> {
    let new = path.with_extension("new");
    let written = fs::write(&new, content).and_then(|()| File::open(&new)?.sync_all());
    written.and_then(|()| fs::rename(&new, path)).map_err(ModelError::io("writing", path))
}

/// A relative path that leads nowhere else.
pub(super) fn is_inside(file: &str) -> bool {
    let plain = |c: std::path::Component<'_>| matches!(c, std::path::Component::Normal(_));
    !file.is_empty() && !file.starts_with('.') && Path::new(file).components().all(plain)
}

pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    name.len() <= 128 && name.chars().all(allowed) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn status(entry: &ModelFile, path: &Path) -> ModelStatus {
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
fn write_stamp(entry: &ModelFile, path: &Path) {
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
