#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::time::Duration;

use super::MembershipOptionsError as Error;
use super::*;

fn refused(change: impl FnOnce(&mut MembershipOptions)) -> Error {
    let mut options = MembershipOptions::default();
    change(&mut options);
    options.validate().unwrap_err()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_defaults_hold_together() {
    assert_eq!(MembershipOptions::default().validate(), Ok(()));
}

#[test]
fn choices_that_do_not_hold_together_are_refused() {
    assert!(matches!(refused(|o| o.fence_after = o.lease), Error::FenceTooLate { .. }));
    assert!(matches!(refused(|o| o.fence_after = ms(2701)), Error::FenceTooLate { .. }));
    assert!(matches!(refused(|o| o.renew_every = ms(900)), Error::RenewalsTooRare { .. }));
    assert!(matches!(refused(|o| o.suspect_after = ms(900)), Error::SuspicionOutOfRange { .. }));
    assert!(matches!(refused(|o| o.suspect_after = ms(2600)), Error::SuspicionOutOfRange { .. }));
    assert!(matches!(refused(|o| o.suspect_level = f64::NAN), Error::LevelOutOfRange(_)));
    assert!(matches!(refused(|o| o.suspect_level = 101.0), Error::LevelOutOfRange(_)));
    assert_eq!(refused(|o| o.window = 1), Error::WindowOutOfRange(1));
    assert!(matches!(refused(|o| o.probe_timeout = ms(3000)), Error::ProbeTooLong { .. }));
    assert!(matches!(refused(|o| o.max_pause = ms(100)), Error::PauseOutOfRange { .. }));
    assert_eq!(refused(|o| o.renew_every = Duration::ZERO), Error::Zero("renew_every"));
}

#[test]
fn a_refusal_names_the_keys_and_their_values() {
    let says = refused(|o| o.fence_after = ms(3000)).to_string();
    assert_eq!(says, "fence_after (3s) must be at most nine tenths of lease (3s)");
}

#[test]
fn neither_core_is_made_from_choices_that_are_refused() {
    let options = MembershipOptions { fence_after: ms(3000), ..Default::default() };
    assert!(NodeCore::new(options.clone(), crate::id::Incarnation(1), ms(0)).is_err());
    assert!(ControlCore::restarted(options, Vec::new(), ms(0)).is_err());
}

#[test]
fn times_are_written_as_people_write_them() {
    let options: MembershipOptions = serde_json::from_str(r#"{"lease": "6s", "fence_after": "5s"}"#).unwrap();
    assert_eq!((options.lease, options.fence_after), (ms(6000), ms(5000)));
    assert!(serde_json::from_str::<MembershipOptions>(r#"{"leese": "6s"}"#).is_err());
}
