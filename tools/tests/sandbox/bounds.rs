//! What a command uses up, and where that ends.

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use fleet_tools::sandbox::{Limits, Stop};

use crate::place::{Place, mark, processes, wait_until};

#[tokio::test]
async fn a_fork_bomb_stops_at_the_limit_on_processes() {
    let place = Place::new();
    let said = place
        .attack_within(
            "
import os, time
made = 0
for _ in range(300):
    try:
        if os.fork() == 0: time.sleep(30); os._exit(0)
        made += 1
    except OSError: break
print(made)",
            Limits { pids: 40, ..Limits::default() },
        )
        .await;
    let made: u32 = said.parse().unwrap();
    assert!((20..40).contains(&made), "{made} processes were made");
}

#[tokio::test]
async fn one_process_gets_no_more_memory_than_the_limit() {
    let place = Place::new();
    let mut run = place.python(
        "
held = []
for _ in range(64): held.append(bytearray(16 << 20)); held[-1][::4096] = b'x' * 4096
print('open')",
    );
    run.limits.memory = ByteSize::mib(128);
    let result = place.run(run).await;
    assert!(result.oom, "{result:?}");
    assert!(!result.stdout.text().contains("open"));
    assert_eq!(result.signal, Some(9));
    assert!(result.memory_peak <= 128 << 20, "{}", result.memory_peak);
}

#[tokio::test]
async fn eight_processes_together_get_no_more_memory_than_the_limit() {
    let place = Place::new();
    let mut run = place.python(
        "
import os
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(60 << 20); held[::4096] = b'x' * (15 << 10)
        os._exit(0 if len(held) else 1)
print(sum(os.wait()[1] != 0 for _ in range(8)) > 0)",
    );
    run.limits.memory = ByteSize::mib(160);
    let result = place.run(run).await;
    assert!(result.memory_peak <= 160 << 20, "{}", result.memory_peak);
    // They may also have come one after the other; what counts is the peak. It was reached, or they didn't try.
    assert!(result.oom || result.memory_peak > 60 << 20, "{result:?}");
}

#[tokio::test]
async fn one_file_grows_no_larger_than_the_limit() {
    let place = Place::new();
    let mut run = place.command(&["dd", "if=/dev/zero", "of=/work/big", "bs=1M", "count=64"]);
    run.limits.file_bytes = ByteSize::mib(8);
    let result = place.run(run).await;
    assert_eq!(result.signal, Some(25), "SIGXFSZ: {result:?}");
    assert_eq!(place.workspace().join("big").metadata().unwrap().len(), 8 << 20);
}

#[tokio::test]
async fn many_files_fill_no_more_than_the_limit() {
    let place = Place::new();
    let mut run = place.python(
        "
for n in range(100000):
    with open(f'/work/{n}', 'wb') as f: f.write(b'x' * (256 << 10))
    if n % 40 == 39:
        import time; time.sleep(0.02)
",
    );
    run.limits.disk_bytes = ByteSize::mib(32);
    let result = place.run(run).await;
    assert_eq!((result.stopped, result.exit), (Some(Stop::Disk), None), "{result:?}");
}

#[tokio::test]
async fn the_temporary_directory_is_sized_and_gone_afterwards() {
    let place = Place::new();
    let mut run = place.command(&["sh", "-c", "dd if=/dev/zero of=/tmp/a bs=1M count=64 2>/dev/null; stat -c %s /tmp/a; dd if=/dev/zero of=/dev/shm/a bs=1M count=64 2>/dev/null; stat -c %s /dev/shm/a"]);
    run.limits.tmp_bytes = ByteSize::mib(4);
    let said = place.run(run).await.stdout.text();
    assert_eq!(said, "4194304\n4194304\n");
    assert_eq!(place.run(place.command(&["ls", "-A", "/tmp"])).await.stdout.text(), "");
}

#[tokio::test]
async fn the_deadline_kills_the_whole_tree() {
    let place = Place::new();
    let mark = mark();
    let mut run = place.command(&[
        "sh",
        "-c",
        &format!("sleep {mark} & setsid sleep {mark} & sh -c 'trap \"\" TERM; sleep {mark}'"),
    ]);
    run.limits.wall = Duration::from_millis(500);
    let started = Instant::now();
    let result = place.run(run).await;
    assert!(result.timed_out && result.stopped == Some(Stop::Wall) && result.exit.is_none(), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(processes(&mark), Vec::<i32>::new());
}

#[tokio::test]
async fn processor_time_of_the_whole_tree_is_limited() {
    let place = Place::new();
    let mut run = place.command(&["sh", "-c", "for i in 1 2 3; do (while :; do :; done) & done; wait"]);
    run.limits.cpu = Duration::from_millis(600);
    let result = place.run(run).await;
    assert_eq!(result.stopped, Some(Stop::Cpu), "{result:?}");
    assert!(result.cpu_ms >= 600, "{}", result.cpu_ms);
}

#[tokio::test]
async fn a_flood_of_output_is_clipped_at_both_ends_and_then_killed() {
    let place = Place::new();
    let mut run = place.command(&["sh", "-c", "echo first; yes middle"]);
    run.limits.output_bytes = ByteSize::mib(4);
    run.limits.keep_bytes = ByteSize::kib(64);
    let result = place.run(run).await;
    assert_eq!(result.stopped, Some(Stop::Output), "{result:?}");
    assert!(result.output_truncated);
    assert!(result.stdout.head.starts_with(b"first\nmiddle\n"));
    assert!(result.stdout.head.len() + result.stdout.tail.len() <= 64 << 10);
    assert!(result.stdout.total_bytes() > 4 << 20);
}

#[tokio::test]
async fn cancelling_kills_the_tree_and_says_so() {
    let place = Place::new();
    let mark = mark();
    let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
    let run = place.sandbox.run(place.command(&["sleep", &mark]), async {
        let _ = cancelled.await;
    });
    let stop = tokio::task::spawn_blocking({
        let mark = mark.clone();
        move || {
            wait_until("it runs", || !processes(&mark).is_empty());
            cancel.send(()).unwrap();
        }
    });
    let result = run.await.unwrap();
    stop.await.unwrap();
    assert_eq!(result.stopped, Some(Stop::Cancelled));
    assert_eq!(processes(&mark), Vec::<i32>::new());
}
