//! Engines on a GPU live in a worker process. No GPU is needed here: a file lists one, and the worker is a plain `fleetd` whose
//! engine answers from a script.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Place};

const GPU: &str = "GPU-0badcafe-0000-0000-0000-000000000001";
const WORKER: &str = "local-gpu-0badcafe";

fn place() -> Place {
    let place = Place::in_cluster("clamp/script.yaml", "listen = \"127.0.0.1:0\"\ngpus = \"GPUS\"\n");
    let gpus = place.path().join("gpus.json");
    fs::write(&gpus, format!("[{{\"uuid\": \"{GPU}\", \"name\": \"H200\", \"memory_bytes\": 150000000000}}]")).unwrap();
    let text = fs::read_to_string(place.config()).unwrap();
    let text = text.replace("\"GPUS\"", &format!("{gpus:?}"));
    let worker = format!("allow_mock = true\ngpu_worker = \"{}\"\n", env!("CARGO_BIN_EXE_fleetd"));
    let text = text.replace("allow_mock = true\n", &worker);
    let text = text
        .replace("kind = \"mock\"\n", &format!("kind = \"mock\"\ndevice = \"cuda:{GPU}\"\ntoken_delay = \"20ms\"\n"));
    fs::write(place.config(), text).unwrap();
    place
}

/// The worker process of a place.
fn worker(place: &Place) -> Option<u32> {
    let mine = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains("--gpu-worker") && line.contains(place.path().to_str().unwrap())
    };
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(mine)
}

fn ask(place: &Place) -> String {
    let body = "{\"model\": \"scripted\", \"messages\": [{\"role\": \"user\", \"content\": \"say something\"}]}";
    let address = place.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        place.token(),
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn answered(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn an_engine_on_a_gpu_lives_in_a_worker_that_is_started_again_and_takes_nothing_down() {
    let place = place();
    let mut node = place.start();
    let status = place.run(&["engine", "status"]);
    assert!(status.stdout.contains(WORKER), "{status:?}\n{}", node.log());
    let first = worker(&place).expect("a worker process");
    assert!(answered(&ask(&place)), "{}", node.log());

    let killed = Instant::now();
    assert!(Command::new("kill").args(["-9", &first.to_string()]).status().unwrap().success());
    let lost = ask(&place);
    let told = killed.elapsed();
    node.wait_until(|| worker(&place).is_some_and(|pid| pid != first));
    node.wait_until(|| answered(&ask(&place)));

    assert!(answered(&lost) || told < Duration::from_secs(60), "told after {told:?}: {lost}");
    let second = worker(&place).expect("a worker process");
    assert_eq!(node.terminate(), Some(0));
    assert_eq!(worker(&place), None, "worker {second} outlived its node");
}

#[test]
fn a_worker_ends_when_its_node_is_killed() {
    let place = place();
    let node = place.start();
    assert!(worker(&place).is_some());
    node.kill();
    let end = Instant::now() + DEADLINE;
    while worker(&place).is_some() {
        assert!(Instant::now() < end, "the worker outlived its node");
        std::thread::sleep(Duration::from_millis(50));
    }
}
