use kitty::balance::balances;
use kitty::payment::parse_payments;
use kitty::report::report;
use kitty::Amount;

#[test]
fn every_small_amount_is_printed_and_read_again() {
    for cents in -1000..=1000 {
        let text = Amount(cents).to_string();
        assert_eq!(text.starts_with('-'), cents < 0, "{text}");
        assert_eq!(text.parse(), Ok(Amount(cents)), "{text}");
    }
}

#[test]
fn single_cents_keep_their_minus() {
    assert_eq!(Amount(-1).to_string(), "-0.01");
    assert_eq!(Amount(-99).to_string(), "-0.99");
    assert_eq!("-0.01".parse(), Ok(Amount(-1)));
    assert_eq!("-0.99".parse(), Ok(Amount(-99)));
}

#[test]
fn zero_has_no_sign() {
    assert_eq!(Amount(0).to_string(), "0.00");
    assert_eq!("-0.00".parse(), Ok(Amount(0)));
    assert_eq!(report(&["Ida"], "Ida 1.00").unwrap(), "Ida     0.00");
}

#[test]
fn larger_amounts_are_as_before() {
    assert_eq!(Amount(-12345).to_string(), "-123.45");
    assert_eq!(Amount(-100).to_string(), "-1.00");
    assert_eq!("-100".parse(), Ok(Amount(-10000)));
    assert_eq!("-7.25".parse(), Ok(Amount(-725)));
}

#[test]
fn refunds_of_cents_are_taken_off() {
    let payments = parse_payments("Ida 0.20\nIda -0.07\nBen -0.03").unwrap();
    assert_eq!(balances(&["Ida", "Ben"], &payments).into_values().collect::<Vec<_>>(), [Amount(-8), Amount(8)]);
}

#[test]
fn what_is_no_amount_is_still_refused() {
    for text in ["-", "-0.5", "-0.-5", "0.5", "x"] {
        assert!(text.parse::<Amount>().is_err(), "{text}");
    }
}
