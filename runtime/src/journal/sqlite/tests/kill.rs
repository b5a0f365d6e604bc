//! `kill -9` of a process that appends: everything that it was acknowledged is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::super::*;
use crate::journal::testing::{append, everything, open, stream};

const DIR: &str = "FLEET_TEST_JOURNAL_DIR";
const CHILD: &str = "journal::sqlite::tests::kill::the_process_that_is_killed";

/// Not a test by itself: run with the variable set, it appends until it is killed and prints what
/// it was acknowledged.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = Arc::new(open(Path::new(&dir)).0);
        let producers = (0..16).map(|p| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for n in 0.. {
                    let acked = journal.append(append(&stream(&format!("p{p}")), n)).await.unwrap();
                    let line = format!("acked {} {}\n", acked[0].position, acked[0].hash);
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        futures::future::join_all(producers).await;
    });
}

/// Lets a process append, kills it after so many acknowledgements, and gives those it had got.
fn acked_before_the_kill(dir: &Path, after: usize) -> Vec<(u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acked = Vec::new();
    let mut killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The last line may be cut off by the kill; a cut-off hash would not be found.
        let line = line.unwrap();
        if let Some((position, hash)) = line.strip_prefix("acked ").and_then(|rest| rest.split_once(' '))
            && hash.len() == 64
        {
            acked.push((position.parse().unwrap(), hash.to_owned()));
        }
        if acked.len() >= after && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the process ended by itself after {} appends", acked.len());
    acked
}

#[tokio::test]
async fn everything_acknowledged_before_kill_9_is_there_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = Vec::new();
    for round in [50, 400, 3_000] {
        acked.extend(acked_before_the_kill(dir.path(), round));
        let (journal, report) = open(dir.path());
        assert!(!report.clean && !report.rebuilt, "{report:?}");
        let there = everything(&journal).await;
        let hashes: std::collections::HashMap<_, _> =
            there.iter().map(|e| (e.position.0, e.hash.to_string())).collect();
        for (position, hash) in &acked {
            assert_eq!(hashes.get(position), Some(hash), "position {position} was acknowledged");
        }
        let check = journal.verify().await.unwrap();
        assert!(check.is_whole(), "{check:?}");
    }
    assert!(acked.len() >= 3_450);
}
