//! The benchmark itself, with few of everything: it measures what it says, and says what it can't measure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(out: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-bench"));
    command.args(args).arg("--quick").arg("--out").arg(out);
    command
}

fn run(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn figures(out: &Path, area: &str) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(out.join(format!("{area}.json"))).unwrap()).unwrap()
}

fn named<'a>(figures: &'a [Value], name: &str) -> &'a Value {
    figures.iter().find(|f| f["name"].as_str().unwrap().starts_with(name)).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn fleet_is_measured_beside_ractor_cluster() {
    let out = tempfile::tempdir().unwrap();
    run(bench(out.path(), &["runtime", "--without", "erlang", "--without", "ray"]));
    let figures = figures(out.path(), "runtime");
    for name in [
        "remote tell, 64 B: Fleet",
        "remote tell, 64 B: ractor_cluster 0.16.5",
        "remote ask, 1024 in flight: ractor_cluster 0.16.5, its own mutual TLS",
        "16 MiB payloads: Fleet",
        "remote ask beside a stream of 16 MiB messages in shared memory: p50 over idle",
        "remote ask beside a stream of 16 MiB messages over TLS: p50 over idle",
        "local supervised spawn",
        "remote supervised spawn",
    ] {
        assert!(named(&figures, name)["value"].as_f64().unwrap() > 0.0, "{name}");
    }
    let over_ray = named(&figures, "16 MiB payloads: Fleet over Ray");
    assert_eq!(over_ray["value"], Value::Null);
    assert!(over_ray["missing"].as_str().unwrap().contains("--without ray"), "{over_ray}");
}

#[test]
fn what_isnt_installed_is_named_with_the_way_to_get_it() {
    let out = tempfile::tempdir().unwrap();
    let mut command = bench(out.path(), &["runtime", "--without", "stock"]);
    command.env("PATH", "").env("XDG_CACHE_HOME", out.path());
    let said = String::from_utf8(run(command).stdout).unwrap();
    assert!(said.contains("not measured: Erlang: not installed (Debian: apt-get install erlang-base"), "{said}");
    assert!(said.contains("not measured: Ray: not installed"), "{said}");
    let over_erlang = &figures(out.path(), "runtime");
    assert_eq!(named(over_erlang, "remote tell, 64 B: Erlang")["value"], Value::Null);
}

#[test]
fn the_other_areas_are_measured() {
    let out = tempfile::tempdir().unwrap();
    for area in ["journal", "blobs", "jobs", "faults", "overload"] {
        run(bench(out.path(), &[area]));
        let figures = figures(out.path(), area);
        assert!(figures.iter().all(|f| f["value"].as_f64().unwrap() >= 0.0), "{figures:?}");
    }
}

#[test]
fn inference_is_measured_with_the_smallest_model_even_without_llama_cpp() {
    let out = tempfile::tempdir().unwrap();
    run(bench(out.path(), &["inference", "--without", "llama.cpp"]));
    let figures = figures(out.path(), "inference");
    for name in ["prefill of 512", "decode, 1 stream", "decode, 16 streams"] {
        assert!(named(&figures, &format!("135M Q4_1: {name}"))["value"].as_f64().unwrap() > 0.0, "{name}");
    }
    let over = named(&figures, "135M Q4_1: decode, 1 stream, over llama.cpp");
    assert!(over["missing"].as_str().unwrap().contains("is left out"), "{over}");
}
