//! The official OpenAI client for Python against a real node with real models.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Place, finish};

/// The Python that `scripts/setup test` puts the client into.
fn python() -> PathBuf {
    let dir = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = || Some(dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")))?.join("fleet/tools"));
    let python = dir("FLEET_TOOLS").or_else(cache).unwrap().join("openai/bin/python");
    assert!(python.exists(), "there is no {}: run `make setup`", python.display());
    python
}

#[test]
fn the_official_client_can_chat_stream_call_tools_keep_to_schemas_embed_and_reads_errors() {
    let place = Place::new("clamp/script.yaml");
    let config = fs::read_to_string(place.config()).unwrap();
    let (before, _) = config.split_once("[inference]").unwrap();
    let engines = "[[inference.engine]]\nname = \"local\"\nmodel = \"smollm2-135m-instruct\"\ncontext = 2048\n\n\
                   [[inference.engine]]\nname = \"vectors\"\nkind = \"embedding\"\n";
    fs::write(place.config(), format!("{before}{engines}")).unwrap();
    let _node = place.start();
    let made = place.run(&["access", "create", "looker", "--level", "viewer", "-o", "json"]);
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap_or_else(|e| panic!("{e}: {made:?}"));
    let mut suite = Command::new(python());
    suite.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openai/suite.py"));
    suite.arg(format!("{}/v1", place.url())).arg(place.token()).arg(made["token"].as_str().unwrap());
    suite.env_remove("OPENAI_API_KEY").env("NO_PROXY", "127.0.0.1");
    let ran = finish(suite);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let status = place.run(&["engine", "status"]);
    assert!(status.stdout.contains("vectors") && status.stdout.contains("all-minilm-l6-v2"), "{status:?}");

    let drained = place.run(&["engine", "drain", "local", "--wait"]);
    assert!(drained.code == Some(0) && drained.stdout.contains("draining"), "{drained:?}");
    let resumed = place.run(&["engine", "resume", "local", "-o", "json"]);
    let resumed: serde_json::Value = serde_json::from_str(&resumed.stdout).unwrap();
    assert_eq!((&resumed[0]["name"], &resumed[0]["state"]), (&"local".into(), &"ready".into()));
    let unknown = place.run(&["engine", "drain", "nobody"]);
    assert!(unknown.code != Some(0) && unknown.stderr.contains("fleet engine status"), "{unknown:?}");
}
