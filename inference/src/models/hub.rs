//! A repository of a model hub that holds a safetensors checkpoint, fetched file by file.

use std::fs;
use std::path::{Path, PathBuf};

use super::ModelError;
use super::catalogue::HubSource;
use super::fetch::{self, Fetch};
use super::pull::{PullProgress, PullStep, hub_endpoint, hub_url_at};
use super::store::{ModelStore, is_name};
use crate::checkpoint::{INDEX, WEIGHTS, beside, files};

/// A repository: `owner/name`, and which of its states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubRepo {
    repo: String,
    revision: String,
}

impl HubRepo {
    /// What a person writes as `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION`; `None`: it is nothing of the kind.
    pub fn parse(text: &str) -> Option<Self> {
        let (repo, revision) = text.strip_prefix("hub:").map(|rest| rest.split_once('@').unwrap_or((rest, "main")))?;
        let (owner, name) = repo.split_once('/')?;
        let plain = |part: &str| part.split('/').all(is_name);
        (is_name(owner) && is_name(name) && plain(revision))
            .then(|| Self { repo: repo.to_owned(), revision: revision.to_owned() })
    }

    /// Its own name, without the owner's.
    pub fn name(&self) -> &str {
        self.repo.rsplit('/').next().unwrap_or(&self.repo)
    }

    pub(super) fn source(&self) -> HubSource {
        HubSource { repo: self.repo.clone(), revision: self.revision.clone(), file: String::new() }
    }
}

impl ModelStore {
    /// Fetches the checkpoint of a repository, for [`add`](Self::add). Files that are whole are not fetched again, so a fetch that
    /// was interrupted goes on; the folder stays until it is removed.
    pub fn fetch_repo(&self, from: &HubRepo, progress: &mut dyn FnMut(PullProgress)) -> Result<PathBuf, ModelError> {
        self.fetch_repo_at(&hub_endpoint(), from, progress)
    }

    pub(super) fn fetch_repo_at(
        &self,
        endpoint: &str,
        from: &HubRepo,
        progress: &mut dyn FnMut(PullProgress),
    ) -> Result<PathBuf, ModelError> {
        let name = format!("{}@{}", from.repo, from.revision).replace('/', "--");
        let folder = self.dir().join(".partial").join(name);
        fs::create_dir_all(&folder).map_err(ModelError::io("creating", &folder))?;
        let mut fetch = |file: &str| {
            let url = hub_url_at(endpoint, &HubSource { file: file.to_owned(), ..from.source() });
            one(url, &folder, file, progress)
        };
        for file in beside() {
            let there = fetch(file)?;
            if !there && file == "config.json" {
                let why = format!("it has no {file}: it is no checkpoint of safetensors");
                return Err(ModelError::Fetch { url: format!("hub:{}", from.repo), why });
            }
        }
        let unusable = |why| ModelError::Unusable { path: folder.clone(), why };
        let parts = match fetch(INDEX)? {
            true => files(&folder.join(INDEX)).map_err(unusable)?.1,
            false => vec![WEIGHTS.to_owned()],
        };
        for file in parts.iter().filter(|file| file.ends_with(".safetensors")) {
            if !fetch(file)? {
                let why = format!("it has no {file}");
                return Err(ModelError::Fetch { url: format!("hub:{}", from.repo), why });
            }
        }
        Ok(folder)
    }
}

/// One file; false if the repository hasn't got it.
fn one(url: String, folder: &Path, file: &str, progress: &mut dyn FnMut(PullProgress)) -> Result<bool, ModelError> {
    let target = folder.join(file);
    if target.exists() {
        return Ok(true);
    }
    let part = folder.join(format!("{file}.download"));
    let fetch = Fetch { url, token: std::env::var("HF_TOKEN").ok(), path: &part, bytes: None };
    let there = fetch::run_if_there(&fetch, &mut |done, total| {
        let step = PullStep::Downloading { part: 1, parts: 1 };
        progress(PullProgress { model: file.to_owned(), step, done, total });
    })?;
    if there {
        fs::rename(&part, &target).map_err(ModelError::io("renaming to", &target))?;
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_owner_and_name_and_perhaps_a_revision() {
        let parse = |text: &str| HubRepo::parse(text).map(|hub| (hub.repo, hub.revision));
        let some = |repo: &str, revision: &str| Some((repo.to_owned(), revision.to_owned()));
        assert_eq!(parse("hub:Qwen/Qwen2.5-0.5B"), some("Qwen/Qwen2.5-0.5B", "main"));
        assert_eq!(parse("hub:a/b@refs/pr/1"), some("a/b", "refs/pr/1"));
        for no in ["a/b", "hub:a", "hub:a/b/c", "hub:../b", "hub:a/..", "hub:a/b@../x", "hub:a/b@", "hub:a/b?x"] {
            assert_eq!(parse(no), None, "{no}");
        }
    }
}
