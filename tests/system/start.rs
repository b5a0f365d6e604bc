//! How a node starts, or says why it doesn't.

use std::fs;
use std::net::TcpListener;

use crate::harness::{Place, Ran, finish};

#[track_caller]
fn refused(ran: &Ran, said: &[&str]) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for said in said {
        assert!(ran.stderr.contains(said), "doesn't say {said:?}:\n{}", ran.stderr);
    }
}

#[test]
fn a_node_says_what_it_is_and_that_its_engine_is_a_mock() {
    let place = Place::new("clamp/script.yaml");
    let mut node = place.start();
    node.wait_until(|| node_says(&place, "submit"));
    let log = node.log();
    for said in [env!("CARGO_PKG_VERSION"), &place.url(), "MOCK", "bwrap", "fleet job submit"] {
        assert!(log.contains(said), "doesn't say {said:?}:\n{log}");
    }
    assert!(!log.contains(&place.token()), "the token is in the log");
    assert_eq!(node.terminate(), Some(0));
}

fn node_says(place: &Place, text: &str) -> bool {
    fs::read_to_string(place.path().join("fleetd.log")).unwrap_or_default().contains(text)
}

#[test]
fn a_second_node_on_the_same_state_is_refused_with_the_pid_of_the_first() {
    let place = Place::new("clamp/script.yaml");
    let node = place.start();
    refused(&finish(place.fleetd()), &[&format!("pid {}", node.pid()), "--state-dir"]);
}

#[test]
fn a_taken_port_is_named() {
    let place = Place::new("clamp/script.yaml");
    let address = place.url().trim_start_matches("http://").to_owned();
    let _taken = TcpListener::bind(&address).unwrap();
    refused(&finish(place.fleetd()), &[&address, "--listen"]);
}

#[test]
fn a_mistake_in_the_configuration_is_placed() {
    let place = Place::new("clamp/script.yaml");
    place.configure("clamp/script.yaml", "[jobs]\nmax_runing = 1\n");
    refused(&finish(place.fleetd()), &["cluster.toml:", "`max_runing`", "did you mean `max_running`"]);
}

#[test]
fn a_mock_engine_is_refused_unless_allowed() {
    let place = Place::new("clamp/script.yaml");
    let text = fs::read_to_string(place.config()).unwrap();
    fs::write(place.config(), text.replace("allow_mock = true", "allow_mock = false")).unwrap();
    refused(&finish(place.fleetd()), &["allow_mock"]);
}

#[test]
fn a_missing_model_is_answered_with_the_command_that_fetches_it() {
    let place = Place::new("clamp/script.yaml");
    fs::write(place.config(), "[[inference.engine]]\nmodel = \"smollm2-135m-instruct\"\n").unwrap();
    let mut fleetd = place.fleetd();
    fleetd.env("FLEET_MODELS", place.path().join("no-models"));
    refused(&finish(fleetd), &["fleet model pull smollm2-135m-instruct"]);
}

#[test]
fn listening_beyond_loopback_is_refused() {
    let place = Place::new("clamp/script.yaml");
    let mut fleetd = place.fleetd();
    fleetd.args(["--listen", "0.0.0.0:0"]);
    refused(&finish(fleetd), &["0.0.0.0:0", "TLS"]);
}

#[test]
fn without_a_sandbox_nothing_is_started() {
    let place = Place::new("clamp/script.yaml");
    place.configure("clamp/script.yaml", "[sandbox]\nbwrap = \"/nonexistent/bwrap\"\n");
    refused(&finish(place.fleetd()), &["bwrap"]);
}

#[test]
fn a_model_file_that_is_cut_short_or_of_another_kind_stops_the_node_with_the_reason() {
    let place = Place::new("clamp/script.yaml");
    let model = place.path().join("model.gguf");
    fs::write(place.config(), format!("[[inference.engine]]\nmodel = \"{}\"\n", model.display())).unwrap();
    let another_kind = b"PK\x03\x04 an archive".repeat(100);
    for (bytes, why) in [(b"GGUF\x03\0\0\0".to_vec(), "no model"), (another_kind, "not a GGUF file")] {
        fs::write(&model, bytes).unwrap();
        let mut fleetd = place.fleetd();
        fleetd.args(["--listen", "127.0.0.1:0"]);
        refused(&finish(fleetd), &["model.gguf", why, "fleet model"]);
    }
}
