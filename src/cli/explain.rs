//! `fleet job explain`: why a job waits, or what it does.

use fleet_api::plain;
use fleet_api::wire::JobExplanation;

use super::client::Client;
use super::exit::Exit;
use super::failure::Outcome;
use super::table;
use super::terminal::Terminal;

/// Prints it.
pub async fn run(client: &Client, terminal: &Terminal, id: &str) -> Outcome {
    let explained = client.explain_job(id).await?;
    if terminal.json_wanted() {
        terminal.json(&explained)?;
        return Ok(Exit::Ok);
    }
    for line in lines(&explained) {
        terminal.data(plain::line(&line))?;
    }
    Ok(Exit::Ok)
}

/// The most important first.
fn lines(explained: &JobExplanation) -> Vec<String> {
    let JobExplanation { job, last, waits_for, runner, trace } = explained;
    let place = job.node.as_ref().filter(|_| !job.state.is_ended()).map(|node| format!(" on {node}"));
    let mut lines = vec![format!("{} is {}{}: {}", job.id, job.state, place.unwrap_or_default(), job.title)];
    lines.extend(job.why.iter().map(|why| format!("  {why}")));
    for gate in waits_for {
        lines.push(format!("  a person decides at {}: {}", gate.id, gate.question));
        lines.push(format!("    fleet approval show {}", gate.id));
    }
    lines.extend(last.iter().map(|told| format!("  last, {}: {}", table::time(told.at), told.line)));
    let runner = runner.as_ref().map(ToString::to_string).unwrap_or_default();
    lines.extend(runner.lines().map(|line| format!("  {line}")));
    lines.extend(trace.iter().map(|trace| format!("  in the logs of all nodes: trace={trace}")));
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_without_a_place_is_explained_down_to_the_placement() {
        let job = json!({"id": "k3m9x2p7qa", "kind": "story", "project": "p", "title": "Clamp", "state": "queued", "priority": 0,
            "submitted_at": 0, "started_at": null, "ended_at": null, "by": "person:anna", "outcome": null, "generation": 0,
            "why": "a node is being found for it"});
        let record = json!({"key": "job/k3m9x2p7qa/1", "id": "0197a9b0-0000-7000-8000-000000000001", "kind": "fleet.job-runner/1",
            "state": "placing", "node": null, "addr": null, "generation": 0, "since": 0, "restarts": 0});
        let runner = json!({"record": record, "why": ["no node has 4 cpu free"], "placement": null});
        let explained: JobExplanation =
            serde_json::from_value(json!({"job": job, "last": null, "waits_for": [], "runner": runner,
            "trace": "4bf92f3577b34da6a3ce929d0e0e4736"}))
            .unwrap();
        insta::assert_snapshot!(lines(&explained).join("\n"), @r"
        k3m9x2p7qa is queued: Clamp
          a node is being found for it
          job/k3m9x2p7qa/1 (fleet.job-runner/1) is placing since 1970-01-01T00:00:00.000Z
            no node has 4 cpu free
          in the logs of all nodes: trace=4bf92f3577b34da6a3ce929d0e0e4736
        ");
    }
}
