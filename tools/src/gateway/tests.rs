#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_runtime::actor::System;
use fleet_runtime::{
    Effects, Envelope, Incarnation, JobId, Journal, JournalOptions, NoSecrets, NodeId, ProjectId, SqliteJournal,
    StreamId, StreamWriter,
};
use serde_json::{Value, json};

use super::*;
use crate::policy::Policy;
use crate::repo::tests::{Fixture, OnHost, checkout_of, fixture};
use crate::results::Format;
use crate::run::Workbench;
use crate::sandbox::Limits;

const CODE: &str = "def add(a, b):\n    return a - b\n\n\nclass Till:\n    def total(self):\n        return 1\n";
const TESTS: &str = "import unittest\nfrom calc import add\n\n\nclass T(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n";
const SOON: Duration = Duration::from_secs(60);

/// Hides one word, as a redactor would.
struct HideHunter2;

impl EditGuard for HideHunter2 {
    fn show(&self, _: &ProjectId, text: &str) -> String {
        text.replace("hunter2", "⟦secret:x:1⟧")
    }

    fn put_back(&self, _: &ProjectId, before: &str, after: &str) -> Result<String, String> {
        let count = |text: &str| text.matches("⟦secret:x:1⟧").count();
        if count(before) == count(after) {
            Ok(after.replace("⟦secret:x:1⟧", "hunter2"))
        } else {
            Err("a placeholder was added or lost".to_owned())
        }
    }
}

struct Node {
    system: System,
    gateway: GatewayHandle,
    journal: Arc<SqliteJournal>,
    job: JobId,
}

impl Node {
    async fn start(dir: &Path) -> Self {
        let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
        let options = GatewayOptions {
            bench: Workbench { runner: Arc::new(OnHost), dir: dir.join("bench"), toolchains: Default::default() },
            authorizer: Arc::new(Policy),
            guard: Arc::new(HideHunter2),
            max_workspaces: 2,
        };
        let gateway = GatewayHandle::start(&system, options).await.unwrap();
        let (journal, _) = SqliteJournal::open(&dir.join("journal"), &JournalOptions::default()).unwrap();
        Self { system, gateway, journal: Arc::new(journal), job: "k3m9x2p7qa".parse().unwrap() }
    }

    async fn writer(&self) -> StreamWriter {
        let journal: Arc<dyn Journal> = self.journal.clone();
        StreamWriter::open(journal, Arc::new(NoSecrets), StreamId::job(&self.job), project()).await.unwrap()
    }

    async fn history(&self) -> Vec<Envelope> {
        self.journal.read_stream(&StreamId::job(&self.job), fleet_runtime::Seq(1), 1_000).await.unwrap()
    }

    fn spec(&self, name: &str) -> WorkspaceSpec {
        WorkspaceSpec {
            job: self.job.clone(),
            project: project(),
            name: name.to_owned(),
            role: "developer".to_owned(),
            agent: "dev-1".to_owned(),
            phase: "build".to_owned(),
            patch: Vec::new(),
            build: None,
            test: "python3 -m unittest".to_owned(),
            format: Format::Unittest,
            protected: vec!["ci/**".to_owned()],
            test_files: vec!["test_*.py".to_owned()],
            limits: Limits::default(),
        }
    }

    async fn open(&self, f: &Fixture, name: &str) -> WorkspaceRef {
        let writer = self.writer().await;
        let history = writer.history().await.unwrap();
        self.gateway.open(self.spec(name), f.base.clone(), Effects::new(writer, &history)).await.unwrap()
    }

    async fn call(&self, ws: &WorkspaceRef, tool: &str, args: Value) -> ToolResult {
        self.gateway.call(ws, ToolCall::new(tool, args), SOON).await.unwrap()
    }
}

fn project() -> ProjectId {
    "project".parse().unwrap()
}

async fn calc() -> Fixture {
    fixture(checkout_of(&[
        ("calc.py", CODE),
        ("test_calc.py", TESTS),
        ("ci/run.yml", "x"),
        ("settings.py", "KEY = 'hunter2'\n\n\ndef key():\n    return KEY\n"),
    ]))
    .await
}

