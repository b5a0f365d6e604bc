//! What the sandbox costs before a command starts.

use std::time::{Duration, Instant};

use crate::place::Place;

const RUNS: usize = 60;

/// Compared with a plain start on the same machine at the same time: milliseconds alone would measure the neighbours.
#[tokio::test]
async fn starting_in_the_sandbox_costs_a_bounded_multiple_of_starting_outside() {
    let place = Place::new();
    let (mut plain, mut confined) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let started = Instant::now();
        tokio::process::Command::new("/usr/bin/true").status().await.unwrap();
        plain.push(started.elapsed());
        let started = Instant::now();
        assert_eq!(place.run(place.command(&["/usr/bin/true"])).await.exit, Some(0));
        confined.push(started.elapsed());
    }
    let (plain, confined) = (Percentiles::of(plain), Percentiles::of(confined));
    println!("plain {plain:?}, confined {confined:?}");
    assert!(confined.p50 < plain.p50 * 200 + Duration::from_millis(50), "{plain:?} {confined:?}");
}

#[derive(Debug)]
#[expect(dead_code, reason = "p90 and max are for the reader of the output")]
struct Percentiles {
    p50: Duration,
    p90: Duration,
    max: Duration,
}

impl Percentiles {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort();
        Self { p50: all[all.len() / 2], p90: all[all.len() * 9 / 10], max: all[all.len() - 1] }
    }
}
