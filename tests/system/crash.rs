//! Nodes that are killed, and clients that outlive them.

use std::process::{Command, Stdio};

use crate::harness::{Place, finish};

#[test]
fn a_job_whose_node_is_killed_goes_on_after_the_restart() {
    let place = Place::new("clamp/slow.yaml");
    let mut node = place.start();
    let job = place.submit_detached(&["--approve-with", "policy:auto"]);
    node.wait_until(|| place.run(&["job", "logs", &job]).stdout.lines().count() > 4);
    node.kill();

    let _node = place.start();
    let ended = place.run(&["job", "wait", &job, "--repo", place.repo().to_str().unwrap()]);

    assert_eq!(ended.code, Some(0), "{ended:?}");
    let branch = format!("fleet/{job}");
    assert_eq!(place.git(&["diff", "--name-only", "HEAD", &branch]), "ranges.py");
}

#[test]
fn a_client_that_follows_comes_back_with_the_node_and_misses_nothing() {
    let place = Place::new("clamp/slow.yaml");
    let mut node = place.start();
    let job = place.submit_detached(&["--approve-with", "policy:auto"]);
    let mut follow = place.fleet(&["job", "logs", &job, "--follow", "-o", "json"]);
    follow.stdout(Stdio::piped());
    let follower = std::thread::spawn(move || finish(follow));
    node.wait_until(|| place.run(&["job", "logs", &job]).stdout.lines().count() > 4);
    node.kill();
    let _node = place.start();

    let followed = follower.join().unwrap();

    assert_eq!(followed.code, Some(0), "{followed:?}");
    let all = place.run(&["job", "logs", &job, "-o", "json"]);
    assert_eq!(followed.stdout, all.stdout, "something was missed or came twice");
}

#[test]
fn a_node_that_is_asked_to_stop_stops_and_its_jobs_go_on_later() {
    let place = Place::new("clamp/slow.yaml");
    let mut node = place.start();
    let job = place.submit_detached(&["--approve-with", "policy:auto"]);
    node.wait_until(|| place.job_state(&job) == "running");

    assert_eq!(node.terminate(), Some(0));

    let _node = place.start();
    let ended = place.run(&["job", "wait", &job]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_gate_that_was_open_when_the_node_died_is_open_after_the_restart() {
    let place = Place::new("clamp/script.yaml");
    let mut node = place.start();
    let job = place.submit_detached(&[]);
    node.wait_until(|| place.job_state(&job) == "waiting");
    node.kill();

    let mut node = place.start();
    node.wait_until(|| place.job_state(&job) == "waiting");
    assert_eq!(place.run(&["approval", "approve", &job]).code, Some(0));
    assert_eq!(place.run(&["job", "wait", &job]).code, Some(0));
}

#[test]
fn ctrl_c_detaches_says_how_to_go_on_and_leaves_the_job_alone() {
    let place = Place::new("clamp/slow.yaml");
    let mut node = place.start();
    let (repo, story) = (place.repo(), place.story());
    let submit = ["job", "submit", "--approve-with", "policy:auto", "--repo", repo.to_str().unwrap(), "--story"];
    let mut submit = place.fleet(&[&submit[..], &[story.to_str().unwrap()]].concat());
    let child = submit.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    node.wait_until(|| place.run(&["job", "list", "-o", "json"]).stdout.contains("running"));

    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();

    assert_eq!(ended.status.code(), Some(6), "{ended:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    let (_, job) = said.split_once("fleet job wait ").expect("doesn't say how to go on");
    let job = job.split_whitespace().next().unwrap();
    assert!(said.contains(&format!("fleet job stop {job}")), "{said}");
    assert_eq!(place.run(&["job", "wait", job]).code, Some(0));
}
