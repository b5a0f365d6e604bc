//! One story over several nodes, found in the logs of all of them by one id.

use serde_json::Value;

use crate::cluster::{AUTO, FOUR_AT_ONCE, assert_solved};
use crate::harness::Place;
use crate::members::Member;

/// The lines of a log that belong to a trace.
fn lines<'a>(log: &'a str, trace: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(trace)).collect()
}

#[test]
fn the_logs_of_all_nodes_bear_the_trace_of_a_job_that_explain_names() {
    let place = Place::in_cluster("clamp/slow.yaml", "listen = \"127.0.0.1:0\"\ncpus = 0.0\n");
    // The control node logs for collectors, the members for people.
    place.configure("clamp/slow.yaml", &format!("{FOUR_AT_ONCE}[log]\nformat = \"json\"\n"));
    let control = place.start();
    let (a, b) = (Member::new(&place, "a"), Member::new(&place, "b"));
    let nodes = [a.join(), b.join()];
    let job = place.submit_detached(AUTO);
    let explained = place.run(&["job", "explain", &job, "-o", "json"]);
    let explained: Value = serde_json::from_str(&explained.stdout).unwrap();
    let trace = explained["trace"].as_str().expect("explain names the trace").to_owned();
    assert_eq!(trace.len(), 32, "{trace}");
    assert_solved(&place, &job);

    let log = control.log();
    let begun = lines(&log, &trace).into_iter().find(|line| line.contains("a run is to begin"));
    let begun: Value = serde_json::from_str(begun.expect("the control node says that a run is to begin")).unwrap();
    assert_eq!(begun["span"]["trace"], trace.as_str(), "{begun}");
    assert_eq!(begun["span"]["kind"], "fleet.jobs", "it was told so by a message: {begun}");
    let logs = nodes.map(|node| node.log());
    let of_trace: Vec<Vec<&str>> = logs.iter().map(|log| lines(log, &trace)).collect();
    assert!(of_trace.iter().all(|lines| !lines.is_empty()), "agents work on both: {logs:?}");
    let said = |what: &str| of_trace.iter().flatten().filter(|line| line.contains(what)).count();
    assert_eq!((said("a run begins"), said("a run has ended")), (1, 1), "{of_trace:?}");
    assert!(said("an agent begins") >= 2, "{of_trace:?}");
    assert!(of_trace.iter().flatten().all(|line| line.contains(&format!("trace={trace}"))), "{of_trace:?}");
    let shown = place.run(&["job", "explain", &job]);
    assert!(shown.stdout.contains(&format!("trace={trace}")), "{shown:?}");
}
