//! What is refused, stopped or given up, and that the report says so.

use std::time::Duration;

use fleet_actors::spec::Approve;
use fleet_runtime::Author;
use fleet_runtime::job::{JobError, JobState};

use crate::world::{RIGHT, Repository, STORY, Setup, World, developers, entry, fenced, script};

/// The summary of a story that is expected to fail.
async fn failure(repo: &Repository, setup: &Setup, story: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), setup).await;
    let job = world.submit(repo, story, Approve::PolicyAuto).await.id;
    let record = world.ended(&job).await;
    let report = world.report(&job).await;
    assert_eq!(record.state, JobState::Failed, "{}", report.to_markdown());
    assert!(report.commit.is_none());
    world.shutdown().await;
    report.outcome.summary
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_that_is_solved_already_is_not_solved_again() {
    let repo = Repository::with(&[
        ("a.py", "def f():\n    return 1\n"),
        (
            "test_a.py",
            "import unittest, a\n\n\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertEqual(a.f(), 1)\n",
        ),
    ]);
    let said = failure(&repo, &Setup::new(developers(&fenced(RIGHT))), STORY).await;
    assert!(said.starts_with("already solved, nothing to do"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_command_that_hangs_floods_or_is_not_there_is_named() {
    for (command, told) in [
        ("sleep 600", "ran longer"),
        ("yes", "flooded"),
        ("no-such-runner", "not found"),
        ("'true'", "no test was recognised"),
    ] {
        let mut setup = Setup::new(developers(&fenced(RIGHT)));
        setup.options.runs.wall = Duration::from_secs(5);
        let story = STORY.replace("python3 -m unittest -v", command);
        let said = failure(&Repository::new(), &setup, &story).await;
        assert!(said.contains(told), "{command}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_can_not_be_carried_out_is_refused_and_the_work_goes_on() {
    let task = |id: &str, on: &str| format!(r#"{{"id": "{id}", "title": "x", "depends_on": [{on}], "files": []}}"#);
    let plan = format!(r#"{{"tasks": [{}, {}]}}"#, task("t1", ""), task("t2", "\"t1\""));
    // One key more than the usual entry has, so that this one is taken.
    let plan = format!("  - role: architect\n    phase: plan\n    attempt: 0\n    text: '{plan}'\n");
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let world = World::start(dir.path(), &Setup::new(script(&(plan + &entry("", &fenced(RIGHT)))))).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    assert_eq!(world.ended(&job).await.state, JobState::Succeeded);
    let said = world.report(&job).await.to_markdown();
    assert!(said.contains("the plan has 2 tasks (t1, t2)") && said.contains("split the story"), "{said}");
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_edits_tests_reaches_out_or_goes_in_circles_is_stopped_and_reported() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let cheats = [
        r#"{"tool": "write_file", "args": {"path": "test_cart.py", "content": "pass"}}"#,
        r#"{"tool": "write_file", "args": {"path": "../outside.txt", "content": "x"}}"#,
        r#"{"tool": "read", "args": {"path": "cart.py"}}"#,
    ];
    let entries = [
        entry("attempt: 0; round: 0", &cheats[..2].join("\n")),
        entry("attempt: 1; round: 0", cheats[2]),
        entry("round: 1", &fenced(RIGHT)),
    ];
    let mut setup = Setup::new(script(&entries.concat()));
    setup.options.agent.max_steps = 4;
    let world = World::start(dir.path(), &setup).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    world.ended(&job).await;
    let report = world.report(&job).await;
    let text = report.to_markdown();
    let kinds: Vec<&str> = report.violations.iter().map(|v| v.what.as_str()).collect();
    assert!(kinds.contains(&"denied") && kinds.contains(&"loop"), "{text}");
    assert!(text.contains("Denied and stopped") && text.contains("test\\_cart.py"), "{text}");
    assert!(!dir.path().join("outside.txt").exists());
    assert_eq!(report.attempts[1].patch, None);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_stopped_at_once_while_a_model_talks() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let hang = "  - role: developer\n    action: hang\n    text: x\n";
    let world = World::start(dir.path(), &Setup::new(script(hang))).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    let asked = |events: &[fleet_runtime::Envelope]| {
        events.iter().any(|e| e.kind == "effect.intended" && e.payload["key"] == "propose/0/think/0")
    };
    let since = std::time::Instant::now();
    while !asked(&world.events(&job).await) {
        assert!(since.elapsed() < Duration::from_secs(60), "no agent ever asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let since = std::time::Instant::now();
    let record = world.jobs.stop(&job, Author::Person("anna".into()), "enough").await.unwrap();
    assert_eq!(record.state, JobState::Stopped);
    assert!(since.elapsed() < Duration::from_secs(8), "it took {:?}", since.elapsed());
    // What was cancelled has no outcome: nobody may take it for a failure of the model.
    let failed = world.events(&job).await.iter().filter(|e| e.kind == "effect.failed").count();
    assert_eq!(failed, 0);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_without_a_test_command_is_refused_before_it_is_a_job() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let world = World::start(dir.path(), &Setup::new(developers(""))).await;
    let mut submit = fleet_runtime::job::JobSubmit {
        kind: "story".into(),
        project: "shop".parse().unwrap(),
        idempotency_key: "x".into(),
        title: "x".into(),
        spec: serde_json::json!({
            "story": "---\ntitle: a\n---\n", "base_commit": repo.git(&["rev-parse", "HEAD"]),
            "base_pack": "0".repeat(64), "pack_bytes": 1,
        }),
        priority: 0,
        by: Author::Person("anna".into()),
    };
    let refused = world.jobs.submit(submit.clone()).await.unwrap_err();
    assert!(matches!(&refused, JobError::InvalidSpec(why) if why.contains("test: python3")), "{refused}");
    // A pack that was never uploaded is found out when the job begins.
    submit.spec["story"] = STORY.into();
    let job = world.jobs.submit(submit).await.unwrap().id;
    assert_eq!(world.ended(&job).await.state, JobState::Failed);
    assert!(world.report(&job).await.outcome.summary.contains("never uploaded"));
    world.shutdown().await;
}
