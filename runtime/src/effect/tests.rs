#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::id::ProjectId;
use crate::journal::Journal;
use crate::journal::testing::{Crash, MemoryJournal, project, stream};
use crate::redact::{NoSecrets, Redactor};

fn spec(key: &str, class: EffectClass) -> EffectSpec {
    let by = Author::Node("n1".into());
    EffectSpec { key: key.into(), class, by, what: json!({"tool": "test"}), facts: Vec::new() }
}

async fn effects_of(journal: &Arc<MemoryJournal>, redactor: Arc<dyn Redactor>) -> Effects {
    let shared: Arc<dyn Journal> = journal.clone();
    let writer = StreamWriter::open(shared, redactor, stream("e"), project()).await.unwrap();
    let history = writer.history().await.unwrap();
    Effects::new(writer, &history)
}

async fn effects(journal: &Arc<MemoryJournal>) -> Effects {
    effects_of(journal, Arc::new(NoSecrets)).await
}

fn kinds(journal: &MemoryJournal) -> Vec<String> {
    journal.events().into_iter().map(|e| e.kind).collect()
}

/// Runs an effect that counts how often it is really done.
async fn count(effects: &Effects, key: &str, class: EffectClass, done: &AtomicU32) -> Result<u32, EffectError> {
    let action = |_| async { Ok(done.fetch_add(1, Ordering::SeqCst) + 1) };
    effects.run(spec(key, class), action).await
}

#[tokio::test]
async fn a_recorded_effect_is_given_again_and_not_done_again_even_after_a_restart() {
    let journal = Arc::new(MemoryJournal::default());
    let done = AtomicU32::new(0);
    let first = effects(&journal).await;
    assert_eq!(count(&first, "a", EffectClass::Repeatable, &done).await.unwrap(), 1);
    assert_eq!(count(&first, "a", EffectClass::Repeatable, &done).await.unwrap(), 1);
    let second = effects(&journal).await;
    assert_eq!(count(&second, "a", EffectClass::Repeatable, &done).await.unwrap(), 1);
    assert_eq!(second.recorded("a"), Some(json!(1)));
    assert_eq!(kinds(&journal), [INTENDED, COMPLETED]);
    let events = journal.events();
    assert_eq!(events[1].caused_by, Some(events[0].position));
}

#[tokio::test]
async fn a_recorded_failure_is_an_outcome_too() {
    let journal = Arc::new(MemoryJournal::default());
    for _ in 0..2 {
        let effects = effects(&journal).await;
        let result = effects.run::<(), _, _>(spec("a", EffectClass::Keyed), |_| async { Err("no".into()) });
        assert!(matches!(result.await, Err(EffectError::Failed { error, .. }) if error == "no"));
    }
    assert_eq!(kinds(&journal), [INTENDED, FAILED]);
}

#[tokio::test]
async fn a_fenced_writer_starts_no_effect() {
    let journal = Arc::new(MemoryJournal::default());
    let frozen = effects(&journal).await;
    let _elsewhere = effects(&journal).await;
    let done = AtomicU32::new(0);
    let result = count(&frozen, "a", EffectClass::Irreversible, &done).await;
    assert!(matches!(result, Err(EffectError::Journal(JournalError::Fenced { .. }))));
    assert_eq!(done.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn two_callers_with_one_key_do_it_once() {
    let journal = Arc::new(MemoryJournal::default());
    let effects = effects(&journal).await;
    let done = AtomicU32::new(0);
    let action = |_: EffectRun| async {
        tokio::task::yield_now().await;
        Ok(done.fetch_add(1, Ordering::SeqCst))
    };
    let (a, b) = tokio::join!(
        effects.run(spec("a", EffectClass::Keyed), action),
        effects.run(spec("a", EffectClass::Keyed), action),
    );
    assert_eq!((a.unwrap(), b.unwrap()), (0, 0));
}

#[tokio::test]
async fn the_first_run_sees_the_redacted_result_that_a_resumed_run_will_see() {
    struct Hunter;
    impl Redactor for Hunter {
        fn redact<'a>(&self, _: &ProjectId, text: &'a str) -> Cow<'a, str> {
            Cow::Owned(text.replace("hunter2", "⟦secret⟧"))
        }
    }
    let journal = Arc::new(MemoryJournal::default());
    for _ in 0..2 {
        let effects = effects_of(&journal, Arc::new(Hunter)).await;
        let result = effects.run(spec("a", EffectClass::Repeatable), |_| async { Ok("pw hunter2".to_owned()) });
        assert_eq!(result.await.unwrap(), "pw ⟦secret⟧");
    }
}

