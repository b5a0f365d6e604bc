#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Everything that messages are made of, derived for both codecs.
#[derive(Debug, Clone, PartialEq, SchemaWrite, SchemaRead, bincode::Encode, bincode::Decode)]
struct Sample {
    small: u8,
    wide: (u16, u32, u64, u128, usize),
    signed: (i8, i16, i32, i64, i128),
    real: (f32, f64),
    flag: bool,
    letter: char,
    text: String,
    bytes: Vec<u8>,
    maybe: Option<Box<Kind>>,
    list: Vec<Kind>,
    map: BTreeMap<String, Vec<i64>>,
    array: [u8; 5],
}

#[derive(Debug, Clone, PartialEq, SchemaWrite, SchemaRead, bincode::Encode, bincode::Decode)]
enum Kind {
    Empty,
    One(String),
    Named { id: u64, tags: Vec<String> },
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Empty),
        ".{0,20}".prop_map(Kind::One),
        (any::<u64>(), prop::collection::vec(".{0,8}", 0..4)).prop_map(|(id, tags)| Kind::Named { id, tags }),
    ]
}

prop_compose! {
    fn sample()(
        small in any::<u8>(),
        wide in (any::<u16>(), any::<u32>(), any::<u64>(), any::<u128>(), any::<usize>()),
        signed in (any::<i8>(), any::<i16>(), any::<i32>(), any::<i64>(), any::<i128>()),
        real in (-1e9f32..1e9, -1e300f64..1e300),
        flag in any::<bool>(),
        letter in any::<char>(),
        text in ".{0,40}",
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        maybe in prop::option::of(kind().prop_map(Box::new)),
        list in prop::collection::vec(kind(), 0..5),
        map in prop::collection::btree_map(".{0,6}", prop::collection::vec(any::<i64>(), 0..4), 0..4),
        array in any::<[u8; 5]>(),
    ) -> Sample {
        Sample { small, wide, signed, real, flag, letter, text, bytes, maybe, list, map, array }
    }
}

proptest! {
    #[test]
    fn the_wire_is_byte_for_byte_bincode_2_standard(sample in sample()) {
        let ours = encode(&sample).unwrap();
        let theirs = bincode::encode_to_vec(&sample, bincode::config::standard()).unwrap();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(decode::<Sample>(&theirs).unwrap(), sample);
    }

    #[test]
    fn damaged_or_random_bytes_never_panic_and_never_allocate_beyond_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode::<Sample>(&bytes);
        let _ = unframe(&bytes);
    }

    #[test]
    fn a_frame_with_any_flipped_bit_is_refused(
        payload in prop::collection::vec(any::<u8>(), 0..64), schema: u16, at: prop::sample::Index, bit in 0..8u8,
    ) {
        let whole = frame(schema, &payload);
        prop_assert_eq!(unframe(&whole).unwrap(), (schema, payload.as_slice()));
        let mut damaged = whole;
        let i = at.index(damaged.len());
        damaged[i] ^= 1 << bit;
        prop_assert!(unframe(&damaged).is_err());
    }

    #[test]
    fn a_frame_cut_short_or_with_something_behind_it_is_refused(
        payload in prop::collection::vec(any::<u8>(), 0..64), cut: prop::sample::Index,
    ) {
        let mut whole = frame(7, &payload);
        prop_assert!(unframe(&whole[..cut.index(whole.len())]).is_err());
        whole.push(0);
        prop_assert!(unframe(&whole).is_err());
    }
}

#[test]
fn golden_bytes_of_the_frame_and_the_wire_still_hold() {
    let payload = encode(&Kind::Named { id: 300, tags: vec!["a".into()] }).unwrap();
    assert_eq!(payload, [2, 251, 44, 1, 1, 1, b'a']);
    assert_eq!(hex(&frame(1, &payload)), "e7f10100000007000000159be9e302fb2c01010161");
}

#[test]
fn leftover_bytes_are_an_error() {
    assert!(decode::<u8>(&[1, 2]).is_err());
}

#[test]
fn a_length_that_promises_more_than_the_limit_is_refused_before_allocating() {
    // A vector that says it has 2^63 elements.
    let bytes = [253, 0, 0, 0, 0, 0, 0, 0, 128];
    assert!(matches!(decode::<Vec<u8>>(&bytes), Err(CodecError::Decode(_))));
}

#[test]
fn a_value_over_the_limit_is_refused_when_written_and_when_read() {
    let big = vec![0u8; MAX_ENCODED_BYTES + 1];
    assert!(encode(&big).is_err());
    assert!(matches!(decode::<Vec<u8>>(&big), Err(CodecError::TooLarge { .. })));
    let parts = vec![vec![0u8; MAX_ENCODED_BYTES / 2]; 3];
    assert!(matches!(encode(&parts), Err(CodecError::TooLarge { .. })));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
