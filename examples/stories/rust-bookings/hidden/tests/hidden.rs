use bookings::calendar::{gaps, merge, minutes_taken};
use bookings::Span;

fn span(start: u32, end: u32) -> Span {
    Span::new(start, end).unwrap()
}

#[test]
fn a_chain_of_touching_bookings_is_one_whatever_their_order() {
    let chain = vec![span(120, 180), span(0, 60), span(60, 120)];
    assert_eq!(merge(chain), [span(0, 180)]);
}

#[test]
fn touching_anywhere_in_the_day_counts() {
    for at in [1, 59, 60, 600, 1439] {
        assert_eq!(merge(vec![span(0, at), span(at, 1440)]), [span(0, 1440)], "{at}");
    }
}

#[test]
fn one_minute_between_them_keeps_bookings_apart() {
    for at in [60, 600, 1000] {
        let apart = [span(at - 30, at), span(at + 1, at + 30)];
        assert_eq!(merge(apart.to_vec()), apart);
    }
}

#[test]
fn touching_and_overlapping_mix() {
    let spans = vec![span(0, 30), span(20, 40), span(40, 50), span(51, 60), span(45, 48)];
    assert_eq!(merge(spans), [span(0, 50), span(51, 60)]);
}

#[test]
fn minutes_and_gaps_are_as_before() {
    let spans = [span(540, 600), span(600, 660)];
    assert_eq!(minutes_taken(&spans), 120);
    assert_eq!(gaps(&spans, span(480, 720)), [span(480, 540), span(660, 720)]);
    assert_eq!(merge(Vec::new()), []);
}
