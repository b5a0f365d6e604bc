use plugins::pick::{pick, Problem};
use plugins::{Range, Version};

fn fits(range: &str, version: &str) -> bool {
    let range = Range::parse(range).unwrap_or_else(|| panic!("{range} is a range"));
    range.contains(Version::parse(version).unwrap())
}

#[test]
fn the_major_number_stays() {
    assert!(fits("^2.0.0", "2.0.0") && fits("^2.0.0", "2.99.7"));
    assert!(!fits("^2.0.0", "1.99.99") && !fits("^2.0.0", "3.0.0") && !fits("^2.0.0", "10.0.0"));
}

#[test]
fn below_one_the_minor_number_stays() {
    assert!(fits("^0.2.3", "0.2.3") && fits("^0.2.3", "0.2.40"));
    assert!(!fits("^0.2.3", "0.2.2") && !fits("^0.2.3", "0.3.0") && !fits("^0.2.3", "1.0.0"));
}

#[test]
fn below_that_only_the_version_itself_fits() {
    assert!(fits("^0.0.3", "0.0.3"));
    assert!(!fits("^0.0.3", "0.0.4") && !fits("^0.0.3", "0.0.2") && !fits("^0.0.3", "0.1.0"));
}

#[test]
fn a_caret_can_stand_among_other_conditions() {
    assert!(fits("^1.2.0, <1.8.0", "1.7.9") && !fits("^1.2.0, <1.8.0", "1.8.0"));
    assert!(fits(">1.2.0, ^1.2.0", "1.2.1") && !fits(">1.2.0, ^1.2.0", "1.2.0"));
}

#[test]
fn half_a_caret_is_refused() {
    for text in ["^", "^1.2", "^^1.2.3", "^>1.2.3", "^1.2.3,"] {
        assert_eq!(Range::parse(text), None, "{text}");
    }
}

#[test]
fn picking_uses_it() {
    let offer = ["0.2.1", "0.2.9", "0.3.0", "1.0.0"];
    assert_eq!(pick(&offer, "^0.2.0"), Ok(Version::new(0, 2, 9)));
    assert_eq!(pick(&offer, "^0.4.0"), Err(Problem::NothingFits));
    assert_eq!(pick(&offer, ">=0.2.0"), Ok(Version::new(1, 0, 0)));
}