#[tokio::test]
async fn an_agent_looks_edits_runs_the_tests_and_leaves_a_patch() {
    let f = calc().await;
    let node = Node::start(f.node.path()).await;
    let ws = node.open(&f, "dev-1").await;
    let listed = node.call(&ws, "list", json!({})).await;
    assert!(listed.ok && listed.text.contains("calc.py ("), "{listed:?}");
    let read = node.call(&ws, "read", json!({"path": "/work/calc.py"})).await;
    assert!(read.text.contains("    2      return a - b"), "{}", read.text);
    assert_eq!(read.data["functions"], json!(["add", "Till.total"]));
    let found = node.call(&ws, "search", json!({"pattern": "def \\w+\\(self"})).await;
    assert!(found.text.contains("calc.py:6: def total(self):"), "{}", found.text);
    let failing = node.call(&ws, "run_tests", json!({})).await;
    assert!(!failing.ok && failing.text.contains("-1 != 3"), "{}", failing.text);
    let edited = node
        .call(
            &ws,
            "replace_function",
            json!({"path": "calc.py", "name": "add", "code": "def add(a, b):\n    return a + b\n"}),
        )
        .await;
    assert!(edited.ok, "{edited:?}");
    let passing = node.call(&ws, "run_tests", json!({})).await;
    assert!(passing.ok && passing.text.starts_with("1 passed, 0 failed"), "{}", passing.text);
    assert_eq!(passing.run.unwrap().exit, Some(0));
    let patch = node.gateway.patch(&ws, SOON).await.unwrap();
    assert_eq!((patch.paths(), patch.lines), (vec!["calc.py".to_owned()], 2));
    node.gateway.close(ws).await;
    assert!(std::fs::read_dir(f.node.path().join("bench/workspaces")).unwrap().next().is_none());
}

#[tokio::test]
async fn what_is_denied_is_said_with_its_rule_recorded_and_not_done() {
    let f = calc().await;
    let node = Node::start(f.node.path()).await;
    let ws = node.open(&f, "dev-1").await;
    let cases = [
        ("write_file", json!({"path": "test_calc.py", "content": "x = 1\n"}), "existing-tests"),
        ("write_file", json!({"path": "ci/new.yml", "content": "x"}), "protected-paths"),
        ("write_file", json!({"path": "../../x", "content": "x"}), "paths-stay-inside"),
        ("read", json!({"path": "/etc/passwd"}), "paths-stay-inside"),
        ("deploy", json!({}), "only-what-the-table-allows"),
    ];
    for (tool, args, rule) in cases {
        let result = node.call(&ws, tool, args).await;
        assert_eq!(result.denied.as_deref(), Some(rule), "{result:?}");
        assert!(!result.ok && result.text.starts_with("denied by "));
    }
    assert!(node.gateway.patch(&ws, SOON).await.unwrap().is_empty());
    let history = node.history().await;
    let denials =
        history.iter().filter(|e| e.kind == "effect.intended" && e.payload["what"]["allowed"] == json!(false)).count();
    assert_eq!(denials, 5);
    assert_eq!(history.iter().filter(|e| e.kind == "effect.completed").count(), 5);
    assert_eq!(history[0].by.to_string(), "agent:developer/dev-1");
}

#[tokio::test]
async fn a_command_that_changes_tests_is_undone_and_reported() {
    let f = calc().await;
    let node = Node::start(f.node.path()).await;
    let ws = node.open(&f, "dev-1").await;
    let command = "echo pass > test_calc.py; echo x > sitecustomize.py; rm ci/run.yml; echo y > free.txt";
    let result = node.call(&ws, "exec", json!({"command": command})).await;
    assert_eq!(result.denied.as_deref(), Some("protected-paths"));
    for path in ["test_calc.py", "sitecustomize.py", "ci/run.yml"] {
        assert!(result.text.contains(path), "{}", result.text);
    }
    assert_eq!(node.gateway.patch(&ws, SOON).await.unwrap().paths(), ["free.txt"]);
    let quiet = node.call(&ws, "exec", json!({"command": "true"})).await;
    assert!(quiet.ok && quiet.text.contains("it wrote no output"), "{}", quiet.text);
}

#[tokio::test]
async fn a_secret_is_never_shown_and_survives_an_edit() {
    let f = calc().await;
    let node = Node::start(f.node.path()).await;
    let ws = node.open(&f, "dev-1").await;
    let read = node.call(&ws, "read", json!({"path": "settings.py"})).await;
    assert!(read.text.contains("⟦secret:x:1⟧") && !read.text.contains("hunter2"));
    let edited = node
        .call(
            &ws,
            "replace_function",
            json!({"path": "settings.py", "name": "key", "code": "def key():\n    return KEY.strip()"}),
        )
        .await;
    assert!(edited.ok, "{edited:?}");
    let lost = node.call(&ws, "write_file", json!({"path": "settings.py", "content": "KEY = ''\n"})).await;
    assert!(!lost.ok && lost.text.contains("placeholder"));
    let patch = String::from_utf8(node.gateway.patch(&ws, SOON).await.unwrap().bytes).unwrap();
    assert!(patch.contains("+    return KEY.strip()") && !patch.contains("secret"), "{patch}");
}

