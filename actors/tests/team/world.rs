//! A node in a directory, a repository with a fault, and a scripted engine.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet_actors::event::StoryEvent;
use fleet_actors::options::TeamOptions;
use fleet_actors::report::Report;
use fleet_actors::spec::{Approve, StoryLimits, StorySpec};
use fleet_actors::team::NodeGrounds;
use fleet_actors::{Approvals, SecretGuard, Services, StoryJob};
use fleet_inference::{Engine, EngineHandle, EngineRouter, MockEngine, MockMode, MockOptions, Script};
use fleet_memory::{MemoryActor, MemoryArgs, MemoryHandle, MemoryOptions, SecretRedactor};
use fleet_runtime::actor::System;
use fleet_runtime::job::{JobRecord, JobState, JobSubmit, Jobs, JobsOptions, JobsPorts};
use fleet_runtime::progress::ProgressBus;
use fleet_runtime::supervise::{Backoff, ChildOptions};
use fleet_runtime::{
    Author, BlobOptions, BlobStore, Blobs, Envelope, Incarnation, JobId, Journal, JournalError, JournalOptions, NodeId,
    ProjectId, Redactor, Seq, SqliteJournal, StreamId,
};
use fleet_tools::gateway::{GatewayHandle, GatewayOptions};
use fleet_tools::policy::Policy;
use fleet_tools::repo::{Caps, CommitId, client};
use fleet_tools::run::Workbench;
use fleet_tools::sandbox::{Sandbox, SandboxOptions, Toolchains};
use tempfile::TempDir;

/// Key of the placeholders in every world.
const KEY: [u8; 32] = [7; 32];

/// A text as agents see it.
pub fn shown(text: &str) -> String {
    SecretRedactor::new(KEY).redact(&"shop".parse().unwrap(), text).into_owned()
}

/// Longer than any story here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub const STORY: &str = "---
title: Total ignores quantities
test: python3 -m unittest -v
results: unittest
test_files: ['test_*.py']
acceptance: [Every item counts as often as it was added.]
seed: 7
---
The total of a cart must count quantities.
";

const CART: &str = "class Cart:
    def __init__(self):
        self.items = []

    def add(self, price, quantity=1):
        self.items.append((price, quantity))

    def total(self):
        return sum(price for price, quantity in self.items)
";

const TESTS: &str = "import unittest
from cart import Cart


class CartTest(unittest.TestCase):
    def test_total(self):
        cart = Cart()
        cart.add(2, 3)
        self.assertEqual(cart.total(), 6)

    def test_empty(self):
        self.assertEqual(Cart().total(), 0)
";

pub const RIGHT: &str = "def total(self):\n    return sum(price * quantity for price, quantity in self.items)\n";
pub const WRONG: &str = "def total(self):\n    return sum(quantity for price, quantity in self.items)\n";

/// What the architect says in every script.
const ARCHITECT: &str = r#"
  - role: architect
    phase: design
    text: '{"summary": "The total adds prices only.", "approach": "Multiply by quantity.", "risks": []}'
  - role: architect
    phase: plan
    text: '{"tasks": [{"id": "t1", "title": "Fix the total", "depends_on": [], "files": ["cart.py"]}]}'
"#;

/// A script with this answer of every developer.
pub fn developers(code: &str) -> String {
    script(&entry("", code))
}

/// One reply of a developer; `keys` are more keys of the entry, as YAML lines.
pub fn entry(keys: &str, text: &str) -> String {
    let keys: String = keys.split("; ").filter(|k| !k.is_empty()).map(|k| format!("    {k}\n")).collect();
    let text: String = text.lines().map(|l| format!("      {l}\n")).collect();
    format!("  - role: developer\n{keys}    text: |\n{text}")
}

/// A script of these entries, with the architect's.
pub fn script(entries: &str) -> String {
    format!("replies:{ARCHITECT}{entries}")
}

/// A block of code as a model writes it.
pub fn fenced(code: &str) -> String {
    format!("```python\n{code}```")
}

/// A git repository with a fault and a test that shows it.
pub struct Repository {
    path: PathBuf,
    _dir: Option<TempDir>,
}

impl Repository {
    pub fn new() -> Self {
        Self::with(&[("cart.py", CART), ("test_cart.py", TESTS)])
    }

