use barometer::station::Station;
use barometer::stats::{latest, mean, rise};
use barometer::Ring;

#[test]
fn whatever_the_room_and_the_number_of_values_the_latest_are_found() {
    for capacity in 1..8 {
        let mut ring = Ring::new(capacity).unwrap();
        for value in 0..30 {
            ring.push(value);
            let kept = capacity.min(value as usize + 1);
            let expected: Vec<i32> = (0..kept as i32).map(|back| value - back).collect();
            assert_eq!(latest(&ring, 10), expected, "{capacity} {value}");
        }
    }
}

#[test]
fn the_oldest_value_is_the_last_that_is_found() {
    let mut ring = Ring::new(4).unwrap();
    (0..6).for_each(|value| ring.push(value));
    assert_eq!((ring.back(3), ring.back(4)), (Some(2), None));
}

#[test]
fn rises_and_means_reach_across_the_end() {
    let mut ring = Ring::new(4).unwrap();
    [9, 9, 1, 2, 4, 8].iter().for_each(|value| ring.push(*value));
    assert_eq!(rise(&ring, 3), Some(7));
    assert_eq!(rise(&ring, 2), Some(6));
    assert_eq!(mean(&ring, 4), Some(3.75));
}

#[test]
fn every_hour_of_a_month_has_a_display() {
    let mut station = Station::new(24).unwrap();
    for hour in 0..24 * 30 {
        station.record(1000 + hour);
        if hour >= 3 {
            assert_eq!(station.display(), format!("{}.0 hPa, getting better", 999 + hour));
        }
    }
}

#[test]
fn a_ring_that_is_not_full_has_no_more_than_it_was_given() {
    let mut ring = Ring::new(5).unwrap();
    ring.push(7);
    assert_eq!((ring.back(0), ring.back(1)), (Some(7), None));
}
