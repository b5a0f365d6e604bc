use stonemason::numeral::{from_roman, to_roman};
use stonemason::stone::inscription;
use stonemason::Date;

#[test]
fn four_hundred_has_two_signs_whatever_stands_before_it() {
    assert_eq!(to_roman(400), "CD");
    assert_eq!(to_roman(444), "CDXLIV");
    assert_eq!(to_roman(1400), "MCD");
    assert_eq!(to_roman(2499), "MMCDXCIX");
    assert_eq!(to_roman(3400), "MMMCD");
}

#[test]
fn no_sign_stands_four_times_in_a_row() {
    for number in 1..=3999 {
        let numeral = to_roman(number);
        for four in ["IIII", "XXXX", "CCCC", "VV", "LL", "DD"] {
            assert!(!numeral.contains(four), "{number}: {numeral}");
        }
    }
}

#[test]
fn every_year_is_read_again() {
    for number in 1..=3999 {
        assert_eq!(from_roman(&to_roman(number)), Some(number));
    }
}

#[test]
fn the_neighbours_of_four_hundred_are_as_before() {
    assert_eq!(to_roman(399), "CCCXCIX");
    assert_eq!(to_roman(500), "D");
    assert_eq!(to_roman(900), "CM");
}

#[test]
fn early_years_are_cut_briefly_too() {
    assert_eq!(inscription(Date::new(4, 9, 476).unwrap()), "IV.IX.CDLXXVI");
}
