//! `kill -9` of the node at twenty moments of a job: whatever was going on, the job ends as if nothing had happened.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Dice, Node, Place, entries, git, processes_with};

const KILLS: u64 = 20;

#[test]
fn a_job_killed_at_any_moment_ends_with_the_same_tree_and_repeats_nothing() {
    let place = Place::new("clamp/slow.yaml");
    place.configure("clamp/slow.yaml", crate::cluster::FOUR_AT_ONCE);
    let mut node = place.start();
    let began = Instant::now();
    let (undisturbed, node_after) = run(&place, node, None);
    node = node_after;
    let whole = began.elapsed();
    let mut dice = Dice::new(7);
    for _ in 0..KILLS {
        let at = Duration::from_millis(dice.below(u64::try_from(whole.as_millis()).unwrap()));
        let (tree, after) = run(&place, node, Some(at));
        node = after;
        assert_eq!(tree, undisturbed, "killed after {at:?}: another tree");
    }
}

/// Runs one job, with a kill and a restart after `kill`, and gives the tree that it committed.
fn run(place: &Place, node: Node, kill: Option<Duration>) -> (String, Node) {
    let job = place.submit_detached(&["--approve-with", "policy:auto"]);
    let node = match kill {
        None => node,
        Some(after) => {
            // Not a wait for something: the moment of the kill is what is being varied.
            std::thread::sleep(after);
            node.kill();
            place.start()
        }
    };
    let repo = place.repo();
    let ended = place.run(&["job", "wait", &job, "--repo", repo.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "killed after {kill:?}: {ended:?}");
    nothing_twice(place, &job);
    one_commit(place, &job);
    nothing_left(place);
    (place.git(&["rev-parse", &format!("fleet/{job}^{{tree}}")]), node)
}

/// No effect has two outcomes, and none is begun again after its outcome was recorded.
fn nothing_twice(place: &Place, job: &str) {
    let logs = place.run(&["job", "logs", job, "-o", "json"]);
    let mut outcome: HashMap<String, u64> = HashMap::new();
    let mut ends = 0;
    for line in logs.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let kind = event["kind"].as_str().unwrap();
        ends += usize::from(kind == "job.ended");
        let Some(what) = kind.strip_prefix("effect.") else { continue };
        let key = event["payload"]["key"].as_str().unwrap().to_owned();
        let before = match what {
            "intended" => outcome.get(&key).copied(),
            _ => outcome.insert(key.clone(), event["position"].as_u64().unwrap()),
        };
        assert_eq!(before, None, "effect {key} was recorded already and is {what} again");
    }
    assert_eq!(ends, 1, "the job ended more than once");
}

/// The target of the keyed effect, the job's own repository, has one commit beside the base's: counted as objects, so
/// that one which no branch shows would be seen too.
fn one_commit(place: &Place, job: &str) {
    let shown = place.git(&["rev-list", "--count", &format!("main..fleet/{job}")]);
    assert_eq!(shown, "1", "commits of job {job} in the person's repository");
    let base = place.state().join("bases").join(job).join("base.git");
    if !base.is_dir() {
        // The kill came after the end: the restarted node has removed the base of a job that needs it no more.
        return;
    }
    let objects = git(&base, &["cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"]);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in objects.lines() {
        *kinds.entry(kind).or_default() += 1;
    }
    let of_base: usize = place.git(&["rev-list", "--count", "main"]).parse().unwrap();
    let commits = || {
        let found = objects
            .lines()
            .zip(
                git(&base, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"])
                    .lines()
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            )
            .filter(|(kind, _)| *kind == "commit")
            .map(|(_, id)| git(&base, &["cat-file", "commit", &id]))
            .collect::<Vec<_>>();
        found.join("\n--\n")
    };
    assert_eq!(kinds["commit"], of_base + 1, "in the repository of job {job}:\n{}", commits());
}

/// Checkouts, sandboxes and processes of the dead are gone.
fn nothing_left(place: &Place) {
    let state = place.state();
    for dir in ["work/workspaces", "work/verdicts", "sandbox/sandbox-runs", "blobs/incoming"] {
        assert_eq!(entries(&state.join(dir)), Vec::<std::path::PathBuf>::new(), "left in {dir}");
    }
    assert_eq!(entries(&place.temporary()), Vec::<std::path::PathBuf>::new(), "temporary files");
    let work = state.join("work").display().to_string();
    assert_eq!(processes_with(&work), Vec::<String>::new(), "processes");
}
