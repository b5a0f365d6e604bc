//! `fleet model bench` with a tiny model: what it tells, and what becomes of the processes that it measures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{DEADLINE, Ran, finish};
use crate::tiny::Gguf;

/// A directory with a model and an empty store.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        Gguf::tiny("qwen2").write(&place.path("tiny.gguf"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn bench(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
        command.args(["model", "bench"]).args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("FLEET_MODELS", self.path("models")).env("NO_COLOR", "1");
        command
    }
}

/// The process that this one measures at the moment.
fn measured_by(parent: u32) -> Option<u32> {
    let of_parent = |pid: &u32| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let status = read("status");
        let ppid = status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|n| n.trim().parse().ok());
        ppid == Some(parent) && read("cmdline").contains("bench-part")
    };
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(of_parent)
}

fn wait_for<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "waited too long");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

fn runs(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

fn of_stage<'a>(report: &'a Value, stage: &str) -> Vec<&'a Value> {
    report["rows"].as_array().unwrap().iter().filter(|row| row["stage"] == stage).collect()
}

fn accepted(config: &Path) -> Ran {
    let mut fleetd = Command::new(env!("CARGO_BIN_EXE_fleetd"));
    fleetd.arg("--config").arg(config).arg("--check").env_remove("FLEET_STATE_DIR");
    finish(fleetd)
}

#[test]
fn a_quick_run_tells_every_stage_as_json_and_as_a_page_and_recommends_what_a_node_takes() {
    let place = Place::new();
    let args = ["tiny.gguf", "--quick", "--streams", "1,4", "--threads", "1,2", "--html", "page.html", "-o", "json"];
    let ran = finish(place.bench(&args));
    assert_eq!((ran.code, ran.stderr.contains("page.html")), (Some(0), true), "{ran:?}");

    let report = json(&ran);
    assert_eq!((&report["complete"], &report["context"]), (&Value::Bool(true), &Value::from(1024)));
    assert_eq!(report["model"]["sha256"].as_str().unwrap().len(), 64);
    for (stage, at_least) in [("threads", 4), ("load", 4), ("kv", 2), ("draft", 4)] {
        let rows = of_stage(&report, stage);
        let measured = |row: &&&Value| row["point"]["tokens_per_s"].as_f64().is_some_and(|rate| rate > 0.0);
        assert!(rows.iter().filter(measured).count() >= at_least, "{stage}: {rows:?}");
    }
    let again = |row: &Value| row["point"]["preempted"].as_u64().unwrap();
    let kv = of_stage(&report, "kv");
    assert!(again(kv[0]) > 0 && again(kv[kv.len() - 1]) == 0, "too little memory shows: {kv:?}");

    let config = place.path("cluster.toml");
    fs::write(&config, report["recommendation"]["toml"].as_str().unwrap()).unwrap();
    let checked = accepted(&config);
    assert_eq!(checked.code, Some(0), "{checked:?}");

    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert!(page.matches("<svg").count() >= 6 && page.contains("kv_memory = ") && !page.contains("<script"));
}

#[test]
fn a_process_that_is_killed_is_a_row_and_not_the_end() {
    let place = Place::new();
    let args = ["tiny.gguf", "--quick", "--streams", "1", "--threads", "1,2", "--draft", "0", "--kv", "1MiB"];
    let mut command = place.bench(&args);
    let child = command.args(["-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    signal("-KILL", wait_for(|| measured_by(child.id())));

    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let died = &of_stage(&report, "threads")[0]["died"];
    assert!(died["why"].as_str().is_some_and(|why| why.contains("killed")), "{report}");
    assert!(
        died["threads"] == 1 && of_stage(&report, "load").iter().all(|row| row["point"]["threads"] == 2),
        "{report}"
    );
    assert!(output.status.success() && report["recommendation"]["threads"] == 2, "{report}");
}

#[test]
fn an_interrupt_ends_what_is_measured_and_tells_what_is_there() {
    let place = Place::new();
    let args = ["tiny.gguf", "--streams", "1", "--time", "1h", "--html", "page.html", "-o", "json"];
    let mut command = place.bench(&args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let first = wait_for(|| measured_by(child.id()));
    let second = wait_for(|| measured_by(child.id()).filter(|pid| *pid != first));
    signal("-INT", child.id());

    let output = child.wait_with_output().unwrap();
    wait_for(|| (!runs(second)).then_some(()));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["complete"], false, "{report}");
    assert!(!of_stage(&report, "threads").is_empty() && output.status.success(), "{report}");
    assert!(fs::read_to_string(place.path("page.html")).unwrap().contains("ended early"));
}

#[test]
fn what_is_measured_ends_with_whoever_asked() {
    let place = Place::new();
    let mut command = place.bench(&["tiny.gguf", "--threads", "1", "--context", "1024"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let measured = wait_for(|| measured_by(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(|| (!runs(measured)).then_some(()));
}

#[test]
fn without_a_model_it_says_how_to_get_one() {
    let place = Place::new();
    let ran = finish(place.bench(&[]));
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.stderr.contains("FLT-M002") && ran.stderr.contains("fleet model pull"), "{ran:?}");
    fs::write(place.path("bad.gguf"), "no model").unwrap();
    let ran = finish(place.bench(&["bad.gguf"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("no engine could run"), "{ran:?}");
}
