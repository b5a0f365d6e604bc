//! From a story to a commit, and the ways that it can end otherwise.

use serde_json::Value;

use crate::harness::{Place, git};

const AUTO: &[&str] = &["--approve-with", "policy:auto"];

#[test]
fn a_story_ends_in_a_verified_commit_on_its_own_branch() {
    let place = Place::new("clamp/script.yaml");
    let _node = place.start();
    let head = place.git(&["rev-parse", "HEAD"]);
    let report = place.path().join("report.md");

    let ran = place.submit(&[AUTO, &["-o", "json", "--report", report.to_str().unwrap()]].concat());

    assert_eq!(ran.code, Some(0), "{ran:?}");
    let out: Value = serde_json::from_str(&ran.stdout).unwrap();
    let (job, commit) = (out["job"].as_str().unwrap(), out["commit"].as_str().unwrap());
    assert_eq!(out["branch"], format!("fleet/{job}"));
    assert_eq!(place.git(&["rev-parse", &format!("fleet/{job}")]), commit);
    assert_eq!(place.git(&["rev-parse", &format!("{commit}^")]), head);
    assert_eq!(place.git(&["diff", "--name-only", &head, commit]), "ranges.py");
    assert_eq!(place.git(&["rev-parse", "HEAD"]), head, "the user's own checkout moved");
    assert_eq!(place.git(&["status", "--porcelain"]), "");
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains(commit), "{report}");
    assert!(report.to_lowercase().contains("mock"), "the report hides that the engine is a mock:\n{report}");
    assert!(ran.stderr.contains("MOCK"), "{}", ran.stderr);
}

#[test]
fn a_story_that_nobody_solves_ends_as_failed_and_leaves_no_branch() {
    let place = Place::new("clamp/hopeless.yaml");
    let _node = place.start();

    let ran = place.submit(&[AUTO, &["-o", "json"]].concat());

    assert_eq!(ran.code, Some(1), "{ran:?}");
    let out: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&out["success"], &out["commit"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(place.git(&["branch", "--list", "fleet/*"]), "");
}

#[test]
fn a_person_approves_from_another_terminal_and_the_result_is_fetched_later() {
    let place = Place::new("clamp/script.yaml");
    let mut node = place.start();
    let job = place.submit_detached(&[]);
    node.wait_until(|| place.job_state(&job) == "waiting");

    let waiting = place.run(&["job", "wait", &job, "--timeout", "1s"]);
    assert_eq!(waiting.code, Some(6), "{waiting:?}");
    assert!(waiting.stderr.contains("fleet approval approve"), "{}", waiting.stderr);
    let early = place.run(&["job", "fetch", &job, "--repo", place.repo().to_str().unwrap()]);
    assert_eq!(early.code, Some(5), "{early:?}");

    let shown = place.run(&["approval", "show", &job]);
    assert!(shown.stdout.contains("+        return high"), "the change isn't shown: {shown:?}");
    let decided = place.run(&["approval", "approve", &job, "-m", "looks right"]);
    assert_eq!(decided.code, Some(0), "{decided:?}");
    let ended = place.run(&["job", "wait", &job]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let fetched = place.run(&["job", "fetch", &job, "--repo", place.repo().to_str().unwrap()]);
    assert_eq!(fetched.code, Some(0), "{fetched:?}");
    assert_ne!(place.git(&["rev-parse", &format!("fleet/{job}")]), "");
    let report = place.run(&["job", "report", &job]);
    assert!(report.stdout.contains("looks right"), "{}", report.stdout);
    let again = place.run(&["approval", "approve", &job]);
    assert_eq!(again.code, Some(5), "{again:?}");
}

#[test]
fn a_rejected_change_is_not_committed() {
    let place = Place::new("clamp/script.yaml");
    let mut node = place.start();
    let job = place.submit_detached(&[]);
    node.wait_until(|| place.job_state(&job) == "waiting");

    assert_eq!(place.run(&["approval", "reject", &job, "-m", "not like this"]).code, Some(0));

    assert_eq!(place.run(&["job", "wait", &job]).code, Some(1));
    let fetched = place.run(&["job", "fetch", &job, "--repo", place.repo().to_str().unwrap()]);
    assert_eq!(fetched.code, Some(5), "{fetched:?}");
}

#[test]
fn the_same_idempotency_key_gives_the_same_job_and_another_story_under_it_is_refused() {
    let place = Place::new("clamp/script.yaml");
    let _node = place.start();
    let first = place.submit_detached(&["--idempotency-key", "k1"]);

    assert_eq!(place.submit_detached(&["--idempotency-key", "k1"]), first);

    let other = place.submit(&["--detach", "--idempotency-key", "k1", "--budget", "proposals=2"]);
    assert_eq!(other.code, Some(5), "{other:?}");
}

#[test]
fn jobs_are_listed_stopped_logged_and_deleted() {
    let place = Place::new("clamp/script.yaml");
    let mut node = place.start();
    let job = place.submit_detached(&[]);
    node.wait_until(|| place.job_state(&job) == "waiting");

    let listed = place.run(&["job", "list", "--state", "waiting", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[0]["id"], job);
    assert_eq!(place.run(&["job", "list"]).code, Some(0));

    let stopped = place.run(&["job", "stop", &job, "--reason", "enough"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    node.wait_until(|| place.job_state(&job) == "stopped");
    assert_eq!(place.run(&["job", "wait", &job]).code, Some(1));

    let logs = place.run(&["job", "logs", &job, "-o", "json"]);
    let kinds: Vec<Value> =
        logs.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).collect();
    assert_eq!(kinds.first().unwrap(), "job.submitted");
    assert_eq!(kinds.last().unwrap(), "job.ended");

    assert_eq!(place.run(&["job", "delete", &job, "--yes"]).code, Some(0));
    assert_eq!(place.run(&["job", "status", &job]).code, Some(5));
}

#[test]
fn uncommitted_changes_are_warned_about_and_left_alone() {
    let place = Place::new("clamp/script.yaml");
    let _node = place.start();
    std::fs::write(place.repo().join("README.md"), "# changed\n").unwrap();

    let ran = place.submit(AUTO);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("uncommitted changes"), "{}", ran.stderr);
    assert_eq!(git(&place.repo(), &["status", "--porcelain"]), "M README.md");
}

#[test]
fn a_repository_with_links_that_lead_out_and_with_large_binary_files_is_worked_on_all_the_same() {
    let place = Place::new("clamp/script.yaml");
    let _node = place.start();
    let repo = place.repo();
    for (link, target) in [("secrets", "/etc/shadow"), ("up", "../../..")] {
        std::os::unix::fs::symlink(target, repo.join(link)).unwrap();
    }
    std::fs::write(repo.join("binary.dat"), (0..=255u8).cycle().take(1 << 20).collect::<Vec<_>>()).unwrap();
    std::fs::write(repo.join("huge.dat"), vec![0u8; 20 << 20]).unwrap();
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "-q", "-m", "Add what is awkward"]);

    let ran = place.submit(&[AUTO, &["-o", "json"]].concat());

    assert_eq!(ran.code, Some(0), "{ran:?}");
    let out: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(place.git(&["diff", "--name-only", "HEAD", out["commit"].as_str().unwrap()]), "ranges.py");
}
