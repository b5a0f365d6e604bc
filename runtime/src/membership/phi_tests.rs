use std::time::Duration;

use super::MembershipOptions;
use super::phi::{MAX_LEVEL, Rhythm};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A rhythm that has heard these intervals, over and over, and when the last renewal came.
fn after(intervals: &[u64]) -> (Rhythm, Duration) {
    let mut rhythm = Rhythm::new(&MembershipOptions::default(), Duration::ZERO);
    let mut now = Duration::ZERO;
    for interval in intervals.iter().cycle().take(200) {
        now += ms(*interval);
        rhythm.beat(now);
    }
    (rhythm, now)
}

#[test]
fn the_level_rises_with_the_silence_and_stays_finite() {
    let (rhythm, last) = after(&[500]);
    let levels: Vec<f64> = [0, 500, 700, 900, 1200, 60_000].iter().map(|t| rhythm.level(last + ms(*t))).collect();
    assert!(levels.is_sorted(), "{levels:?}");
    assert!(levels[0] < 0.01 && levels[5] == MAX_LEVEL, "{levels:?}");
}

#[test]
fn the_level_is_the_tail_of_the_normal_distribution() {
    let (rhythm, last) = after(&[500]);
    // Mean 0.5 s, deviation 0.1 s (its floor): P(> mean) = 0.5, P(> mean + 2 deviations) = 0.02275.
    assert!((rhythm.level(last + ms(500)) - 0.301).abs() < 0.005);
    assert!((rhythm.level(last + ms(700)) - 1.643).abs() < 0.01);
}

#[test]
fn less_than_two_seconds_of_silence_are_never_suspicious_however_regular_the_node_was() {
    let (rhythm, last) = after(&[500]);
    assert!(rhythm.level(last + ms(1999)) > 8.0);
    assert!(!rhythm.is_suspicious(last + ms(1999)));
    assert!(rhythm.is_suspicious(last + ms(2000)));
}

#[test]
fn a_node_that_stalls_now_and_then_is_given_more_time() {
    let (rhythm, last) = after(&[500, 500, 500, 500, 1500]);
    assert!(!rhythm.is_suspicious(last + ms(2000)), "{}", rhythm.level(last + ms(2000)));
}

#[test]
fn who_must_have_fenced_itself_is_suspected_whatever_its_habits() {
    let (rhythm, last) = after(&[100, 2400]);
    assert!(rhythm.level(last + ms(2500)) < 8.0);
    assert!(!rhythm.is_suspicious(last + ms(2499)));
    assert!(rhythm.is_suspicious(last + ms(2500)));
}

#[test]
fn a_long_outage_does_not_make_the_next_one_harder_to_see() {
    let (mut rhythm, last) = after(&[500]);
    rhythm.beat(last + ms(60_000));
    assert!(rhythm.is_suspicious(last + ms(62_000)));
}

#[test]
fn a_new_member_is_neither_suspected_at_once_nor_never() {
    let rhythm = Rhythm::new(&MembershipOptions::default(), ms(1000));
    assert!(!rhythm.is_suspicious(ms(2500)));
    assert!(rhythm.is_suspicious(ms(3000)));
}