    pub fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = Self { path: dir.path().to_owned(), _dir: Some(dir) };
        repo.git(&["init", "-q", "-b", "main"]);
        for (path, text) in files {
            std::fs::write(repo.path.join(path), text).unwrap();
        }
        repo.git(&["add", "-A"]);
        repo.git(&["-c", "user.name=a", "-c", "user.email=a@x", "commit", "-qm", "base"]);
        repo
    }

    pub fn git(&self, args: &[&str]) -> String {
        let mut command = std::process::Command::new("git");
        let out = command.current_dir(&self.path).args(args).output().unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One that is there already.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), _dir: None }
    }
}

/// Everything that may differ between nodes.
pub struct Setup {
    pub script: String,
    pub mode: MockMode,
    pub options: TeamOptions,
    /// Panics in whoever records this text, so many times.
    pub panics: Option<(&'static str, usize)>,
    pub delay: Duration,
    /// Asks this engine instead of the script.
    pub engine: Option<Arc<dyn Engine>>,
}

impl Setup {
    pub fn new(script: String) -> Self {
        let mut options = TeamOptions::default();
        options.council.proposals = 4;
        options.council.first = Vec::new();
        options.council.wave = 2;
        options.council.design_after = 0;
        Self { script, mode: MockMode::Excellent, options, panics: None, delay: Duration::ZERO, engine: None }
    }
}

/// A node.
pub struct World {
    pub dir: PathBuf,
    pub jobs: Jobs,
    pub approvals: Approvals,
    pub journal: Arc<dyn Journal>,
    pub blobs: Blobs,
    system: System,
}

impl World {
    pub async fn start(dir: &Path, setup: &Setup) -> Self {
        let journal: Arc<dyn Journal> = Arc::new(journal(&dir.join("journal")).await);
        let secrets = Arc::new(SecretRedactor::new(KEY));
        let redactor: Arc<dyn Redactor> = Arc::new(Panicking::new(secrets.clone(), setup.panics));
        let blobs = BlobStore::open(&dir.join("blobs"), BlobOptions::default()).unwrap();
        let blobs = Blobs::alone(blobs).await.unwrap();
        let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
        let memory_args =
            MemoryArgs { journal: journal.clone(), redactor: secrets.clone(), options: MemoryOptions::default() };
        let memory = system.spawn::<MemoryActor>("memory", memory_args, ChildOptions::default()).await.unwrap();
        let sandbox = tokio::task::spawn_blocking(|| Sandbox::detect(&SandboxOptions::default())).await;
        let bench = Workbench {
            runner: Arc::new(sandbox.unwrap().unwrap()),
            dir: dir.join("work"),
            toolchains: Toolchains::discover_all(),
        };
        std::fs::create_dir_all(&bench.dir).unwrap();
        let gateway_options = GatewayOptions {
            bench: bench.clone(),
            authorizer: Arc::new(Policy),
            guard: Arc::new(SecretGuard(secrets)),
            max_workspaces: 16,
        };
        let mock = MockOptions {
            mode: setup.mode,
            script: Script::parse(&setup.script).unwrap(),
            token_delay: setup.delay,
            ..MockOptions::default()
        };
        let engine = setup.engine.clone().unwrap_or_else(|| Arc::new(MockEngine::new(mock)));
        let approvals = Approvals::start(&system, journal.clone()).await.unwrap();
        let services = Services {
            system: system.clone(),
            node: "n1".into(),
            memory: MemoryHandle::new(memory),
            engine: EngineRouter::to(engine.info().name, EngineHandle::start(&system, "engine", engine).await.unwrap()),
            gateway: GatewayHandle::start(&system, gateway_options).await.unwrap(),
            bench,
            caps: Caps::default(),
            approvals: approvals.clone(),
            cluster: None,
            grounds: NodeGrounds::default(),
            bases: dir.join("bases"),
            options: setup.options.clone(),
        };
        let ports =
            JobsPorts { journal: journal.clone(), redactor, blobs: blobs.clone(), progress: ProgressBus::new() };
        let jobs_options = JobsOptions {
            backoff: Backoff { initial: Duration::from_millis(20), ..Backoff::default() },
            ..JobsOptions::default()
        };
        let jobs = Jobs::start(&system, jobs_options, vec![Arc::new(StoryJob::new(services))], ports).await.unwrap();
        Self { dir: dir.to_owned(), jobs, approvals, journal, blobs, system }
    }

