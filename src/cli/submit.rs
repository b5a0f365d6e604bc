//! `fleet job submit`: looks at the repository and the story here, where a mistake is cheap; packs HEAD, uploads, submits, follows.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use fleet_actors::spec::{Approve, StorySpec};
use fleet_actors::story::{MAX_STORY_BYTES, Story};
use fleet_api::wire::SubmitBody;
use fleet_runtime::job::JobRecord;
use fleet_tools::repo::client::{self as repo, RepoFacts};

use super::args::{ApproveWith, Global, Submit};
use super::client::Client;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::finish::{Finish, finish};
use super::terminal::Terminal;
use super::watch::{Watched, watch};

/// `fleet job submit`
pub async fn submit(global: &Global, terminal: &Terminal, args: &Submit) -> Outcome {
    let (text, story) = read_story(&args.story)?;
    let facts = inspect(terminal, &args.repo)?;
    let client = Client::open(global).await?;
    say_mock(&client, terminal).await?;
    let spec = upload(&client, terminal, args, text, &facts).await?;
    let key = args.idempotency_key.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let sending = Sending { project: args.project.clone(), story: &story, facts: &facts, spec: &spec, key };
    let job = send(&client, sending).await?;
    let id = job.id.to_string();
    terminal.note(format_args!("job {id} submitted: {}", fleet_api::plain::line(&story.title)));
    if args.detach {
        return detached(terminal, &job);
    }
    match watch(&client, terminal, &id, None).await? {
        Watched::Ended => {}
        Watched::Detached | Watched::TimedOut => return Ok(Exit::StillGoing),
    }
    let finished = Finish { job: &id, repo: Some(&args.repo), report: args.report.as_deref() };
    finish(global, &client, terminal, finished).await
}

/// Reads a story file; says where a mistake is.
pub fn read_story(path: &Path) -> Result<(String, Story), Failure> {
    let shown = path.display();
    let unreadable = |e: std::io::Error| {
        Failure::input(
            format!("can't read the story {shown}: {e}"),
            "name a Markdown file with front matter; see examples/stories",
        )
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_STORY_BYTES as u64 + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() > MAX_STORY_BYTES {
        return Err(Failure::input(
            format!("the story {shown} is larger than {MAX_STORY_BYTES} bytes"),
            "a story is a page of text; put data into the repository",
        ));
    }
    let text = String::from_utf8(text)
        .map_err(|_| Failure::input(format!("the story {shown} isn't UTF-8 text"), "save it as UTF-8"))?;
    let story = Story::parse(&text).map_err(|e| {
        Failure::input(format!("{shown}:{}:{}: {}", e.line, e.column, e.what), e.remedy).coded("FLT-STORY")
    })?;
    Ok((text, story))
}

fn inspect(terminal: &Terminal, path: &Path) -> Result<RepoFacts, Failure> {
    let facts = repo::inspect(path).map_err(|e| Failure::input(e.to_string(), ""))?;
    let head = short(facts.head.as_str());
    if facts.dirty {
        terminal.careful(format_args!(
            "{} has uncommitted changes; the story is solved against HEAD ({head}) without them",
            path.display(),
        ));
    }
    if facts.untracked > 0 {
        terminal.note(format_args!(
            "{} untracked files stay behind: the story is solved against HEAD ({head})",
            facts.untracked
        ));
    }
    Ok(facts)
}

async fn say_mock(client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let node = client.node().await?;
    for engine in node.engines.iter().filter(|e| e.mock) {
        terminal.careful(format_args!(
            "engine {} is a MOCK: its replies come from a script, no model is asked",
            engine.name
        ));
    }
    Ok(())
}

async fn upload(
    client: &Client,
    terminal: &Terminal,
    args: &Submit,
    story: String,
    facts: &RepoFacts,
) -> Result<StorySpec, Failure> {
    let place =
        tempfile::tempdir().map_err(|e| Failure::internal(format!("can't make a temporary directory: {e}"), ""))?;
    let pack = place.path().join("base.bundle");
    let pack_bytes = repo::make_pack(facts, &pack).map_err(|e| Failure::input(e.to_string(), ""))?;
    let size = bytesize::ByteSize(pack_bytes);
    terminal.note(format_args!(
        "uploading the base: {} at {}, {}",
        args.repo.display(),
        short(facts.head.as_str()),
        size.display().iec()
    ));
    let stored = client.upload(&pack).await?;
    Ok(StorySpec {
        story,
        base_commit: facts.head.to_string(),
        base_pack: stored.digest,
        pack_bytes,
        approve: match args.approve_with {
            ApproveWith::Ask => Approve::Ask,
            ApproveWith::PolicyAuto => Approve::PolicyAuto,
        },
        limits: args.budget.clone().unwrap_or_default(),
        client_repo_label: label(&args.repo),
    })
}

/// The repository's folder name: for people, and no more of the user's paths than that.
fn label(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    full.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

/// A story, as it is to be sent.
pub struct Sending<'a> {
    /// Project; by default the repository's.
    pub project: Option<String>,
    pub story: &'a Story,
    pub facts: &'a RepoFacts,
    pub spec: &'a StorySpec,
    /// The same key gives the same job.
    pub key: String,
}

/// Submits.
pub async fn send(client: &Client, sending: Sending<'_>) -> Result<JobRecord, Failure> {
    let Sending { project, story, facts, spec, key } = sending;
    let body = SubmitBody {
        kind: "story".to_owned(),
        project: project.unwrap_or_else(|| facts.root_commit.to_string()),
        title: story.title.clone(),
        spec: serde_json::to_value(spec).map_err(|e| Failure::internal(format!("can't encode the story: {e}"), ""))?,
        priority: 0,
    };
    let again = client.submit(&body, &key).await;
    match again {
        // The answer may have been lost on the way; with the same key asking again can't submit twice.
        Err(failure) if failure.exit == Exit::Unreachable => client.submit(&body, &key).await,
        other => other,
    }
}

fn detached(terminal: &Terminal, job: &JobRecord) -> Outcome {
    if terminal.json_wanted() {
        terminal.json(job)?;
    } else {
        terminal.data(&job.id)?;
    }
    terminal.note(format_args!("follow it: fleet job wait {}", job.id));
    Ok(Exit::Ok)
}

/// The first digits of a commit id, as people quote it.
pub fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
