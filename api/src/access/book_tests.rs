#![allow(clippy::unwrap_used, clippy::expect_used)]

use fleet_runtime::{Generation, Position};
use proptest::prelude::*;

use super::*;

fn recorded(seq: u64, at: i64, event: NewEvent) -> Envelope {
    Envelope {
        position: Position(seq),
        at: Timestamp(at),
        by: event.by,
        project: "p".parse().unwrap(),
        stream: "access".parse().unwrap(),
        seq: Seq(seq),
        generation: Generation(0),
        kind: event.kind,
        version: 1,
        caused_by: None,
        facts: vec![],
        prev_hash: fleet_runtime::journal::Hash::default(),
        hash: fleet_runtime::journal::Hash::default(),
        payload: event.payload,
    }
}

fn anna() -> Author {
    Author::Person("anna".into())
}

fn viewer(name: &str) -> Principal {
    Principal { name: name.into(), level: AccessLevel::Viewer }
}

fn add(book: &mut Book, at: i64, event: NewEvent) {
    let next = book.last().next();
    book.apply(&recorded(next.0, at, event)).unwrap();
}

#[test]
fn a_token_holds_from_its_issue_to_its_end_and_not_at_its_end() {
    let mut book = Book::default();
    let digest = blake3::hash(b"secret");
    let issue = book.issue(anna(), &viewer("vera"), &digest, Some(Timestamp(20)), Timestamp(10)).unwrap();
    add(&mut book, 10, issue);
    let found = book.find(&digest).unwrap();
    assert_eq!((found.principal.clone(), found.by.clone(), found.at), (viewer("vera"), anna(), Timestamp(10)));
    assert_eq!([19, 20, 21].map(|at| found.holds(Timestamp(at))), [true, false, false]);
    assert!(book.find(&blake3::hash(b"another")).is_none());
}

#[test]
fn a_name_has_one_token_at_a_time_and_may_have_another_when_that_is_over() {
    let mut book = Book::default();
    let issue = |book: &Book, secret: &[u8], at| {
        book.issue(anna(), &viewer("vera"), &blake3::hash(secret), None, Timestamp(at))
    };
    let first = issue(&book, b"1", 1).unwrap();
    add(&mut book, 1, first);
    assert_eq!(issue(&book, b"2", 2).unwrap_err(), Refused::Taken("vera".into()));
    let (id, revoke) = book.revoke(anna(), "vera", Timestamp(3)).unwrap();
    add(&mut book, 3, revoke);
    assert_eq!(book.get(id).unwrap().revoked_at, Some(Timestamp(3)));
    assert_eq!(book.revoke(anna(), "vera", Timestamp(4)).unwrap_err(), Refused::Unknown("vera".into()));
    let second = issue(&book, b"2", 5).unwrap();
    add(&mut book, 5, second);
    let holds = |secret: &[u8]| book.find(&blake3::hash(secret)).unwrap().holds(Timestamp(6));
    assert_eq!((holds(b"1"), holds(b"2")), (false, true));
}

#[test]
fn a_name_is_one_that_needs_no_quotes() {
    let book = Book::default();
    for name in ["", "-x", "a b", "a/b", "a\n", "é", &"x".repeat(65)] {
        let refused = book.issue(anna(), &viewer(name), &blake3::hash(b""), None, Timestamp(0)).unwrap_err();
        assert_eq!(refused, Refused::Name(name.to_owned()));
    }
    for name in ["ci", "anna@example.com", "0-1_2.3"] {
        book.issue(anna(), &viewer(name), &blake3::hash(b""), None, Timestamp(0)).unwrap();
    }
}

proptest! {
    /// Whatever is issued and revoked in whatever order: a token holds exactly if it was issued, hasn't run out, and
    /// nobody has taken it back; and no name ever has two that hold.
    #[test]
    fn a_token_holds_exactly_as_long_as_it_should(steps in prop::collection::vec((0..4u8, any::<bool>(), 1..9i64), 1..60)) {
        let (mut book, mut model) = (Book::default(), Vec::<(String, u64, i64, bool)>::new());
        for (now, (who, give, lives)) in steps.into_iter().enumerate() {
            let (name, at, serial) = (format!("n{who}"), i64::try_from(now).unwrap(), now as u64);
            let held = |m: &(String, u64, i64, bool)| m.0 == name && !m.3 && at < m.2;
            if give {
                let digest = blake3::hash(&serial.to_le_bytes());
                let issued = book.issue(anna(), &viewer(&name), &digest, Some(Timestamp(at + lives)), Timestamp(at));
                prop_assert_eq!(issued.is_ok(), !model.iter().any(held));
                if let Ok(event) = issued {
                    add(&mut book, at, event);
                    model.push((name.clone(), serial, at + lives, false));
                }
            } else {
                let revoked = book.revoke(anna(), &name, Timestamp(at));
                let place = model.iter().position(held);
                prop_assert_eq!(revoked.is_ok(), place.is_some());
                if let (Ok((_, event)), Some(place)) = (revoked, place) {
                    add(&mut book, at, event);
                    model[place].3 = true;
                }
            }
            for (name, serial, end, gone) in &model {
                let found = book.find(&blake3::hash(&serial.to_le_bytes())).unwrap();
                prop_assert_eq!(&found.principal.name, name);
                prop_assert_eq!(found.holds(Timestamp(at)), !gone && at < *end);
            }
        }
    }
}