    pub async fn submit(&self, repo: &Repository, story: &str, approve: Approve) -> JobRecord {
        let facts = client::inspect(repo.path()).unwrap();
        let pack = self.dir.join("upload.bundle");
        let pack_bytes = client::make_pack(&facts, &pack).unwrap();
        let digest = self.blobs.put(std::fs::read(&pack).unwrap()).await.unwrap();
        let spec = StorySpec {
            story: story.into(),
            base_commit: facts.head.to_string(),
            base_pack: digest.to_string(),
            pack_bytes,
            approve,
            limits: StoryLimits::default(),
            client_repo_label: "shop".into(),
        };
        let submit = JobSubmit {
            kind: StoryJob::KIND.into(),
            project: "shop".parse::<ProjectId>().unwrap(),
            idempotency_key: "one".into(),
            title: "a story".into(),
            spec: serde_json::to_value(spec).unwrap(),
            priority: 0,
            by: Author::Person("anna".into()),
        };
        self.jobs.submit(submit).await.unwrap()
    }

    /// Waits until the job is in a state that is asked for.
    pub async fn until(&self, job: &JobId, wanted: impl Fn(&JobRecord) -> bool) -> JobRecord {
        self.until_within(job, PATIENCE, wanted).await
    }

    pub async fn until_within(
        &self,
        job: &JobId,
        patience: Duration,
        wanted: impl Fn(&JobRecord) -> bool,
    ) -> JobRecord {
        let since = Instant::now();
        loop {
            let record = self.jobs.get(job).await.unwrap();
            if wanted(&record) {
                return record;
            }
            assert!(since.elapsed() < patience, "still {record:?}\n{}", self.report(job).await.to_markdown());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn ended(&self, job: &JobId) -> JobRecord {
        self.until(job, |r| r.state.is_ended()).await
    }

    pub async fn waiting(&self, job: &JobId) -> JobRecord {
        self.until(job, |r| r.state == JobState::Waiting || r.state.is_ended()).await
    }

    pub async fn events(&self, job: &JobId) -> Vec<Envelope> {
        let mut all: Vec<Envelope> = Vec::new();
        loop {
            let from = all.last().map_or(Seq(1), |e| e.seq.next());
            let page = self.journal.read_stream(&StreamId::job(job), from, 1000).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    pub async fn story(&self, job: &JobId) -> Vec<StoryEvent> {
        let events = self.events(job).await;
        events.iter().filter_map(|e| StoryEvent::read(&e.kind, &e.payload)).map(|e| e.unwrap()).collect()
    }

    pub async fn report(&self, job: &JobId) -> Report {
        Report::from_events(&self.events(job).await)
    }

    /// Brings the result into the repository, as the client does; gives the commit.
    pub async fn fetch(&self, repo: &Repository, job: &JobId) -> CommitId {
        let commit = self.report(job).await.commit.expect("there is no commit");
        let bundle = self.blobs.path(&commit.bundle.parse().unwrap()).await.unwrap();
        let base: CommitId = repo.git(&["rev-parse", "HEAD"]).parse().unwrap();
        client::import_result(repo.path(), &bundle, &base, &commit.branch).unwrap()
    }

    pub async fn shutdown(self) {
        self.system.shutdown().await;
    }
}

/// Opens the journal. The writer thread of a node that was dropped in this very process may still be ending.
async fn journal(dir: &Path) -> SqliteJournal {
    let since = Instant::now();
    loop {
        match SqliteJournal::open(dir, &JournalOptions::default()) {
            Ok((journal, _)) => return journal,
            Err(JournalError::InUse(_)) if since.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(e) => panic!("{e}"),
        }
    }
}

/// Redacts, and panics in whoever records a certain text. That is how a test gets at an agent's own task.
struct Panicking {
    inner: Arc<SecretRedactor>,
    text: Option<&'static str>,
    left: AtomicUsize,
}

impl Panicking {
    fn new(inner: Arc<SecretRedactor>, panics: Option<(&'static str, usize)>) -> Self {
        let left = AtomicUsize::new(panics.map_or(0, |(_, n)| n));
        Self { inner, text: panics.map(|(text, _)| text), left }
    }
}

impl Redactor for Panicking {
    fn redact<'a>(&self, project: &ProjectId, text: &'a str) -> Cow<'a, str> {
        if Some(text) == self.text {
            let less = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            assert!(less.is_err(), "the test wants a crash here");
        }
        self.inner.redact(project, text)
    }
}
