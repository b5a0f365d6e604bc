use tides::notice::notice;
use tides::windows::{windows, Window};
use tides::Table;

fn found(table: &str, needed: i32) -> Vec<Window> {
    windows(&Table::parse(table).unwrap(), needed)
}

#[test]
fn a_morning_and_an_evening_tide_are_both_listed() {
    let table = "00:00 1.00\n06:00 4.60\n12:00 1.00\n18:00 4.60";
    assert_eq!(found(table, 280), [Window { from: 180, to: 540 }, Window { from: 900, to: 1080 }]);
    assert_eq!(notice(table, 270).unwrap(), "03:00 to 09:00, 15:00 to 18:00");
}

#[test]
fn water_that_is_always_high_enough_makes_one_stretch() {
    assert_eq!(found("00:00 1.00\n06:00 4.60\n12:00 1.00", 50), [Window { from: 0, to: 720 }]);
}

#[test]
fn a_table_may_begin_and_end_at_high_water() {
    let table = "00:00 4.60\n06:00 1.00\n12:00 4.60";
    assert_eq!(found(table, 280), [Window { from: 0, to: 180 }, Window { from: 540, to: 720 }]);
}

#[test]
fn the_very_last_minute_counts() {
    let table = "00:00 1.00\n06:00 4.60";
    assert_eq!(found(table, 460), [Window { from: 360, to: 360 }]);
    assert_eq!(found(table, 461), []);
}

#[test]
fn a_stretch_that_ends_earlier_is_as_before() {
    assert_eq!(found("00:00 1.00\n06:00 4.60\n12:00 1.00", 370), [Window { from: 240, to: 480 }]);
    assert_eq!(notice("00:00 1.00\n06:00 4.60", 445).unwrap(), "closed");
}
