//! Which model is meant: the one that is named, else the configured engine's, else the only one that is here.

use std::path::{Path, PathBuf};

use fleet_inference::models::{ModelError, ModelStatus, ModelStore, ModelTask, sha256_file};
use fleet_inference::{EngineConfig, EngineKind, ModelFacts, inspect};
use serde::Serialize;

use crate::cli::args::ModelBench;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::config::Config;

/// Where a configuration is looked for.
const CONFIG: &str = "cluster.toml";

/// The model that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// As a configuration names it: of the catalogue, or a path.
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub sha256: String,
    pub facts: ModelFacts,
    /// What the configuration says about its engine.
    #[serde(skip)]
    pub context: Option<u32>,
}

impl Chosen {
    /// What a configuration says for it, wherever that lies: a name of the catalogue, or the whole path.
    pub fn configured(&self) -> String {
        if is_file(&self.name) { self.path.to_string_lossy().into_owned() } else { self.name.clone() }
    }
}

/// As engines take it.
fn is_file(name: &str) -> bool {
    name.contains('/') || name.ends_with(".gguf")
}

/// Finds the model and looks into it. Blocks: a file is hashed, if that wasn't done before.
pub fn choose(asked: &ModelBench, store: &ModelStore) -> Result<Chosen, Failure> {
    let engine = configured(asked.config.as_deref())?;
    let context = engine.as_ref().and_then(|engine| engine.context);
    let of_engine = || engine.as_ref().map(|engine| engine.model.clone());
    let name = match asked.model.clone().or_else(of_engine) {
        Some(name) if name.is_empty() => store.catalogue().default_model().map(|e| e.name.clone()).unwrap_or_default(),
        Some(name) => name,
        None => only(store)?,
    };
    let (path, sha256) = if is_file(&name) { of_file(&name)? } else { of_catalogue(&name, store)? };
    let facts = inspect(&path).map_err(|e| unusable(&path, e.to_string()))?;
    let bytes = std::fs::metadata(&path).map_err(|e| unusable(&path, e.to_string()))?.len();
    Ok(Chosen { name, path, bytes, sha256, facts, context })
}

/// The first engine of the configuration that runs a model here.
fn configured(file: Option<&Path>) -> Result<Option<EngineConfig>, Failure> {
    let beside = Path::new(CONFIG);
    let Some(file) = file.or_else(|| beside.is_file().then_some(beside)) else { return Ok(None) };
    let config = Config::load(file).map_err(|e| Failure::input(e.to_string(), ""))?;
    let engines = config.inference.engine.unwrap_or_default();
    Ok(engines.into_iter().find(|engine| engine.kind == EngineKind::Candle))
}

fn of_file(name: &str) -> Result<(PathBuf, String), Failure> {
    let path = PathBuf::from(name);
    if !path.is_file() {
        let next = "fleet model list says which models have names";
        return Err(Failure::input(format!("there is no file {name}"), next).coded("FLT-M002"));
    }
    let sha256 = sha256_file(&path).map_err(failed)?;
    Ok((path.canonicalize().unwrap_or(path), sha256))
}

fn of_catalogue(name: &str, store: &ModelStore) -> Result<(PathBuf, String), Failure> {
    let entry = store.catalogue().get(name).map_err(failed)?;
    if entry.task != ModelTask::Generate {
        let what = format!("{name} makes vectors of texts; only models that write are measured");
        return Err(Failure::input(what, "fleet model list").coded("FLT-M002"));
    }
    Ok((store.path(name).map_err(failed)?, entry.sha256.clone()))
}

/// The only model that is here.
fn only(store: &ModelStore) -> Result<String, Failure> {
    let here = store.list().into_iter().filter(|model| {
        let whole = matches!(model.status, ModelStatus::Verified | ModelStatus::Unverified);
        whole && model.entry.task == ModelTask::Generate
    });
    let mut here: Vec<String> = here.map(|model| model.entry.name).collect();
    match (here.pop(), here.is_empty()) {
        (Some(name), true) => Ok(name),
        (Some(last), false) => {
            let what = format!("which model? Here are {} and {last}", here.join(", "));
            Err(Failure::input(what, format!("fleet model bench {last}")).coded("FLT-M002"))
        }
        (None, _) => {
            let what = format!("no model is in {}", store.dir().display());
            let default = store.catalogue().default_model().map_or("NAME", |entry| &entry.name);
            let next =
                format!("fleet model pull {default} (fleet model list shows all), or fleet model bench FILE.gguf");
            Err(Failure::new(Exit::NotFoundOrConflict, what, next).coded("FLT-M002"))
        }
    }
}

fn unusable(path: &Path, why: String) -> Failure {
    failed(ModelError::Unusable { path: path.to_owned(), why })
}

fn failed(error: ModelError) -> Failure {
    crate::cli::model::failed(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use clap::Parser;
    use fleet_inference::models::Catalogue;

    use super::*;
    use crate::cli::args::{Cli, Command, ModelCommand};

    fn refused(line: &str, store: &ModelStore) -> Failure {
        let cli = Cli::parse_from(format!("fleet model bench {line}").split_whitespace());
        let Command::Model(ModelCommand::Bench(bench)) = cli.command else { panic!("not a bench") };
        choose(&bench, store).unwrap_err()
    }

    /// A store of models that are as large as they should be, and nothing else.
    fn store(dir: &Path, names: &[&str]) -> ModelStore {
        let entry = |name: &&str| {
            let sha256 = "0".repeat(64);
            format!(
                "[[model]]\nname = '{name}'\nsummary = ''\nfile = '{name}.gguf'\nbytes = 3\nsha256 = '{sha256}'\nlicence = ''\n"
            )
        };
        names.iter().for_each(|name| std::fs::write(dir.join(format!("{name}.gguf")), "abc").unwrap());
        ModelStore::new(dir, Catalogue::parse(&names.iter().map(entry).collect::<String>()).unwrap())
    }

    #[test]
    fn without_a_name_the_only_model_is_meant_and_of_several_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(only(&store(dir.path(), &["one"])).unwrap(), "one");
        let several = only(&store(dir.path(), &["one", "two"])).unwrap_err();
        assert!(several.what.contains("one and two") && several.exit == Exit::BadInput, "{several}");
        let none = only(&store(dir.path(), &[])).unwrap_err();
        assert!(none.next.contains("fleet model pull") && none.exit == Exit::NotFoundOrConflict, "{none}");
    }

    #[test]
    fn the_configured_engine_goes_before_what_is_here() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("cluster.toml");
        let text = "[[inference.engine]]\nname = 'm'\nkind = 'openai'\nbase_url = 'http://127.0.0.1:1/v1'\n\n\
                    [[inference.engine]]\nmodel = 'two'\ncontext = 512\n";
        std::fs::write(&config, text).unwrap();
        let failure = refused(&format!("--config {}", config.display()), &store(dir.path(), &["one", "two"]));
        // It is two that was looked at: its file isn't what it should be.
        assert!(failure.what.contains("two.gguf") && failure.exit == Exit::CheckFailed, "{failure}");
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), &["one"]);
        let file = dir.path().join("one.gguf");
        assert!(refused("/nonexistent/m.gguf", &store).to_string().starts_with("FLT-M002: there is no file"));
        assert!(refused(&file.display().to_string(), &store).what.contains("no engine could run"));
        assert!(refused("gpt-17", &store).what.contains("there is no model gpt-17"));
    }
}
