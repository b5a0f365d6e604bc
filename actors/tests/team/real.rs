//! Stories solved by the real model. Takes minutes: `cargo test -p fleet-actors --test team -- --ignored --nocapture`.

use std::time::Instant;

use fleet_actors::TeamOptions;
use fleet_actors::report::Report;
use fleet_actors::spec::Approve;
use fleet_inference::models::ModelStore;
use fleet_inference::{EngineConfig, build_engine};
use fleet_runtime::job::JobState;

use crate::world::{Repository, STORY, Setup, World};

/// Runs one story with one seed; gives its report and the seconds it took.
async fn solve(repo: &Repository, story: &str, seed: u64) -> (JobState, Report, f32) {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new("replies: []".into());
    setup.options = TeamOptions::default();
    setup.engine = Some(build_engine(&EngineConfig::default(), false, &ModelStore::of_user().unwrap()).unwrap());
    let world = World::start(dir.path(), &setup).await;
    let since = Instant::now();
    let story = story.replace("seed: 7", &format!("seed: {seed}"));
    let job = world.submit(repo, &story, Approve::PolicyAuto).await.id;
    let record = world.until_within(&job, std::time::Duration::from_secs(1800), |r| r.state.is_ended()).await;
    let report = world.report(&job).await;
    world.shutdown().await;
    (record.state, report, since.elapsed().as_secs_f32())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "asks a real model for minutes"]
async fn the_real_model_solves_the_cart() {
    let seed = std::env::var("FLEET_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    let (state, report, seconds) = solve(&Repository::new(), STORY, seed).await;
    let text = report.to_markdown();
    if let Ok(path) = std::env::var("FLEET_REPORT") {
        std::fs::write(path, format!("{text}\n{seconds} s\n")).unwrap();
    }
    assert_eq!(state, JobState::Succeeded, "{text}");
}

/// Solves an example of `examples/stories`, named by `FLEET_EXAMPLE`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "asks a real model for minutes"]
async fn the_real_model_solves_an_example() {
    let name = std::env::var("FLEET_EXAMPLE").unwrap_or_else(|_| "python-pages".into());
    let seed = std::env::var("FLEET_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/stories").join(name);
    let place = tempfile::tempdir().unwrap();
    let made = place.path().join("repo");
    let status = std::process::Command::new(examples.join("make-repo.sh")).arg(&made).status().unwrap();
    assert!(status.success());
    let story = std::fs::read_to_string(examples.join("story.md")).unwrap();
    let story = story.replacen("title:", &format!("seed: {seed}\ntitle:"), 1);
    let (state, report, seconds) = solve(&Repository::at(&made), &story, seed).await;
    let text = report.to_markdown();
    if let Ok(path) = std::env::var("FLEET_REPORT") {
        std::fs::write(path, format!("{text}\n{seconds} s\n")).unwrap();
    }
    assert_eq!(state, JobState::Succeeded, "{text}");
}
