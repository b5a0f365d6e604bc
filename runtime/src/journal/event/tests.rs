#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn sample() -> Envelope {
    let mut envelope = Envelope {
        position: Position(42),
        at: Timestamp(1_763_836_245_123),
        by: Author::Agent { role: "developer".into(), name: "dev-2".into() },
        project: "9fceb02d0ae598e95dc970b74767f19372d61af8".parse().unwrap(),
        stream: "job/k3m9x2p7qa".parse().unwrap(),
        seq: Seq(7),
        generation: Generation(3),
        kind: "story.verdict".into(),
        version: 1,
        caused_by: Some(Position(41)),
        facts: vec![
            Fact::Entity(Entity {
                kind: "decision".into(),
                id: "d1".into(),
                title: "Take attempt 0".into(),
                body: "It passes.".into(),
            }),
            Fact::Relation {
                from: EntityRef { kind: "decision".into(), id: "d1".into() },
                relation: "answers".into(),
                to: EntityRef { kind: "requirement".into(), id: "r1".into() },
            },
        ],
        prev_hash: Hash([0xab; 32]),
        hash: Hash::ZERO,
        payload: json!({"z": 1, "a": [true, null, 0.1, "ü\n"], "m": {"deep": -3}}),
    };
    envelope.hash = envelope.compute_hash().unwrap();
    envelope
}

/// Whoever has to change these bytes breaks every journal that was ever written.
const GOLDEN_HASH: &str = "20f76548895f874b572ed7ea50863f009b637b27f74f070ba4cb2352f72a0ec7";
const GOLDEN_JSON: &str = r#"{"position":42,"at":1763836245123,"by":"agent:developer/dev-2","project":"9fceb02d0ae598e95dc970b74767f19372d61af8","stream":"job/k3m9x2p7qa","seq":7,"generation":3,"kind":"story.verdict","version":1,"caused_by":41,"facts":[{"fact":"entity","kind":"decision","id":"d1","title":"Take attempt 0","body":"It passes."},{"fact":"relation","from":{"kind":"decision","id":"d1"},"relation":"answers","to":{"kind":"requirement","id":"r1"}}],"prev_hash":"abababababababababababababababababababababababababababababababab","hash":"20f76548895f874b572ed7ea50863f009b637b27f74f070ba4cb2352f72a0ec7","payload":{"z":1,"a":[true,null,0.1,"ü\n"],"m":{"deep":-3}}}"#;

#[test]
fn golden_bytes_of_an_envelope_and_its_hash_still_hold() {
    assert_eq!(sample().hash.to_string(), GOLDEN_HASH);
    assert_eq!(serde_json::to_string(&sample()).unwrap(), GOLDEN_JSON);
    assert_eq!(serde_json::from_str::<Envelope>(GOLDEN_JSON).unwrap(), sample());
}

#[test]
fn every_field_is_covered_by_the_hash() {
    let changes: [fn(&mut Envelope); 13] = [
        |e| e.position = Position(43),
        |e| e.at = Timestamp(0),
        |e| e.by = Author::Person("anna".into()),
        |e| e.project = "other".parse().unwrap(),
        |e| e.stream = "job/k3m9x2p7qb".parse().unwrap(),
        |e| e.seq = Seq(8),
        |e| e.generation = Generation(4),
        |e| e.kind = "story.verdicts".into(),
        |e| e.version = 2,
        |e| e.caused_by = None,
        |e| e.facts.truncate(1),
        |e| e.prev_hash = Hash::ZERO,
        |e| e.payload["a"][2] = json!(0.2),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut changed = sample();
        change(&mut changed);
        assert_ne!(changed.compute_hash().unwrap(), sample().hash, "change {i}");
    }
}

#[test]
fn an_author_reads_as_it_is_written() {
    for (author, text) in [
        (Author::Person("anna".into()), "person:anna"),
        (Author::Agent { role: "developer".into(), name: "dev-2".into() }, "agent:developer/dev-2"),
        (Author::Node("n1".into()), "node:n1"),
    ] {
        assert_eq!(author.to_string(), text);
        assert_eq!(text.parse::<Author>().unwrap(), author);
    }
    assert!("anna".parse::<Author>().is_err());
    assert!("agent:nameless".parse::<Author>().is_err());
}

/// Any JSON value.
pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_exported_event_can_be_checked_against_its_hash(payload in any_json(), body in ".{0,40}") {
        let mut envelope = sample();
        envelope.payload = payload;
        envelope.facts.push(Fact::Entity(Entity { kind: "k".into(), id: "i".into(), title: String::new(), body }));
        envelope.hash = envelope.compute_hash().unwrap();
        let exported = serde_json::to_string(&envelope).unwrap();
        let read: Envelope = serde_json::from_str(&exported).unwrap();
        prop_assert_eq!(read.compute_hash().unwrap(), envelope.hash);
        prop_assert_eq!(read, envelope);
    }
}
