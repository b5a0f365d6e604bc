//! `fleet bench`: how good the agents are, on stories whose right end is known.
//!
//! ```text
//! folder (a story) → settings (what is measured, or what was) → solve (a job for each story, seed and kind) → record, on the shelf
//!   events → record; judge (hidden tests) → record
//!   records → arms (what simpler ways would have come to) → results → text, JSON, page
//! ```
//! A node is asked for jobs and for nothing else; what is hidden stays here. [`arms`], [`interval`], [`results`], [`page`],
//! [`planted`] and [`events`] are pure. Everything that is computed comes from the files of the shelf, so the same files give
//! the same results.

mod arms;
mod dice;
mod events;
mod folder;
mod import;
mod interval;
mod judge;
mod outside;
mod page;
mod planted;
mod record;
mod results;
#[cfg(test)]
mod samples;
mod settings;
mod shelf;
mod shown;
mod solve;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleet_tools::repo::client as repo;

use self::folder::Folder;
use self::judge::Judge;
use self::record::{Record, What};
use self::results::{Results, results};
use self::settings::{Begun, FORMAT, Settings, StoryNote};
use self::shelf::{Shelf, write_whole};
use self::shown::Shown;
use self::solve::{Prepared, Solver};
use super::args::{BenchCommand, Global, Output, StoryBench, given};
use super::client::Client;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::model_bench::interrupted;
use super::terminal::Terminal;

/// Where stories are looked for.
const STORIES: &str = "examples/stories";

/// Runs a `fleet bench` command.
pub async fn run(global: &Global, terminal: &Terminal, command: &BenchCommand) -> Outcome {
    match command {
        BenchCommand::Stories(bench) => stories(global, terminal, bench).await,
        BenchCommand::Import(import) => import::run(terminal, import).await,
    }
}

/// A job that is still to be done: the index of the story, what for, which seed.
type Todo = (usize, What, u32);

async fn stories(global: &Global, terminal: &Terminal, bench: &StoryBench) -> Outcome {
    if let Output::File(file) = &global.output {
        // Known before hours are spent.
        let tried = std::fs::File::options().create(true).append(true).open(file);
        tried
            .map_err(|e| Failure::input(format!("can't write {}: {e}", file.display()), "name another file with -o"))?;
    }
    let dir = bench.dir.clone().unwrap_or_else(|| STORIES.into());
    let folders = folder::find(&dir, &bench.stories, bench.part)?;
    let shelf = Shelf::open(&bench.out)?;
    terminal.note(format_args!("{} stories; everything is kept in {}", folders.len(), shelf.dir().display()));
    let stories = prepare_all(&shelf, folders).await?;
    let (begun, client) = begin(global, bench, &shelf, &stories).await?;
    if begun.settings.mock {
        terminal.careful("the engine is a MOCK: its replies come from a script, no model is asked");
    }
    let todo = todo(&shelf, &begun.settings)?;
    let ended = match client {
        Some(client) if !todo.is_empty() => {
            let judge = open_judge(terminal, bench).await?;
            let (run, settings) = (begun.run.as_str(), &begun.settings);
            let mut solver = Solver { client, shelf: &shelf, judge, run, settings, bases: BTreeMap::new() };
            tokio::select! {
                broken = sweep(terminal, &mut solver, &stories, &todo) => broken.map(Some),
                () = interrupted() => Ok(None),
            }
        }
        _ => Ok(Some(Vec::new())),
    };
    let results = results(begun, records(&shelf, &stories)?);
    tell(global, terminal, &shelf, &results)?;
    match ended? {
        Some(broken) if broken.is_empty() => Ok(Exit::Ok),
        Some(broken) => {
            let what = format!("{} of the jobs broke off; the first: {}", broken.len(), broken[0]);
            Err(Failure::new(Exit::JobFailed, what, "the same command tries those again").coded("FLT-B003"))
        }
        None => {
            terminal.note(
                "interrupted; the job that was under way goes on at the node, and the same command comes back to it",
            );
            Ok(Exit::StillGoing)
        }
    }
}

