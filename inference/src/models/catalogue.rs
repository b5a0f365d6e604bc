//! The models known by name: what file each is, how large, and the hash that proves it.
//!
//! The catalogue is data in `catalogue.toml`, compiled in. A file is what its hash says; where it came from is no evidence.

use serde::{Deserialize, Serialize};

use super::ModelError;

const BUILT_IN: &str = include_str!("catalogue.toml");

/// Packages of a package index whose wheels carry the file, whole or in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelSource {
    /// `{n}` stands for the part's number, from 1.
    pub package: String,
    /// The exact version; nothing is resolved.
    pub version: String,
    pub parts: u32,
    /// The wheel's member that holds the part: a path with `*` for any run of characters. Exactly one must match.
    pub member: String,
}

/// A repository of a model hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// `owner/name`.
    pub repo: String,
    /// Default: `main`. The hash decides anyway what it is.
    #[serde(default = "main_branch")]
    pub revision: String,
    pub file: String,
}

fn main_branch() -> String {
    "main".to_owned()
}

/// What a model does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelTask {
    #[default]
    Generate,
    Embed,
}

/// A file of a model, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Where it lies in the store; of a model with several files in a folder of its own.
    pub file: String,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// The member of the model's one wheel that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubSource>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

impl WheelSource {
    /// The package that carries this part.
    pub fn package_of(&self, part: u32) -> String {
        self.package.replace("{n}", &part.to_string())
    }
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueEntry {
    pub name: String,
    pub summary: String,
    pub file: String,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
    pub licence: String,
    #[serde(default)]
    pub default: bool,
    #[serde(default)]
    pub task: ModelTask,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wheels: Option<WheelSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubSource>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// What belongs to the model beside its weights, such as its tokenizer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<ModelFile>,
}

impl CatalogueEntry {
    /// All files of the model, its weights first.
    pub fn files(&self) -> Vec<ModelFile> {
        let weights = ModelFile {
            file: self.file.clone(),
            bytes: self.bytes,
            sha256: self.sha256.clone(),
            member: self.wheels.as_ref().map(|wheels| wheels.member.clone()),
            hub: self.hub.clone(),
            urls: self.urls.clone(),
        };
        std::iter::once(weights).chain(self.beside.iter().cloned()).collect()
    }

    /// The hashes of all files: the first alone may be an index, which other weights of that form have too.
    fn hashes(&self) -> Vec<&str> {
        std::iter::once(&self.sha256).chain(self.beside.iter().map(|file| &file.sha256)).map(String::as_str).collect()
    }

    /// Bytes of all files.
    pub fn all_bytes(&self) -> u64 {
        self.bytes + self.beside.iter().map(|file| file.bytes).sum::<u64>()
    }
}

/// All models known by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    #[serde(rename = "model", default)]
    entries: Vec<CatalogueEntry>,
}

impl Catalogue {
    /// The catalogue that this build carries.
    pub fn built_in() -> Result<Self, ModelError> {
        Self::parse(BUILT_IN)
    }

    /// A catalogue from TOML of the built-in one's form.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        toml::from_str(text).map_err(|e| ModelError::Catalogue(e.to_string()))
    }

    /// Takes in the entries of another one. A name or hash that is known already keeps its meaning.
    pub fn extend(&mut self, other: Self) {
        for entry in other.entries {
            if !self.entries.iter().any(|known| known.name == entry.name || known.hashes() == entry.hashes()) {
                self.entries.push(CatalogueEntry { default: false, ..entry });
            }
        }
    }

    /// One more entry.
    pub(super) fn push(&mut self, entry: CatalogueEntry) {
        self.entries.push(entry);
    }

    /// The catalogue as TOML.
    pub fn to_toml(&self) -> Result<String, ModelError> {
        toml::to_string(self).map_err(|e| ModelError::Catalogue(e.to_string()))
    }

    pub fn entries(&self) -> &[CatalogueEntry] {
        &self.entries
    }

    /// The entry of that name; the error lists the names there are.
    pub fn get(&self, name: &str) -> Result<&CatalogueEntry, ModelError> {
        self.entries.iter().find(|e| e.name == name).ok_or_else(|| ModelError::UnknownModel {
            name: name.to_owned(),
            known: self.entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// The model used where none is configured.
    pub fn default_model(&self) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|e| e.default)
    }

    /// The entry of which a file that stands alone has this hash.
    pub fn by_hash(&self, sha256: &str) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|e| e.sha256 == sha256)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_built_in_catalogue_is_well_formed_and_has_one_default() {
        let catalogue = Catalogue::built_in().unwrap();
        assert_eq!(catalogue.entries().iter().filter(|e| e.default).count(), 1);
        assert_eq!(catalogue.default_model().unwrap().name, "qwen2.5-coder-1.5b-instruct");
        for entry in catalogue.entries() {
            assert_eq!(entry.sha256.len(), 64, "{}", entry.name);
            assert!(entry.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
            assert!(entry.beside.is_empty() || entry.wheels.as_ref().is_none_or(|wheels| wheels.parts == 1));
            for file in entry.files() {
                assert!(super::super::store::is_inside(&file.file), "{}", file.file);
            }
            assert_eq!(catalogue.by_hash(&entry.sha256), Some(entry));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_names_there_are() {
        let error = Catalogue::built_in().unwrap().get("gpt-17").unwrap_err().to_string();
        assert!(error.contains("gpt-17") && error.contains("smollm2-135m-instruct"), "{error}");
    }
}
