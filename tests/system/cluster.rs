//! Stories on several nodes, some of which die, freeze, or are away for a while.

use crate::harness::{Node, Place, finish};
use crate::members::{Member, invitation, is, nodes, nodes_of};

pub const AUTO: &[&str] = &["--approve-with", "policy:auto"];

/// A control node that takes no work, so that all of it is done by members.
fn place(script: &str) -> Place {
    let place = Place::in_cluster(script, "listen = \"127.0.0.1:0\"\ncpus = 0.0\n");
    place.configure(script, FOUR_AT_ONCE);
    place
}

/// Several agents work from the beginning.
pub const FOUR_AT_ONCE: &str = "[council]\nfirst = [4]\n";

/// Waits until the job's runner and at least one agent work, and gives the place in `members` of the runner's node.
pub fn where_it_runs(place: &Place, control: &mut Node, members: &[&Member]) -> usize {
    let mut runner = Vec::new();
    control.wait_until(|| {
        runner = nodes_of(place, "fleet.job");
        !runner.is_empty() && !nodes_of(place, "fleet.agent").is_empty()
    });
    members.iter().position(|member| runner[0] == member.name).expect("it runs on a member")
}

/// The job ended well, once, and its commit is what the story asked for.
pub fn assert_solved(place: &Place, job: &str) {
    let ended = place.run(&["job", "wait", job, "--repo", place.repo().to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", place.run(&["job", "logs", job]).stdout);
    let branch = format!("fleet/{job}");
    assert_eq!(place.git(&["diff", "--name-only", "HEAD", &branch]), "ranges.py");
    let logs = place.run(&["job", "logs", job]).stdout;
    assert_eq!(logs.matches("committed ").count(), 1, "{logs}");
    assert_eq!(logs.matches("job ended").count(), 1, "{logs}");
}

#[test]
fn a_story_is_submitted_at_a_member_worked_on_by_all_and_approved_at_another() {
    let place = place("clamp/slow.yaml");
    let mut control = place.start();
    let (a, b) = (Member::new(&place, "a"), Member::new(&place, "b"));
    let (_a, _b) = (a.join(), b.join());
    assert_eq!(nodes(&place), [("local", "alive"), ("a", "alive"), ("b", "alive")].map(|(n, s)| (n.into(), s.into())));

    let (repo, story) = (place.repo(), place.story());
    let submit = ["job", "submit", "--repo", repo.to_str().unwrap(), "--story", story.to_str().unwrap(), "--detach"];
    let submitted = a.run(&submit);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    let job = submitted.stdout.trim().to_owned();
    let mut agents = Vec::new();
    control.wait_until(|| {
        agents = nodes_of(&place, "fleet.agent");
        agents.len() >= 4
    });
    assert!(["a", "b"].iter().all(|node| agents.iter().any(|on| on == node)), "{agents:?}");

    control.wait_until(|| place.job_state(&job) == "waiting");
    let shown = b.run(&["approval", "list"]);
    assert!(shown.stdout.contains(&job), "{shown:?}");
    let approved = b.run(&["approval", "approve", &job, "-m", "from b"]);
    assert_eq!(approved.code, Some(0), "{approved:?}");

    let followed = a.run(&["job", "wait", &job, "--repo", repo.to_str().unwrap()]);
    assert_eq!(followed.code, Some(0), "{followed:?}");
    assert_solved(&place, &job);
    assert!(b.run(&["job", "report", &job]).stdout.contains("from b"));
    control.wait_until(|| nodes_of(&place, "fleet.agent").is_empty() && nodes_of(&place, "fleet.job").is_empty());
}

#[test]
fn a_story_goes_on_when_the_node_that_ran_it_is_killed() {
    let place = place("clamp/slow.yaml");
    let mut control = place.start();
    let (a, b) = (Member::new(&place, "a"), Member::new(&place, "b"));
    let members = [&a, &b];
    let mut processes = vec![a.join(), b.join()];
    let job = place.submit_detached(AUTO);
    let lost = where_it_runs(&place, &mut control, &members);

    processes.remove(lost).kill();

    assert_solved(&place, &job);
    let logs = place.run(&["job", "logs", &job]).stdout;
    let said = format!("its run on node {} was lost", members[lost].name);
    assert!(logs.contains(&said), "{logs}");
    assert!(is(&place, members[lost].name, "dead"), "{:?}", nodes(&place));
    control.wait_until(|| nodes_of(&place, "fleet.agent").is_empty());

    // It is welcome again, without a token.
    let _back = members[lost].restart();
    control.wait_until(|| is(&place, members[lost].name, "alive"));
}

#[test]
fn a_story_goes_on_when_its_node_freezes_and_the_node_comes_back_in_a_new_life() {
    let place = place("clamp/slow.yaml");
    let mut control = place.start();
    let (a, b) = (Member::new(&place, "a"), Member::new(&place, "b"));
    let members = [&a, &b];
    let processes = [a.join(), b.join()];
    let job = place.submit_detached(AUTO);
    let frozen = where_it_runs(&place, &mut control, &members);

    processes[frozen].signal("STOP");
    control.wait_until(|| is(&place, members[frozen].name, "dead"));
    control.wait_until(|| nodes_of(&place, "fleet.job").iter().any(|node| node != members[frozen].name));
    // What it does now it does as one who is dead: nothing of it may count.
    processes[frozen].signal("CONT");

    assert_solved(&place, &job);
    control.wait_until(|| is(&place, members[frozen].name, "alive"));
    assert!(processes[frozen].log().contains("joins again in a new life"), "{}", processes[frozen].log());
}

#[test]
fn a_story_outlives_the_control_node() {
    let place = place("clamp/slow.yaml");
    let mut control = place.start();
    let (a, b) = (Member::new(&place, "a"), Member::new(&place, "b"));
    let (_a, mut b_runs) = (a.join(), b.join());
    let job = place.submit_detached(AUTO);
    where_it_runs(&place, &mut control, &[&a, &b]);

    control.kill();
    let away = a.run(&["node", "list"]);
    assert_ne!(away.code, Some(0), "{away:?}");
    let _control = place.start();

    assert_solved(&place, &job);
    b_runs.wait_until(|| is(&place, "a", "alive") && is(&place, "b", "alive"));
    assert!(!b_runs.log().contains("new life"), "a member that was alive all the time had to begin anew");
}

#[test]
fn a_drained_node_gets_no_work_and_an_actor_can_be_explained_and_stopped_from_anywhere() {
    let place = place("clamp/slow.yaml");
    let mut control = place.start();
    let (a, b) = (Member::new(&place, "a"), Member::new(&place, "b"));
    let (_a, _b) = (a.join(), b.join());
    let drained = b.run(&["node", "drain", "a"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");

    let job = place.submit_detached(AUTO);
    assert_eq!(where_it_runs(&place, &mut control, &[&a, &b]), 1);
    let key = format!("job/{job}/1");
    let explained = a.run(&["actor", "explain", &key]);
    assert!(explained.stdout.contains("it runs on node b"), "{explained:?}");
    let nobody = a.run(&["actor", "explain", "job/none/1"]);
    assert_eq!(nobody.code, Some(5), "{nobody:?}");
    assert!(nobody.stderr.contains("fleet actor list"), "{}", nobody.stderr);
    assert_solved(&place, &job);
}

#[test]
fn who_joins_without_a_good_token_is_refused_and_told_what_to_do() {
    let place = place("clamp/script.yaml");
    let _control = place.start();
    let (a, b) = (Member::new(&place, "a"), Member::new(&place, "b"));
    let refused = |args: &[String], why: &str| {
        let ran = finish(b.fleetd(args));
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let all = ["FLT-", "next: ", why].iter().all(|part| ran.stderr.contains(part));
        assert!(all, "not {why:?}: {}", ran.stderr);
    };
    let good = invitation(&place);
    let with = |token: &str| [&good[..3], &[token.to_owned()]].concat();

    refused(&good[..2], "fleet node invite");
    refused(&with("fleet-join-nothing"), "isn't a join token");
    let another = Place::new("clamp/script.yaml");
    let _another = another.start();
    refused(&with(&invitation(&another)[3]), "CA isn't the one of the token");
    let log = place.path().join("a.log");
    let _a = Node::start(a.fleetd(&good), log, &a.url());
    refused(&good, "used");
    let named_a = [invitation(&place), vec!["--name".to_owned(), "a".to_owned()]].concat();
    refused(&named_a, "name");
    let of_control = [invitation(&place), vec!["--state-dir".to_owned(), place.state().display().to_string()]].concat();
    let mut control_itself = std::process::Command::new(env!("CARGO_BIN_EXE_fleetd"));
    control_itself.args(of_control);
    let ran = finish(control_itself);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(nodes(&place), [("local", "alive"), ("a", "alive")].map(|(n, s)| (n.into(), s.into())));
}
