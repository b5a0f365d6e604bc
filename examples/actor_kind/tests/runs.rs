//! The example does what its page says, with real processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

#[test]
fn a_hundred_counters_outlive_the_process_of_half_of_them() {
    let out = Command::new(env!("CARGO_BIN_EXE_actor_kind")).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[1].contains("50 in process") && lines[1].matches(" in process ").count() == 2, "{said}");
    assert!(lines[2].contains("added to each"), "{said}");
    assert!(
        lines[4].contains("all 100 answer again")
            && lines[4].contains("what they counted")
            && lines[4].contains("100 in process"),
        "{said}"
    );
}