async fn prepare_all(shelf: &Shelf, folders: Vec<Folder>) -> Result<Vec<Prepared>, Failure> {
    let mut places = Vec::with_capacity(folders.len());
    for folder in folders {
        places.push((shelf.story(&folder.name)?, folder));
    }
    let prepare_all = move || places.into_iter().map(|(dir, folder)| prepare(&dir, folder)).collect();
    let done = tokio::task::spawn_blocking(prepare_all).await;
    done.map_err(|e| Failure::internal(format!("making the repositories broke off: {e}"), ""))?
}

/// Makes a story's repository and its pack, each once: a pack made twice might differ, and then a job would be another one.
fn prepare(dir: &Path, folder: Folder) -> Result<Prepared, Failure> {
    let (made, pack) = (dir.join("repo"), dir.join("base.bundle"));
    let facts = folder.make_repo(&made)?;
    if !pack.is_file() {
        let part = dir.join("base.bundle.part");
        repo::make_pack(&facts, &part).map_err(|e| folder.broken(&e.to_string()))?;
        std::fs::rename(&part, &pack).map_err(|e| folder.broken(&e.to_string()))?;
    }
    write_whole(&dir.join("story.md"), folder.text.as_bytes())?;
    let there = |place: &&String| folder.has_place(&made, place);
    let places = folder.meta.places.iter().filter(there).cloned().collect();
    Ok(Prepared { folder, facts, repo: made, pack, places })
}

/// What the run was begun with, now or earlier; the node only where there is something to be asked of it.
async fn begin(
    global: &Global,
    bench: &StoryBench,
    shelf: &Shelf,
    stories: &[Prepared],
) -> Result<(Begun, Option<Client>), Failure> {
    let before: Option<Begun> = shelf.read(&shelf.settings())?;
    let open = match &before {
        Some(before) => !todo(shelf, &before.settings)?.is_empty(),
        None => true,
    };
    let notes =
        stories.iter().map(|story| StoryNote::of(&story.folder, story.facts.head.to_string(), story.places.clone()));
    let asked = Settings {
        format: FORMAT,
        engine: bench.engine.clone().unwrap_or_default(),
        model: String::new(),
        mock: false,
        node: String::new(),
        arms: bench.arms.clone(),
        seeds: bench.seeds,
        pool: bench.pool,
        budget_tokens: bench.budget_tokens,
        draws: bench.draws,
        stories: notes.collect(),
    };
    let client = if open { Some(Client::open(global).await?) } else { None };
    let settings = match (&client, &before) {
        (Some(client), _) => of_node(client, bench.engine.as_deref(), asked).await?,
        (None, Some(before)) => {
            let Settings { engine, model, mock, node, .. } = before.settings.clone();
            let engine = bench.engine.clone().unwrap_or(engine);
            Settings { engine, model, mock, node, ..asked }
        }
        (None, None) => asked,
    };
    let Some(before) = before else {
        let date = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
        let run = uuid::Uuid::new_v4().simple().to_string();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let begun = Begun { run, date, command: given(), version, settings };
        shelf.write(&shelf.settings(), &begun)?;
        return Ok((begun, client));
    };
    let differences = before.settings.differences(&settings);
    if differences.is_empty() {
        return Ok((before, client));
    }
    let what = format!("{} was begun with other settings: {}", shelf.dir().display(), differences.join("; "));
    Err(Failure::input(what, "repeat the earlier command, or take another folder with --out").coded("FLT-B002"))
}

