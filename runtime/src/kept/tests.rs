use proptest::prelude::*;

use super::*;
use crate::journal::testing::open;
use crate::redact::NoSecrets;

struct Place {
    store: StateStore,
    actor: ActorId,
    _dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::new(Arc::new(open(dir.path()).0), Arc::new(NoSecrets));
        Self { store, actor: ActorId::new_random(), _dir: dir }
    }

    async fn load(&self, generation: u64) -> Result<Kept<Vec<u64>>, JournalError> {
        Kept::open(self.store.clone(), self.actor, Generation(generation), Vec::new()).await
    }

    async fn segments(&self) -> Vec<u64> {
        segments(&*self.store.journal, self.actor).await.unwrap()
    }
}

#[tokio::test]
async fn a_later_life_finds_what_was_changed_and_the_earlier_one_is_refused() {
    let place = Place::new();
    let mut first = place.load(1).await.unwrap();
    assert_eq!(
        first
            .change(|all| {
                all.push(7);
                all.len()
            })
            .await
            .unwrap(),
        1
    );
    let mut second = place.load(2).await.unwrap();
    assert_eq!(*second, [7]);

    let refused = first.change(|all| all.push(8)).await;
    assert!(matches!(refused, Err(JournalError::Fenced { .. })), "{refused:?}");
    assert_eq!(*first, [7], "what isn't recorded hasn't happened");
    second.change(|all| all.push(9)).await.unwrap();

    // A life that was overtaken before it had begun.
    let late = place.load(1).await;
    assert!(matches!(late, Err(JournalError::Fenced { .. })), "{late:?}");
    assert_eq!(*place.load(3).await.unwrap(), [7, 9]);
}

#[tokio::test]
async fn what_was_kept_is_forgotten_with_its_actor_and_with_no_other() {
    let (place, other) = (Place::new(), ActorId::new_random());
    place.load(1).await.unwrap().change(|all| all.push(1)).await.unwrap();
    let mut kept = Kept::open(place.store.clone(), other, Generation(1), 5).await.unwrap();
    kept.change(|n| *n += 1).await.unwrap();

    forget(&*place.store.journal, place.actor).await.unwrap();
    assert_eq!(*place.load(2).await.unwrap(), [0_u64; 0]);
    assert_eq!(*Kept::open(place.store.clone(), other, Generation(2), 5).await.unwrap(), 6);
    forget_others(&*place.store.journal, |actor| actor != other).await.unwrap();
    assert_eq!(*Kept::open(place.store.clone(), other, Generation(3), 5).await.unwrap(), 5);
}

/// What becomes of an actor.
#[derive(Clone, Debug)]
enum Step {
    Change(u64),
    /// It begins anew.
    Restart,
    /// It ends after the last event of its segment, before the next one has any.
    EndsBetweenSegments,
    /// It ends when the next segment has begun and the one before isn't deleted yet.
    EndsBeforeDeleting,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<u64>().prop_map(Step::Change),
        2 => Just(Step::Restart),
        1 => Just(Step::EndsBetweenSegments),
        1 => Just(Step::EndsBeforeDeleting),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn nothing_that_was_acknowledged_is_lost_and_the_disk_does_not_fill(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (place, mut expected, mut life) = (Place::new(), Vec::new(), 1);
            let mut kept = place.load(life).await.unwrap();
            for step in steps {
                match step {
                    Step::Change(n) => {
                        kept.change(|all| all.push(n)).await.unwrap();
                        expected.push(n);
                        continue;
                    }
                    Step::Restart => {}
                    Step::EndsBetweenSegments => kept.write(MOVED, &kept.value).await.unwrap(),
                    Step::EndsBeforeDeleting => {
                        kept.write(MOVED, &kept.value).await.unwrap();
                        kept.writer = claim(&place.store, place.actor, kept.segment + 1).await.unwrap();
                        kept.write(SAVED, &kept.value).await.unwrap();
                    }
                }
                life += 1;
                kept = place.load(life).await.unwrap();
                assert_eq!(*kept, expected);
                assert!(place.segments().await.len() <= 1);
            }
            assert_eq!(*kept, expected);
        });
    }
}
