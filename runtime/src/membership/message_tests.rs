#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::time::Duration;

use super::*;
use crate::codec::{decode, encode};
use crate::id::Incarnation;

const A_DAY: Duration = Duration::from_secs(86_400);

#[test]
fn the_bytes_of_a_renewal_are_those_of_the_first_version() {
    let renewal = Renewal {
        incarnation: Incarnation(3),
        seq: 100_000,
        sent_at: A_DAY + Duration::from_millis(500),
        acked: Some(A_DAY),
    };
    let bytes = b"\x03\xfc\xa0\x86\x01\x00\xfc\x80\x51\x01\x00\xfc\x00\x65\xcd\x1d\x01\xfc\x80\x51\x01\x00\x00";
    assert_eq!(encode(&renewal).unwrap(), bytes);
    assert_eq!(decode::<Renewal>(bytes).unwrap(), renewal);
}

#[test]
fn the_bytes_of_a_grant_are_those_of_the_first_version() {
    let grant = Grant { incarnation: Incarnation(3), echo: A_DAY, valid_for: Duration::from_secs(3) };
    let bytes = b"\x03\xfc\x80\x51\x01\x00\x00\x03\x00";
    assert_eq!(encode(&grant).unwrap(), bytes);
    assert_eq!(decode::<Grant>(bytes).unwrap(), grant);
}

#[test]
fn the_bytes_of_a_refusal_are_those_of_the_first_version() {
    let reasons = [
        RefusalReason::OldIncarnation,
        RefusalReason::Unknown,
        RefusalReason::Forgotten,
        RefusalReason::Dead,
        RefusalReason::Left,
    ];
    for (code, why) in (0..).zip(reasons) {
        let refusal = Refusal { incarnation: Incarnation(3), why, above: Incarnation(4) };
        assert_eq!(encode(&refusal).unwrap(), [3, code, 4]);
        assert_eq!(decode::<Refusal>(&[3, code, 4]).unwrap(), refusal);
    }
}

#[test]
fn what_a_node_says_of_itself_survives_the_wire() {
    let labels = [("zone".to_owned(), "b".to_owned())].into();
    let facts = NodeFacts { name: "worker-1".into(), addr: "10.0.0.7:7878".into(), labels };
    assert_eq!(decode::<NodeFacts>(&encode(&facts).unwrap()).unwrap(), facts);
    let load = NodeLoad { cpu_permille: 250, memory_used: 64 << 30, actors: 1000 };
    assert_eq!(decode::<NodeLoad>(&encode(&load).unwrap()).unwrap(), load);
}