/// The settings with who answers at the node: its first engine serves its agents.
async fn of_node(client: &Client, wanted: Option<&str>, settings: Settings) -> Result<Settings, Failure> {
    let node = client.node().await?;
    let first = node.engines.iter().find(|engine| engine.kind != "embedding");
    let (engine, model, mock) = match first {
        Some(first) => (first.name.clone(), first.model.clone(), first.mock),
        // A node without engines uses those of the others.
        None => {
            let others = client.engines().await?;
            let other =
                others.into_iter().find(|of| of.kind != "embedding" && wanted.is_none_or(|name| name == of.name));
            other.map(|of| (of.name, of.model, of.mock)).unwrap_or_default()
        }
    };
    if engine.is_empty() || wanted.is_some_and(|name| name != engine) {
        let what = match (wanted, engine.as_str()) {
            (Some(wanted), "") => format!("there is no engine {wanted:?}"),
            (Some(wanted), engine) => format!("the agents of this node are answered by {engine:?}, not by {wanted:?}"),
            (None, _) => "the node has no engine".to_owned(),
        };
        let next = "fleet engine status; the first [[inference.engine]] of a node serves its agents";
        return Err(Failure::input(what, next).coded("FLT-B002"));
    }
    Ok(Settings { engine, model, mock, node: node.version, ..settings })
}

async fn open_judge(terminal: &Terminal, bench: &StoryBench) -> Result<Judge, Failure> {
    let judge = Judge::open(bench.without_sandbox).await?;
    if judge.is_outside() {
        terminal.careful("no sandbox is here: what models wrote runs as you while it is judged");
    }
    Ok(judge)
}

/// The jobs of a run that aren't done, story by story, so that what is there early is whole stories.
fn todo(shelf: &Shelf, settings: &Settings) -> Result<Vec<Todo>, Failure> {
    let mut todo = Vec::new();
    for (n, story) in settings.stories.iter().enumerate() {
        for place in 0..settings.seeds {
            for what in settings.jobs() {
                if shelf.read::<Record>(&shelf.cell(&story.name, what, place))?.is_none() {
                    todo.push((n, what, place));
                }
            }
        }
    }
    Ok(todo)
}

/// Does what is to be done; gives why jobs broke off. What concerns more than one job ends it.
async fn sweep(
    terminal: &Terminal,
    solver: &mut Solver<'_>,
    stories: &[Prepared],
    todo: &[Todo],
) -> Result<Vec<String>, Failure> {
    let mut shown = Shown::new(terminal, u32::try_from(todo.len()).unwrap_or(u32::MAX));
    let mut broken = Vec::new();
    for (n, what, place) in todo {
        let Some(story) = stories.get(*n) else { continue };
        shown.begin(&story.folder.name, *what, *place, solver.settings.seeds);
        match solver.solve(&mut shown, story, *what, *place).await {
            Ok(record) => shown.end(&record),
            Err(failure) if failure.exit == Exit::JobFailed => {
                shown.broke(&failure.what);
                broken.push(format!("{}: {}", story.folder.name, failure.what));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(broken)
}

/// All records that are there. They are read back even when they were just made, so that each time the same is computed.
fn records(shelf: &Shelf, stories: &[Prepared]) -> Result<Vec<Record>, Failure> {
    let mut all = Vec::new();
    for story in stories {
        let folder = shelf.dir().join("cells").join(&story.folder.name);
        let listed = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = listed.map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == "json"));
        files.sort();
        for file in files {
            all.extend(shelf.read::<Record>(&file)?);
        }
    }
    Ok(all)
}

fn tell(global: &Global, terminal: &Terminal, shelf: &Shelf, results: &Results) -> Result<(), Failure> {
    let page = page::page(results);
    shelf.write(&shelf.results(), results)?;
    write_whole(&shelf.page(), page.as_bytes())?;
    if terminal.json_wanted() {
        terminal.json(results)?;
    } else if !results.stories.is_empty() {
        terminal.data(text::text(results))?;
    }
    if let Output::File(file) = &global.output {
        match file.extension().is_some_and(|end| end == "html") {
            true => write_whole(file, page.as_bytes())?,
            false => shelf.write(file, results)?,
        }
        terminal.note(format_args!("written to {}", file.display()));
    }
    if !results.missing.is_empty() {
        terminal.careful(format_args!(
            "{} jobs aren't done; their stories aren't counted. The same command goes on with them",
            results.missing.len()
        ));
    }
    terminal.note(format_args!("results: {}\npage:    {}", shelf.results().display(), shelf.page().display()));
    Ok(())
}
