//! What holds in the books whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use crate::blob::books::{Books, Policy};
use crate::blob::{Digest, Holder};
use crate::time::Timestamp;

const GRACE: Duration = Duration::from_millis(1000);
const CAP: u64 = 100;

#[derive(Clone, Debug)]
enum Event {
    Stored(u8, u64),
    Found(u8, u64),
    Pin(u8),
    Unpin(u8),
    Hold(u8, u8),
    Release(u8, u8),
    ReleaseAll(u8),
    Doom(u8),
    Complete,
    Wait(i64),
    /// With room for so many bytes; and what was chosen goes from the disk.
    Choose(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let (blob, size, who) = (0..8_u8, 0..60_u64, 0..3_u8);
    prop_oneof![
        4 => (blob.clone(), size.clone()).prop_map(|(b, s)| Event::Stored(b, s)),
        1 => (blob.clone(), size).prop_map(|(b, s)| Event::Found(b, s)),
        2 => blob.clone().prop_map(Event::Pin),
        2 => blob.clone().prop_map(Event::Unpin),
        2 => (blob.clone(), who.clone()).prop_map(|(b, w)| Event::Hold(b, w)),
        2 => (blob.clone(), who.clone()).prop_map(|(b, w)| Event::Release(b, w)),
        1 => who.prop_map(Event::ReleaseAll),
        1 => blob.prop_map(Event::Doom),
        1 => Just(Event::Complete),
        3 => (0..1500_i64).prop_map(Event::Wait),
        3 => (0..40_u64).prop_map(Event::Choose),
    ]
}

/// The same in the simplest words.
#[derive(Clone, Debug, Default)]
struct Plain {
    bytes: u64,
    since: i64,
    order: usize,
    pins: u32,
    doomed: bool,
}

#[derive(Default)]
struct Model {
    here: BTreeMap<u8, Plain>,
    holds: BTreeSet<(u8, u8)>,
    complete: bool,
    now: i64,
    step: usize,
}

fn digest(blob: u8) -> Digest {
    Digest::of(&[blob])
}

fn holder(who: u8) -> Holder {
    format!("holder/{who}").parse().unwrap()
}

impl Model {
    fn is_held(&self, blob: u8) -> bool {
        self.holds.iter().any(|(held, _)| *held == blob)
    }

    fn touch(&mut self, blob: u8) {
        let (now, step) = (self.now, self.step);
        if let Some(plain) = self.here.get_mut(&blob) {
            plain.since = now;
            plain.order = step;
        }
    }

    fn release(&mut self, blob: u8, who: u8) {
        if self.holds.remove(&(blob, who)) && !self.is_held(blob) {
            self.touch(blob);
        }
    }

    /// One after the other, in the order of the digests; what nobody holds any more is deleted.
    fn release_all(&mut self, who: u8) -> BTreeSet<u8> {
        let mut held: Vec<u8> = self.holds.iter().filter(|(_, w)| *w == who).map(|(blob, _)| *blob).collect();
        held.sort_by_key(|blob| digest(*blob));
        for blob in &held {
            self.release(*blob, who);
            self.step += 1;
        }
        let unheld: BTreeSet<u8> = held.into_iter().filter(|blob| self.complete && !self.is_held(*blob)).collect();
        for blob in &unheld {
            if let Some(plain) = self.here.get_mut(blob) {
                plain.doomed = true;
            }
        }
        unheld
    }