#[tokio::test]
async fn code_that_would_not_parse_is_not_written() {
    let f = calc().await;
    let node = Node::start(f.node.path()).await;
    let ws = node.open(&f, "dev-1").await;
    for (tool, args) in [
        ("write_file", json!({"path": "calc.py", "content": "def add(:\n"})),
        ("replace_function", json!({"path": "calc.py", "name": "add", "code": "def add(a:\n  return"})),
        ("replace_function", json!({"path": "calc.py", "name": "nope", "code": "def nope(): pass"})),
        ("replace_function", json!({"path": "calc.py"})),
        ("read", json!({"path": "src/calc.py"})),
    ] {
        let result = node.call(&ws, tool, args).await;
        assert!(!result.ok && result.denied.is_none() && !result.text.is_empty(), "{result:?}");
    }
    assert!(node.gateway.patch(&ws, SOON).await.unwrap().is_empty());
}

/// After a crash the agent repeats its calls: the same answers, the same files, and nothing is recorded twice.
#[tokio::test]
async fn a_repeated_session_gives_the_recorded_answers_and_the_same_workspace() {
    let f = calc().await;
    let calls = [
        ("replace_function", json!({"path": "calc.py", "name": "add", "code": "def add(a, b):\n    return a + b\n"})),
        ("exec", json!({"command": "date +%N > when.txt; cat when.txt"})),
        ("read", json!({"path": "calc.py"})),
    ];
    let node = Node::start(f.node.path()).await;
    let ws = node.open(&f, "dev-1").await;
    let mut first = Vec::new();
    for (tool, args) in &calls {
        first.push(node.call(&ws, tool, args.clone()).await);
    }
    let events = node.history().await.len();
    node.gateway.close(ws).await;
    let ws = node.open(&f, "dev-1").await;
    for ((tool, args), before) in calls.iter().zip(&first) {
        assert_eq!(&node.call(&ws, tool, args.clone()).await, before);
    }
    assert_eq!(node.history().await.len(), events);
    assert_eq!(node.gateway.patch(&ws, SOON).await.unwrap().paths(), ["calc.py", "when.txt"]);
    let other = node.call(&ws, "read", json!({"path": "test_calc.py"})).await;
    assert!(other.ok && node.history().await.len() == events + 2);
}

#[tokio::test]
async fn a_full_gateway_says_busy_and_closing_makes_room() {
    let f = calc().await;
    let node = Node::start(f.node.path()).await;
    let first = node.open(&f, "a").await;
    let _second = node.open(&f, "b").await;
    let open = async |name: &str| {
        let writer = node.writer().await;
        node.gateway.open(node.spec(name), f.base.clone(), Effects::new(writer, &[])).await
    };
    assert!(matches!(open("c").await, Err(ToolError::Busy(_))));
    assert!(matches!(open("../c").await, Err(ToolError::BadSpec(_))));
    node.gateway.close(first.clone()).await;
    assert!(matches!(node.gateway.call(&first, ToolCall::new("list", json!({})), SOON).await, Err(ToolError::Gone(_))));
    assert!(open("c").await.is_ok());
}

#[tokio::test]
async fn closing_a_workspace_kills_what_runs_in_it() {
    let f = calc().await;
    let node = Node::start(f.node.path()).await;
    let ws = node.open(&f, "a").await;
    let started = Instant::now();
    let running = {
        let (gateway, ws) = (node.gateway.clone(), ws.clone());
        tokio::spawn(
            async move { gateway.call(&ws, ToolCall::new("exec", json!({"command": "sleep 50"})), SOON).await },
        )
    };
    let intended = async || node.history().await.iter().any(|e| e.kind == "effect.intended");
    while !intended().await {
        assert!(started.elapsed() < SOON, "the call never began");
    }
    node.gateway.close(ws).await;
    assert!(matches!(running.await.unwrap(), Err(ToolError::Unknown { .. } | ToolError::Gone(_))));
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    node.system.shutdown().await;
}
