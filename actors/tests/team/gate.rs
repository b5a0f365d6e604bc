//! The human gate, through its handle.

use std::time::Duration;

use fleet_actors::spec::Approve;
use fleet_actors::{Approval, ApprovalError, Decision};
use fleet_runtime::JobId;
use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::job::JobState;

use crate::world::{RIGHT, Repository, STORY, Setup, WRONG, World, developers, entry, fenced, script};

fn person(name: &str, level: AccessLevel) -> Principal {
    Principal { name: name.into(), level }
}

async fn at_the_gate(dir: &std::path::Path, repo: &Repository, setup: &Setup) -> (World, JobId, String) {
    let world = World::start(dir, setup).await;
    let job = world.submit(repo, STORY, Approve::Ask).await.id;
    let record = world.waiting(&job).await;
    assert_eq!(record.state, JobState::Waiting, "{}", world.report(&job).await.to_markdown());
    let approval = gate(&world).await;
    assert_eq!(approval.job, job.to_string());
    (world, job, approval.id)
}

/// The one gate that waits. A job that waited when its node went waits again before its runner has opened its gate anew.
async fn gate(world: &World) -> Approval {
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            match &world.approvals.list().await.unwrap()[..] {
                [] => tokio::time::sleep(Duration::from_millis(20)).await,
                [approval] => return approval.clone(),
                several => panic!("{several:?}"),
            }
        }
    })
    .await
    .expect("a gate")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_product_owner_approves_is_committed_in_their_name_and_decided_once() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let (world, job, id) = at_the_gate(dir.path(), &repo, &Setup::new(developers(&fenced(RIGHT)))).await;
    let operator = person("oskar", AccessLevel::Operator);
    let refused = world.approvals.decide(&id, Decision::Approve, operator, "").await;
    assert_eq!(refused, Err(ApprovalError::NotAllowed { who: "oskar".into() }));
    let po = person("anna", AccessLevel::Po);
    let (one, two) = tokio::join!(
        world.approvals.decide(&id, Decision::Approve, po.clone(), "fine"),
        world.approvals.decide(&id, Decision::Reject, person("boris", AccessLevel::Po), "no"),
    );
    assert!(one.is_ok() != two.is_ok(), "decided twice or never: {one:?} {two:?}");
    let record = world.ended(&job).await;
    assert_eq!(record.state == JobState::Succeeded, one.is_ok());
    let again = world.approvals.decide(&id, Decision::Approve, po, "").await;
    assert!(matches!(again, Err(ApprovalError::AlreadyDecided { .. })), "{again:?}");
    assert!(world.approvals.list().await.unwrap().is_empty());
    if one.is_ok() {
        let commit = world.fetch(&repo, &job).await;
        assert!(repo.git(&["log", "-1", "--format=%B", commit.as_str()]).contains("Approved-by: anna"));
    }
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_ends_as_failed_in_the_words_of_whoever_did() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let (world, job, id) = at_the_gate(dir.path(), &repo, &Setup::new(developers(&fenced(RIGHT)))).await;
    let po = person("anna", AccessLevel::Po);
    world.approvals.decide(&id, Decision::Reject, po, "too clever").await.unwrap();
    assert_eq!(world.ended(&job).await.state, JobState::Failed);
    let report = world.report(&job).await;
    assert_eq!(report.outcome.summary, "rejected by anna: too clever");
    assert!(report.commit.is_none());
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_nobody_decides_expires_and_says_so() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let mut setup = Setup::new(developers(&fenced(RIGHT)));
    setup.options.approval.expires_after = Duration::from_millis(300);
    let world = World::start(dir.path(), &setup).await;
    let job = world.submit(&repo, STORY, Approve::Ask).await.id;
    assert_eq!(world.ended(&job).await.state, JobState::Failed);
    let report = world.report(&job).await;
    assert!(report.outcome.summary.contains("expired"), "{}", report.to_markdown());
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_gate_outlives_its_node() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let setup = Setup::new(developers(&fenced(RIGHT)));
    let (world, job, id) = at_the_gate(dir.path(), &repo, &setup).await;
    let opened = gate(&world).await;
    world.shutdown().await;
    let world = World::start(dir.path(), &setup).await;
    world.waiting(&job).await;
    assert_eq!(gate(&world).await, opened);
    world.approvals.decide(&id, Decision::Approve, person("anna", AccessLevel::Po), "").await.unwrap();
    assert_eq!(world.ended(&job).await.state, JobState::Succeeded);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_never_was_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), &Setup::new(developers(""))).await;
    let po = person("anna", AccessLevel::Po);
    for id in ["k3m9x2p7qa-0", "nonsense", ""] {
        let answer = world.approvals.decide(id, Decision::Approve, po.clone(), "").await;
        assert_eq!(answer, Err(ApprovalError::NotFound { id: id.into() }));
    }
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_passes_a_person_sees_the_best_and_may_let_it_go_on() {
    let (dir, repo) = (tempfile::tempdir().unwrap(), Repository::new());
    let entries = [entry("round: 0", &fenced(WRONG)), entry("round: 1", &fenced(RIGHT))];
    let mut setup = Setup::new(script(&entries.concat()));
    setup.options.council.proposals = 2;
    let (world, job, id) = at_the_gate(dir.path(), &repo, &setup).await;
    let asked = gate(&world).await;
    assert!(asked.question.contains("None of 2 attempts") && asked.question.contains("Go on"), "{asked:?}");
    assert!(asked.evidence[0].contains("target not fixed"), "{asked:?}");
    let po = person("anna", AccessLevel::Po);
    world.approvals.decide(&id, Decision::Approve, po.clone(), "one more").await.unwrap();
    // What was found then is asked about as ever.
    let since = std::time::Instant::now();
    let commit = loop {
        let open = world.approvals.list().await.unwrap();
        if let Some(asked) = open.iter().find(|asked| asked.id != id) {
            break asked.clone();
        }
        assert!(since.elapsed() < Duration::from_secs(60), "still {open:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(commit.question.starts_with("Commit attempt"), "{commit:?}");
    world.approvals.decide(&commit.id, Decision::Approve, po, "").await.unwrap();
    assert_eq!(world.ended(&job).await.state, JobState::Succeeded);
    world.shutdown().await;
}