    /// What has to go, by the rules as they are told.
    fn must_go(&self, policy: Policy, extra: u64) -> BTreeSet<u8> {
        let aged = |plain: &Plain| plain.doomed || self.now - plain.since >= GRACE.as_millis() as i64;
        let free = self.here.iter().filter(|(_, plain)| plain.pins == 0);
        if let Policy::Keep { .. } = policy {
            let go = free.filter(|(blob, plain)| self.complete && !self.is_held(**blob) && aged(plain));
            return go.map(|(blob, _)| *blob).collect();
        }
        let mut free: Vec<_> = free.collect();
        free.sort_by_key(|(_, plain)| plain.order);
        let mut left: u64 = self.here.values().map(|plain| plain.bytes).sum::<u64>() + extra;
        let mut go = BTreeSet::new();
        for (blob, plain) in free {
            if left > CAP || aged(plain) {
                left -= plain.bytes;
                go.insert(*blob);
            }
        }
        go
    }
}

fn choose(policy: Policy, extra: u64, books: &mut Books, model: &mut Model) -> Result<(), TestCaseError> {
    let (expected, now) = (model.must_go(policy, extra), Timestamp(model.now));
    let chosen: BTreeSet<Digest> = books.choose(now, extra).into_iter().collect();
    prop_assert_eq!(&chosen, &expected.iter().map(|blob| digest(*blob)).collect());
    for blob in expected {
        prop_assert!(books.is_going(&digest(blob)) && !books.is_here(&digest(blob)));
        books.found(digest(blob), 1, now);
        prop_assert!(!books.is_here(&digest(blob)), "what is going isn't found again");
        books.lost(&digest(blob));
        model.here.remove(&blob);
    }
    let full = model.here.values().filter(|plain| plain.pins == 0).map(|plain| plain.bytes).sum::<u64>();
    let over = policy == (Policy::Cache { bytes: CAP, idle: GRACE }) && books.is_over(extra);
    prop_assert!(!over || full == 0, "over the cap though something could go");
    Ok(())
}

fn play(policy: Policy, events: Vec<Event>) -> Result<(), TestCaseError> {
    let (mut books, mut model) = (Books::new(policy), Model::default());
    for event in events {
        model.step += 1;
        let now = Timestamp(model.now);
        match event {
            Event::Stored(blob, bytes) => {
                books.stored(digest(blob), bytes, now, false);
                let pins = model.here.get(&blob).map_or(0, |plain| plain.pins);
                model.here.insert(blob, Plain { bytes, pins, ..Plain::default() });
                model.touch(blob);
            }
            Event::Found(blob, bytes) => {
                books.found(digest(blob), bytes, now);
                let fresh = Plain { bytes, since: model.now, order: model.step, ..Plain::default() };
                model.here.entry(blob).or_insert(fresh);
            }
            Event::Pin(blob) => {
                prop_assert_eq!(books.pin(&digest(blob), now), model.here.contains_key(&blob));
                model.touch(blob);
                if let Some(plain) = model.here.get_mut(&blob) {
                    plain.pins += 1;
                }
            }
            Event::Unpin(blob) => {
                // Only who has pinned it unpins it.
                if let Some(plain) = model.here.get_mut(&blob).filter(|plain| plain.pins > 0) {
                    plain.pins -= 1;
                    model.touch(blob);
                    books.unpin(&digest(blob), now);
                }
            }
            Event::Hold(blob, who) => {
                books.hold(digest(blob), holder(who));
                model.holds.insert((blob, who));
                if let Some(plain) = model.here.get_mut(&blob) {
                    plain.doomed = false;
                }
            }
            Event::Release(blob, who) => {
                books.release(&digest(blob), &holder(who), now);
                model.release(blob, who);
            }
            Event::ReleaseAll(who) => {
                let unheld = model.release_all(who);
                let given: BTreeSet<Digest> = books.release_all(&holder(who), now).into_iter().collect();
                prop_assert_eq!(given, unheld.into_iter().map(digest).collect());
            }
            Event::Doom(blob) => {
                books.doom(&digest(blob));
                if let Some(plain) = model.here.get_mut(&blob) {
                    plain.doomed = true;
                }
            }
            Event::Complete => {
                books.complete();
                model.complete = true;
            }
            Event::Wait(millis) => model.now += millis,
            Event::Choose(extra) => {
                choose(policy, extra, &mut books, &mut model)?;
            }
        }
        prop_assert_eq!(books.bytes(), model.here.values().map(|plain| plain.bytes).sum::<u64>());
        prop_assert_eq!(books.len(), model.here.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_keeper_loses_only_what_nobody_holds_reads_or_has_used_lately(events in prop::collection::vec(event(), 1..80)) {
        play(Policy::Keep { grace: GRACE }, events)?;
    }

    #[test]
    fn a_cache_loses_the_least_recently_used_and_stays_below_its_cap(events in prop::collection::vec(event(), 1..80)) {
        play(Policy::Cache { bytes: CAP, idle: GRACE }, events)?;
    }
}

#[test]
fn what_is_stored_again_while_it_goes_stays() {
    let mut books = Books::new(Policy::Keep { grace: GRACE });
    books.complete();
    books.stored(digest(1), 5, Timestamp(0), false);
    assert_eq!(books.choose(Timestamp(5000), 0), [digest(1)]);
    books.stored(digest(1), 5, Timestamp(5000), true);
    assert!(!books.is_going(&digest(1)), "so its file isn't removed");
    books.lost(&digest(1));
    assert!(books.is_here(&digest(1)));
    assert_eq!(books.bytes(), 5);
}
