//! Whatever crashes, the story goes on, and nothing that was recorded is done twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fleet_actors::event::StoryEvent;
use fleet_actors::spec::Approve;
use fleet_runtime::job::JobState;
use fleet_runtime::{Envelope, JobId};

use crate::world::{RIGHT, Repository, STORY, Setup, WRONG, World, developers, entry, fenced, script};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_panics_is_begun_again_and_the_story_goes_on() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let mut setup = Setup::new(developers(&fenced(RIGHT)));
    setup.panics = Some(("propose/0/think/0", 2));
    let world = World::start(dir.path(), &setup).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    let record = world.ended(&job).await;
    let report = world.report(&job).await;
    assert_eq!(record.state, JobState::Succeeded, "{}", report.to_markdown());
    assert!(report.attempts[0].patch.is_some(), "{}", report.to_markdown());
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_always_panics_costs_its_own_proposal_only() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let mut setup = Setup::new(developers(&fenced(RIGHT)));
    setup.panics = Some(("propose/1/think/0", 1000));
    let world = World::start(dir.path(), &setup).await;
    let job = world.submit(&repo, STORY, Approve::PolicyAuto).await.id;
    let record = world.ended(&job).await;
    let report = world.report(&job).await;
    assert_eq!(record.state, JobState::Succeeded, "{}", report.to_markdown());
    let why = report.attempts[1].why_none.clone().unwrap_or_default();
    assert!(why.contains("crashed 3 times"), "{}", report.to_markdown());
    world.shutdown().await;
}

/// A story with a repair round, so that every kind of step is on its way.
fn setup() -> Setup {
    let entries = [entry("round: 0", &fenced(WRONG)), entry("round: 1", &fenced(RIGHT))];
    Setup { delay: Duration::from_millis(2), ..Setup::new(script(&entries.concat())) }
}

/// Lets a node live for a while in a runtime of its own, then drops all of it at once.
fn live(dir: &Path, repo: &Repository, life: Duration) -> Option<(JobId, Vec<Envelope>)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let world = World::start(dir, &setup()).await;
        let job = world.submit(repo, STORY, Approve::PolicyAuto).await.id;
        let end = tokio::time::timeout(life, world.ended(&job)).await;
        match end {
            Ok(record) => {
                assert_eq!(record.state, JobState::Succeeded, "{}", world.report(&job).await.to_markdown());
                let events = world.events(&job).await;
                world.shutdown().await;
                Some((job, events))
            }
            Err(_) => None,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    ended
}

#[test]
fn a_node_that_dies_again_and_again_ends_with_the_same_tree_and_nothing_done_twice() {
    let (calm, torn) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repo = Repository::new();
    let (_, undisturbed) = live(calm.path(), &repo, Duration::from_secs(100)).expect("undisturbed, it ends");
    let mut disturbed = None;
    for life in 0..40 {
        // Lives of different lengths, so that they end at different steps; long enough to get on.
        let length = Duration::from_millis(300 + 137 * (life % 9) + 60 * life);
        disturbed = live(torn.path(), &repo, length);
        if disturbed.is_some() {
            break;
        }
    }
    let (_, disturbed) = disturbed.expect("it never ended");
    assert_eq!(patch_of(&disturbed), patch_of(&undisturbed));
    for events in [&undisturbed, &disturbed] {
        for (key, n) in outcomes(events) {
            assert_eq!(n, 1, "{key} has {n} outcomes");
        }
        for kind in [
            "story.accepted",
            "story.baseline",
            "story.design",
            "story.plan",
            "story.gate_decided",
            "story.committed",
            "story.ended",
        ] {
            assert_eq!(events.iter().filter(|e| e.kind == kind).count(), 1, "{kind}");
        }
    }
    let runs = disturbed.iter().filter(|e| e.kind == "job.started").count();
    assert!(runs > 1, "it was never disturbed");
}

fn outcomes(events: &[Envelope]) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for event in events.iter().filter(|e| e.kind == "effect.completed" || e.kind == "effect.failed") {
        *outcomes.entry(event.payload["key"].to_string()).or_default() += 1;
    }
    outcomes
}

/// Digest of the patch that was committed.
fn patch_of(events: &[Envelope]) -> Option<String> {
    let story: Vec<StoryEvent> =
        events.iter().filter_map(|e| StoryEvent::read(&e.kind, &e.payload)).map(|e| e.unwrap()).collect();
    let committed = story.iter().find_map(|e| match e {
        StoryEvent::Committed { attempt, .. } => Some(*attempt),
        _ => None,
    })?;
    story.iter().find_map(|e| match e {
        StoryEvent::Proposal(p) if p.attempt == committed => p.patch().map(|p| p.digest.clone()),
        _ => None,
    })
}
