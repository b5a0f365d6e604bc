//! The memory actor over a real journal.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet_memory::{BundleRequest, Material, MemoryActor, MemoryArgs, MemoryHandle, MemoryOptions, SecretRedactor};
use fleet_runtime::actor::System;
use fleet_runtime::supervise::ChildOptions;
use fleet_runtime::{
    Author, Entity, Fact, Incarnation, Journal, JournalOptions, NewEvent, NodeId, ProjectId, Redactor, SqliteJournal,
    StreamId, StreamWriter,
};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(20);

struct House {
    system: System,
    journal: Arc<dyn Journal>,
    redactor: Arc<SecretRedactor>,
    memory: MemoryHandle,
}

impl House {
    async fn start(dir: &Path, options: MemoryOptions) -> Self {
        let (journal, _) = SqliteJournal::open(dir, &JournalOptions::default()).unwrap();
        let journal: Arc<dyn Journal> = Arc::new(journal);
        let redactor = Arc::new(SecretRedactor::new([3; 32]));
        let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
        let args = MemoryArgs { journal: Arc::clone(&journal), redactor: redactor.clone(), options };
        let actor = system.spawn::<MemoryActor>("memory", args, ChildOptions::default()).await.unwrap();
        Self { system, journal, redactor, memory: MemoryHandle::new(actor) }
    }

    async fn writer(&self, stream: &str) -> StreamWriter {
        let redactor: Arc<dyn Redactor> = self.redactor.clone();
        StreamWriter::open(self.journal.clone(), redactor, stream.parse().unwrap(), project()).await.unwrap()
    }
}

fn project() -> ProjectId {
    "p1".parse().unwrap()
}

fn story(body: &str) -> NewEvent {
    let entity = Entity { kind: "story".into(), id: "s".into(), title: "Story".into(), body: body.into() };
    NewEvent::new(Author::Node("n1".into()), "story.accepted", json!({ "text": body }))
        .with_facts(vec![Fact::Entity(entity)])
}

fn request(stream: &str, materials: Vec<Material>) -> BundleRequest {
    BundleRequest {
        stream: stream.parse::<StreamId>().unwrap(),
        project: project(),
        role: "developer".into(),
        phase: "build".into(),
        task: None,
        budget_tokens: 4000,
        materials,
    }
}

/// Made here, so that no source file holds a secret.
fn secret() -> String {
    format!("ghp_{}", "a1B2c3D4e5F6".repeat(3))
}

#[tokio::test]
async fn an_answer_contains_every_event_acknowledged_before_the_question() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::start(dir.path(), MemoryOptions { page: 2, ..MemoryOptions::default() }).await;
    let writer = house.writer("job/k3m9x2p7qa").await;
    for n in 0..7 {
        writer.append(story(&format!("version {n}"))).await.unwrap();
        let bundle = house.memory.bundle(request("job/k3m9x2p7qa", Vec::new()), DEADLINE).await.unwrap();
        assert_eq!(bundle.sections[0].body, format!("version {n}"));
    }
    house.system.shutdown().await;
}

#[tokio::test]
async fn a_bundle_of_the_past_is_the_bundle_that_was_given_then() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::start(dir.path(), MemoryOptions::default()).await;
    let writer = house.writer("job/k3m9x2p7qa").await;
    writer.append(story("first")).await.unwrap();
    let then = house.memory.bundle(request("job/k3m9x2p7qa", Vec::new()), DEADLINE).await.unwrap();
    writer.append(story("second")).await.unwrap();
    let again = house.memory.bundle_at(request("job/k3m9x2p7qa", Vec::new()), then.position, DEADLINE).await.unwrap();
    assert_eq!(then, again);
    house.system.shutdown().await;
}

#[tokio::test]
async fn streams_do_not_see_each_other_and_forgotten_ones_are_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::start(dir.path(), MemoryOptions { streams: 1, ..MemoryOptions::default() }).await;
    for stream in ["job/aaaaaaaaaa", "job/bbbbbbbbbb"] {
        house.writer(stream).await.append(story(stream)).await.unwrap();
    }
    for _ in 0..2 {
        for stream in ["job/aaaaaaaaaa", "job/bbbbbbbbbb"] {
            let bundle = house.memory.bundle(request(stream, Vec::new()), DEADLINE).await.unwrap();
            assert_eq!(bundle.render(), format!("## Story\n{stream}\n"));
        }
    }
    house.system.shutdown().await;
}

#[tokio::test]
async fn a_secret_reaches_neither_an_agent_nor_a_disk() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::start(dir.path(), MemoryOptions::default()).await;
    house.writer("job/k3m9x2p7qa").await.append(story(&format!("use {} please", secret()))).await.unwrap();
    let file = Material {
        kind: "source file".into(),
        id: "a.py".into(),
        title: "a.py".into(),
        body: format!("KEY = '{}'", secret()),
        priority: 0,
    };
    let bundle = house.memory.bundle(request("job/k3m9x2p7qa", vec![file]), DEADLINE).await.unwrap();
    let text = bundle.render();
    assert!(!text.contains(&secret()), "{text}");
    assert_eq!(text.matches("⟦secret:github-pat:").count(), 2);
    // Who writes the file for the agent gets the original back.
    let restored = house.redactor.placeholders(&project()).originals(&text).unwrap();
    assert_eq!(restored.matches(&secret()).count(), 2);

    house.system.shutdown().await;
    let needle = secret();
    let mut searched = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            searched += bytes.len();
            assert!(!bytes.windows(needle.len()).any(|w| w == needle.as_bytes()), "{}", path.display());
        }
    }
    assert!(searched > 0);
}
