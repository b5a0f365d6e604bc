//! Agents and tests that do what they mustn't: stopped, and told of in the report.

use serde_json::Value;

use crate::harness::{Place, Ran};

fn submit(place: &Place, story: &str) -> (Ran, Value) {
    let path = place.path().join("story.md");
    std::fs::write(&path, story).unwrap();
    let (repo, path) = (place.repo(), path.display().to_string());
    let ran = place.run(&[
        "job",
        "submit",
        "--repo",
        repo.to_str().unwrap(),
        "--story",
        &path,
        "--approve-with",
        "policy:auto",
        "-o",
        "json",
    ]);
    let out = serde_json::from_str(&ran.stdout).unwrap_or_default();
    (ran, out)
}

fn report(place: &Place, out: &Value) -> Value {
    let report = place.run(&["job", "report", out["job"].as_str().unwrap(), "-o", "json"]);
    serde_json::from_str(&report.stdout).unwrap()
}

#[test]
fn a_test_command_that_hangs_is_killed_and_the_job_fails_with_that_reason() {
    let place = Place::new("clamp/script.yaml");
    place.configure("clamp/script.yaml", "[runs]\nwall = \"2s\"\n");
    let _node = place.start();
    let (ran, out) = submit(&place, "---\ntitle: Hang\ntest: sleep 1000\nresults: exit\n---\nHang.\n");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(out["summary"].as_str().unwrap().contains("2 s"), "{out}");
    assert_eq!(crate::harness::processes_with("sleep 1000"), Vec::<String>::new());
}

#[test]
fn a_test_command_that_floods_is_cut_and_does_no_harm() {
    let place = Place::new("clamp/script.yaml");
    place.configure("clamp/script.yaml", "[runs]\nwall = \"5s\"\noutput_bytes = 65536\n");
    let _node = place.start();
    let (ran, out) = submit(&place, "---\ntitle: Flood\ntest: yes flood\nresults: exit\n---\nFlood.\n");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report = report(&place, &out);
    assert!(report.to_string().len() < 1 << 20, "the flood is in the report");
}

#[test]
fn an_agent_that_edits_the_tests_is_refused_and_the_report_says_so() {
    let place = Place::new("clamp/edits_tests.yaml");
    let _node = place.start();
    let story = std::fs::read_to_string(place.story()).unwrap();
    let (ran, out) = submit(&place, &story);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let violations = report(&place, &out)["violations"].to_string();
    assert!(violations.contains("tests/test_ranges.py"), "{violations}");
    assert_eq!(place.git(&["branch", "--list", "fleet/*"]), "");
}

#[test]
fn an_engine_that_floods_is_cut_and_the_job_ends() {
    let place = Place::new("clamp/flood.yaml");
    place.configure("clamp/flood.yaml", "[agent]\nreply_deadline = \"5s\"\n");
    let _node = place.start();
    let story = std::fs::read_to_string(place.story()).unwrap();
    let (ran, out) = submit(&place, &story);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(out["success"], false);
}
