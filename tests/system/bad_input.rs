//! What a person gets wrong is answered with the place, the remedy and the documented exit code, and leaves nothing behind.

use std::fs;
use std::path::Path;

use crate::harness::{Place, Ran, finish, git};

fn submit(place: &Place, repo: &Path, story: &Path) -> Ran {
    let (repo, story) = (repo.to_str().unwrap(), story.to_str().unwrap());
    place.run(&["job", "submit", "--repo", repo, "--story", story, "--detach"])
}

#[track_caller]
fn refused(ran: &Ran, code: i32, said: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert_eq!(ran.stdout, "", "stdout is for data");
    for said in said {
        assert!(ran.stderr.contains(said), "doesn't say {said:?}:\n{}", ran.stderr);
    }
}

#[test]
fn a_repository_that_cannot_be_used_is_refused_with_the_remedy() {
    let place = Place::new("clamp/script.yaml");
    let _node = place.start();
    let at = |name: &str| place.path().join(name);
    fs::create_dir(at("plain")).unwrap();
    for name in ["bare", "empty"] {
        fs::create_dir(at(name)).unwrap();
    }
    git(&at("bare"), &["init", "-q", "--bare"]);
    git(&at("empty"), &["init", "-q"]);
    let from = format!("file://{}", place.repo().display());
    git(place.path(), &["clone", "-q", "--depth", "1", &from, "shallow"]);

    refused(&submit(&place, &at("nowhere"), &place.story()), 2, &["nowhere"]);
    refused(&submit(&place, &at("plain"), &place.story()), 2, &["not a git repository", "git init"]);
    refused(&submit(&place, &at("bare"), &place.story()), 2, &["bare", "git clone"]);
    refused(&submit(&place, &at("empty"), &place.story()), 2, &["no commit", "git commit"]);
    refused(&submit(&place, &at("shallow"), &place.story()), 2, &["git fetch --unshallow"]);
    assert_eq!(place.run(&["job", "list", "-o", "json"]).stdout.trim(), "[]");
}

#[test]
fn a_story_that_cannot_be_used_is_placed_and_explained() {
    let place = Place::new("clamp/script.yaml");
    let _node = place.start();
    let story = place.path().join("story.md");

    fs::write(&story, "---\ntitle: a\n---\nDo it.\n").unwrap();
    refused(&submit(&place, &place.repo(), &story), 2, &["story.md:", "test"]);
    fs::write(&story, "---\ntitle: a\ntset: make test\n---\nDo it.\n").unwrap();
    refused(&submit(&place, &place.repo(), &story), 2, &["story.md:", "tset"]);
    fs::write(&story, "Just do it.\n").unwrap();
    refused(&submit(&place, &place.repo(), &story), 2, &["story.md:1", "front matter"]);
    let missing = place.path().join("missing.md");
    refused(&submit(&place, &place.repo(), &missing), 2, &["missing.md", "next:"]);
}

#[test]
fn a_caller_without_the_right_token_is_turned_away() {
    let place = Place::new("clamp/script.yaml");
    let _node = place.start();
    let wrong = place.path().join("wrong");
    fs::write(&wrong, "0".repeat(64)).unwrap();
    fs::set_permissions(&wrong, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    let with_file = |file: &Path| place.run(&["--token-file", file.to_str().unwrap(), "job", "list"]);
    refused(&with_file(&wrong), 4, &["FLT-A401", "token"]);
    fs::set_permissions(&wrong, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    refused(&with_file(&wrong), 4, &["chmod 600"]);
    refused(&with_file(&place.path().join("none")), 4, &["no token at"]);
}

#[test]
fn without_a_node_the_client_says_how_to_start_one() {
    let place = Place::new("clamp/script.yaml");
    refused(&place.run(&["job", "list"]), 3, &["no node answers at", "fleetd"]);
    let mut elsewhere = place.fleet(&["job", "list"]);
    elsewhere.env("FLEET_SERVER", "ftp://x");
    refused(&finish(elsewhere), 2, &["isn't an address"]);
}

#[test]
fn what_is_not_there_is_answered_with_how_to_find_what_is() {
    let place = Place::new("clamp/script.yaml");
    let _node = place.start();
    refused(&place.run(&["job", "status", "aaaaaaaaaa"]), 5, &["aaaaaaaaaa", "fleet job list"]);
    refused(&place.run(&["job", "logs", "../../etc"]), 5, &["fleet job list"]);
    refused(&place.run(&["job", "list", "--state", "lost"]), 2, &["lost", "queued"]);
    refused(&place.run(&["approval", "approve", "nothing"]), 5, &["fleet approval list"]);
    refused(&place.run(&["job", "wiat"]), 2, &["wait"]);
}
