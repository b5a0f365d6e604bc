#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::*;
use crate::codec;

#[test]
fn a_random_job_id_is_a_valid_one() {
    for _ in 0..1_000 {
        let id = JobId::new_random();
        assert_eq!(id.as_str().parse::<JobId>().unwrap(), id);
        assert_eq!(StreamId::job(&id).as_job(), Some(id));
    }
}

#[test]
fn an_id_that_could_leave_its_folder_is_refused() {
    for text in ["", "..", "a/../b", "/etc", "a//b", "a/", "a b", "a\n", "ü"] {
        assert!(text.parse::<StreamId>().is_err(), "{text:?}");
    }
    for text in ["", ".", "..", "-x", "a/b", "a b", &"x".repeat(65)] {
        assert!(text.parse::<ProjectId>().is_err(), "{text:?}");
    }
    for text in ["", "K3M9X2P7QA", "short", "elevenchars", "../../../x"] {
        assert!(text.parse::<JobId>().is_err(), "{text:?}");
    }
}

#[test]
fn an_id_that_parsing_refuses_is_refused_from_json_and_from_the_wire_too() {
    assert!(serde_json::from_str::<JobId>("\"../../../x\"").is_err());
    let bytes = codec::encode(&"../../../x".to_owned()).unwrap();
    assert!(codec::decode::<JobId>(&bytes).is_err());
    assert!(codec::decode::<StreamId>(&codec::encode(&"a/../b".to_owned()).unwrap()).is_err());
}

proptest! {
    #[test]
    fn every_valid_id_survives_json_and_wire(text in "[A-Za-z0-9_][A-Za-z0-9._-]{0,60}") {
        let id: ProjectId = text.parse().unwrap();
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(&serde_json::from_str::<ProjectId>(&json).unwrap(), &id);
        prop_assert_eq!(&codec::decode::<ProjectId>(&codec::encode(&id).unwrap()).unwrap(), &id);
    }
}
