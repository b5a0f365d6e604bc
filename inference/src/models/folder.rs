//! Models of several files: the folder of a safetensors checkpoint, taken into the store as one.

use std::fs;
use std::path::{Path, PathBuf};

use super::ModelError;
use super::catalogue::{CatalogueEntry, HubSource, ModelFile, ModelTask};
use super::hash::sha256_file;
use super::pull::{PullProgress, PullStep, Source, base_name};
use super::store::{ModelStore, NewModel};

impl ModelStore {
    /// Under the name that a model with these files has, else under a new one. All of them are kept with their hashes.
    pub(super) fn add_folder(
        &mut self,
        path: &Path,
        new: &NewModel,
        progress: &mut dyn FnMut(PullProgress),
    ) -> Result<(String, PathBuf), ModelError> {
        let unusable = |why| ModelError::Unusable { path: path.to_owned(), why };
        let (dir, names) = crate::checkpoint::files(path).map_err(unusable)?;
        let mut files = Vec::new();
        for name in names {
            let path = dir.join(&name);
            let bytes = fs::metadata(&path).map_err(ModelError::io("reading", &path))?.len();
            progress(PullProgress { model: new.name.clone(), step: PullStep::Hashing, done: 0, total: bytes });
            let hub = new.hub.as_ref().map(|hub| HubSource { file: name.clone(), ..hub.source() });
            let file = format!("{}/{name}", new.name);
            files.push(ModelFile { file, bytes, sha256: sha256_file(&path)?, member: None, hub, urls: Vec::new() });
        }
        let weights = dir.join(base_name(&files[0].file));
        if let Some(known) = self.catalogue().entries().iter().find(|entry| is_made_of(entry, &files)) {
            let name = known.name.clone();
            let path = self.pull(&name, &Source::File(weights), progress)?;
            return Ok((name, path));
        }
        let first = files.remove(0);
        let entry = CatalogueEntry {
            name: new.name.clone(),
            summary: new.summary.clone(),
            file: first.file,
            bytes: first.bytes,
            sha256: first.sha256,
            licence: new.licence.clone(),
            default: false,
            task: ModelTask::Generate,
            wheels: None,
            hub: first.hub,
            urls: Vec::new(),
            beside: files,
        };
        self.take_in(entry, &weights, progress)
    }
}

/// Whether all files of a known model are among these.
fn is_made_of(entry: &CatalogueEntry, files: &[ModelFile]) -> bool {
    let same = |a: &ModelFile, b: &ModelFile| a.sha256 == b.sha256 && base_name(&a.file) == base_name(&b.file);
    entry.files().iter().all(|wanted| files.iter().any(|file| same(file, wanted)))
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
