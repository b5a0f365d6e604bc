//! Tokens with access levels, figures and timelines, asked for as people do: with `fleet`, at more than one node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Place, Ran, finish};
use crate::members::Member;

/// Issues a token, and keeps it in a file as its owner would.
fn issue(place: &Place, name: &str, more: &[&str]) -> PathBuf {
    let mut args = vec!["access", "create", name];
    args.extend(more);
    let issued = place.run(&args);
    assert_eq!(issued.code, Some(0), "{issued:?}");
    let file = place.path().join(format!("{name}.token"));
    fs::write(&file, &issued.stdout).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    file
}

/// `fleet` with the token in that file, at the place's node or at a member.
fn with_token(place: &Place, member: Option<&Member>, token: &PathBuf, args: &[&str]) -> Ran {
    let mut command = member.map_or_else(|| place.fleet(args), |member| member.fleet(args));
    command.arg("--token-file").arg(token);
    finish(command)
}

#[test]
fn a_token_that_is_issued_at_one_node_opens_another_until_it_is_revoked() {
    let place = Place::new("clamp/script.yaml");
    let mut control = place.start();
    let member = Member::new(&place, "a");
    let mut joined = member.join();
    let viewer = issue(&place, "vera", &["--level", "viewer", "--expires", "30d"]);
    let operator = issue(&place, "olga", &["--level", "operator"]);

    joined.wait_until(|| with_token(&place, Some(&member), &viewer, &["job", "list"]).code == Some(0));
    for at in [None, Some(&member)] {
        let list = with_token(&place, at, &operator, &["access", "list"]);
        assert_eq!(list.code, Some(4), "{list:?}");
        assert!(list.stderr.contains("olga has the access level operator; this needs po"), "{list:?}");
        let drain = with_token(&place, at, &viewer, &["node", "drain", "a"]);
        assert!(drain.code == Some(4) && drain.stderr.contains("needs operator"), "{drain:?}");
    }

    control.kill();
    control = place.start();
    let again = with_token(&place, None, &viewer, &["status"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    let list: Value = serde_json::from_str(&place.run(&["access", "list", "-o", "json"]).stdout).unwrap();
    assert_eq!(
        (&list[0]["name"], &list[0]["level"], &list[1]["name"]),
        (&"vera".into(), &"viewer".into(), &"olga".into())
    );

    // Revoked by the owner of another node, whose own token is as good as any.
    let revoked = member.run(&["access", "revoke", "vera"]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let there = with_token(&place, Some(&member), &viewer, &["job", "list"]);
    assert!(there.code == Some(4) && there.stderr.contains("was revoked"), "{there:?}");
    control.wait_until(|| with_token(&place, None, &viewer, &["job", "list"]).code == Some(4));
    assert_eq!(with_token(&place, None, &operator, &["job", "list"]).code, Some(0));
}

#[test]
fn a_job_that_is_done_can_be_explained_counted_and_looked_at_in_a_viewer() {
    let place = Place::new("clamp/script.yaml");
    let _node = place.start();
    let ran = place.submit(&["--approve-with", "policy:auto", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let jobs: Value = serde_json::from_str(&place.run(&["job", "list", "-o", "json"]).stdout).unwrap();
    let job = jobs[0]["id"].as_str().unwrap();

    let explained = place.run(&["job", "explain", job]);
    assert!(explained.code == Some(0) && explained.stdout.contains("is succeeded"), "{explained:?}");

    let file = place.path().join("trace.json");
    let written = place.run(&["timeline", job, "-o", file.to_str().unwrap()]);
    assert_eq!(written.code, Some(0), "{written:?}");
    let trace: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    for category in ["job", "run", "phase", "attempt", "tool", "reply", "effect", "node", "actor"] {
        assert!(events.iter().any(|event| event["ph"] == "X" && event["cat"] == category), "no {category}");
    }
    let all = place.run(&["timeline", "-o", "json"]);
    assert!(serde_json::from_str::<Value>(&all.stdout).unwrap()["traceEvents"].as_array().unwrap().len() > 10);

    let page = figures(&place);
    for line in [
        "fleet_jobs_ended_total{state=\"succeeded\"} 1",
        "fleet_engine_ready{engine=\"scripted\"} 1",
        "fleet_nodes{state=\"alive\"} 1",
        "fleet_metrics_behind_events 0",
    ] {
        assert!(page.lines().any(|seen| seen == line), "no {line} in\n{page}");
    }
    for metric in ["fleet_process_resident_memory_bytes", "fleet_journal_disk_bytes", "fleet_tool_runs_total"] {
        assert!(page.lines().any(|seen| seen.starts_with(metric)), "no {metric} in\n{page}");
    }
}

/// `/metrics` of the place's node.
fn figures(place: &Place) -> String {
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    client.block_on(async {
        fleet_runtime::net::install_crypto();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.get(format!("{}/metrics", place.url())).bearer_auth(place.token());
        request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    })
}
