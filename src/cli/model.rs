//! `fleet model …`: the model files of this machine. Asks no node: they are files in the user's cache.

use std::io::IsTerminal;
use std::path::PathBuf;

use fleet_inference::models::{
    HubRepo, ModelError, ModelStatus, ModelStore, NewModel, PullProgress, PullStep, Source, StoredModel,
};
use fleet_inference::{inspect, name_of};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::ModelCommand;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::terminal::Terminal;
use super::{model_bench, table};

/// Runs a `fleet model` command.
pub async fn run(terminal: &Terminal, command: &ModelCommand) -> Outcome {
    let store = ModelStore::of_user().map_err(failed)?;
    match command {
        ModelCommand::List => list(terminal, &store),
        ModelCommand::Pull { name, from } => pull(terminal, store, name.clone(), from.clone()).await,
        ModelCommand::Add { file, name, licence } => {
            let new =
                NewModel { name: name.clone().unwrap_or_default(), licence: licence.clone(), ..NewModel::default() };
            add(terminal, store, file.clone(), new).await
        }
        ModelCommand::Verify { name } => verify(terminal, store, name.clone()).await,
        ModelCommand::Bench(bench) => model_bench::run(terminal, bench, store).await,
        ModelCommand::BenchPart => model_bench::serve(terminal).await,
    }
}

fn list(terminal: &Terminal, store: &ModelStore) -> Outcome {
    let models = store.list();
    if terminal.json_wanted() {
        terminal.json(&models)?;
        return Ok(Exit::Ok);
    }
    let mut table = table::table(["MODEL", "SIZE", "HERE", "LICENCE", "WHAT"]);
    for model in &models {
        let size = bytesize::ByteSize(model.entry.all_bytes()).display().iec().to_string();
        let name = match model.entry.default {
            true => format!("{} (default)", model.entry.name),
            false => model.entry.name.clone(),
        };
        let cells = [name, size, here(model), model.entry.licence.clone(), model.entry.summary.clone()];
        table::row(&mut table, cells);
    }
    terminal.data(table::text(&table))?;
    terminal.note(format_args!("\nin {}", store.dir().display()));
    Ok(Exit::Ok)
}

fn here(model: &StoredModel) -> String {
    match &model.status {
        ModelStatus::Missing => "no".to_owned(),
        ModelStatus::Unverified => "not verified".to_owned(),
        ModelStatus::Verified => "verified".to_owned(),
        ModelStatus::WrongSize { bytes } => format!("damaged ({bytes} bytes)"),
    }
}

async fn pull(terminal: &Terminal, store: ModelStore, name: String, from: Option<String>) -> Outcome {
    let entry = store.catalogue().get(&name).map_err(failed)?;
    let source = from.map_or(Source::Any, |from| Source::parse(&from, entry));
    let shown = Bar::new(terminal);
    let path = blocking(move || {
        let mut told = |progress: PullProgress| shown.show(&progress);
        store.pull(&name, &source, &mut told)
    })
    .await?;
    terminal.data(path.display())?;
    Ok(Exit::Ok)
}

/// Takes in a file or folder after a look inside: what no engine could run is refused before it is copied.
async fn add(terminal: &Terminal, mut store: ModelStore, file: String, mut new: NewModel) -> Outcome {
    let shown = Bar::new(terminal);
    let (name, path, summary) = blocking(move || {
        let mut told = |progress: PullProgress| shown.show(&progress);
        let by_url = file.starts_with("http://") || file.starts_with("https://");
        new.hub = HubRepo::parse(&file);
        let fetched = by_url || new.hub.is_some();
        let path = match &new.hub {
            Some(hub) => store.fetch_repo(hub, &mut told)?,
            None if by_url => store.fetch(&file, &mut told)?,
            None => PathBuf::from(&file),
        };
        let facts = inspect(&path).map_err(|e| ModelError::Unusable { path: path.clone(), why: e.to_string() })?;
        let summary = facts.to_string();
        if new.name.is_empty() {
            let own = || name_of(&std::path::absolute(&path).unwrap_or(path.clone()));
            new.name = new.hub.as_ref().map_or_else(own, |hub| hub.name().to_owned()).to_lowercase();
        }
        (new.summary, new.url) = (summary.clone(), by_url.then_some(file));
        let (name, stored) = store.add(&path, &new, &mut told)?;
        if fetched {
            let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
        Ok((name, stored, summary))
    })
    .await?;
    if terminal.json_wanted() {
        terminal.json(&serde_json::json!({ "name": name, "path": path, "summary": summary }))?;
        return Ok(Exit::Ok);
    }
    terminal.data(path.display())?;
    terminal.note(format_args!("{name}: {summary}\nuse it with `model = {name:?}` in a table [[inference.engine]]"));
    Ok(Exit::Ok)
}

async fn verify(terminal: &Terminal, store: ModelStore, name: String) -> Outcome {
    terminal.note(format_args!("reading {name} whole…"));
    let path = blocking(move || store.verify(&name)).await?;
    terminal.data(format_args!("{}  is what the catalogue says", path.display()))?;
    Ok(Exit::Ok)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Failure::internal(format!("the work broke off: {e}"), ""))?.map_err(failed)
}

pub fn failed(error: ModelError) -> Failure {
    let (exit, next) = match &error {
        ModelError::UnknownModel { .. } => (Exit::BadInput, "fleet model list"),
        ModelError::Unusable { .. } => (Exit::BadInput, ""),
        ModelError::NameTaken { .. } | ModelError::BadName { .. } => {
            (Exit::BadInput, "fleet model add FILE --name NAME")
        }
        ModelError::NoSource { .. } => (Exit::BadInput, "fleet model pull NAME --from FILE"),
        ModelError::Missing { .. } => (Exit::NotFoundOrConflict, ""),
        ModelError::WrongSize { .. } | ModelError::WrongHash { .. } => (Exit::CheckFailed, ""),
        ModelError::Download { .. } | ModelError::Fetch { .. } | ModelError::NoneWorks { .. } => (
            Exit::Internal,
            "run the same command again, what is here already isn't fetched twice; or give a file with --from",
        ),
        ModelError::InProgress { .. } => (Exit::NotFoundOrConflict, ""),
        _ => (Exit::Internal, "check the directory of models and the space on its disk"),
    };
    Failure::new(exit, error.to_string(), next).coded("FLT-M001")
}

/// A progress bar on a terminal, one line a step elsewhere.
struct Bar {
    terminal: Terminal,
    bar: Option<ProgressBar>,
    last: std::cell::RefCell<String>,
}

impl Bar {
    fn new(terminal: &Terminal) -> Self {
        let bar = (!terminal.is_quiet() && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { terminal: terminal.clone(), bar, last: std::cell::RefCell::default() }
    }

    fn show(&self, progress: &PullProgress) {
        let step = match progress.step {
            PullStep::Downloading { part, parts } => format!("downloading part {part} of {parts}"),
            PullStep::Unpacking { part, parts } => format!("unpacking part {part} of {parts}"),
            PullStep::Copying => "copying".to_owned(),
            PullStep::Hashing => "checking".to_owned(),
        };
        match &self.bar {
            Some(bar) => {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.set_message(step);
            }
            None if *self.last.borrow() != step => {
                self.terminal.note(format_args!("{}: {step}", progress.model));
                *self.last.borrow_mut() = step;
            }
            None => {}
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