#[tokio::test]
async fn an_irreversible_effect_that_was_given_up_on_is_unknown_in_the_same_process_too() {
    let journal = Arc::new(MemoryJournal::default());
    let effects = effects(&journal).await;
    let hanging = effects.run::<u32, _, _>(spec("a", EffectClass::Irreversible), |_| std::future::pending());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(10), hanging).await.is_err());
    let done = AtomicU32::new(0);
    let again = count(&effects, "a", EffectClass::Irreversible, &done).await;
    assert!(matches!(again, Err(EffectError::Unknown { .. })));
    // Nor does calling it harmless now make it so.
    let again = count(&effects, "a", EffectClass::Repeatable, &done).await;
    assert!(matches!(again, Err(EffectError::Unknown { .. })));
    assert_eq!(done.load(Ordering::SeqCst), 0);
}

fn class() -> impl Strategy<Value = EffectClass> {
    prop_oneof![Just(EffectClass::Repeatable), Just(EffectClass::Keyed), Just(EffectClass::Irreversible),]
}

/// One life of a process: which appends it gets through before it dies, and how it dies.
fn life() -> impl Strategy<Value = (usize, Crash)> {
    (0..12usize, prop_oneof![Just(Crash::BeforeWriting), Just(Crash::AfterWriting)])
}

#[derive(Default)]
struct World {
    /// How often each effect was really done.
    done: Mutex<HashMap<String, u32>>,
    attempts: Mutex<HashMap<String, Vec<u32>>>,
}

impl World {
    fn act(&self, run: &EffectRun) -> u32 {
        self.attempts.lock().unwrap().entry(run.key.clone()).or_default().push(run.attempt);
        let mut done = self.done.lock().unwrap();
        let n = done.entry(run.key.clone()).or_default();
        *n += 1;
        *n
    }

    fn times(&self, key: &str) -> u32 {
        self.done.lock().unwrap().get(key).copied().unwrap_or(0)
    }
}

/// A job that does its effects in order and stops at the first that can't be recorded.
async fn live(journal: &Arc<MemoryJournal>, script: &[EffectClass], world: &World) {
    let effects = effects(journal).await;
    for (i, class) in script.iter().enumerate() {
        let key = format!("e{i}");
        let recorded = effects.recorded(&key);
        let before = world.times(&key);
        let result = effects.run(spec(&key, *class), |run| async move { Ok(world.act(&run)) }).await;
        if recorded.is_some() {
            assert_eq!(world.times(&key), before, "{key} was recorded and done again");
        }
        match result {
            Ok(value) => assert_eq!(Some(json!(value)), effects.recorded(&key)),
            Err(EffectError::Unknown { .. }) => assert_eq!(*class, EffectClass::Irreversible),
            Err(EffectError::Journal(_)) => return,
            Err(other) => panic!("{other}"),
        }
    }
}

proptest! {
    #[test]
    fn wherever_it_crashes_no_recorded_effect_is_done_twice(
        script in prop::collection::vec(class(), 1..6), lives in prop::collection::vec(life(), 0..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (journal, world) = (Arc::new(MemoryJournal::default()), World::default());
        runtime.block_on(async {
            for (appends, crash) in &lives {
                journal.restart();
                journal.crash_after(*appends, *crash);
                live(&journal, &script, &world).await;
            }
            journal.restart();
            live(&journal, &script, &world).await;
        });
        for (i, class) in script.iter().enumerate() {
            let key = format!("e{i}");
            let of = |kind: &str| {
                journal.events().iter().filter(|e| e.kind == kind && e.payload["key"] == key.as_str()).count()
            };
            prop_assert!(of(COMPLETED) <= 1, "two outcomes of {key}");
            if *class == EffectClass::Irreversible {
                prop_assert!(world.times(&key) <= 1, "{key} is irreversible and was done twice");
            } else {
                prop_assert_eq!(of(COMPLETED), 1, "{} never got done", key);
            }
            // No intention, no effect; and each attempt has a number of its own.
            prop_assert!(of(INTENDED) >= world.times(&key) as usize);
            let attempts = world.attempts.lock().unwrap().get(&key).cloned().unwrap_or_default();
            prop_assert!(attempts.is_sorted_by(|a, b| a < b), "{attempts:?}");
        }
    }
}
