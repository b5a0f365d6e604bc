//! Who holds a blob, and when it goes.

use std::sync::Arc;

use super::world::*;
use crate::actor::Ref;
use crate::blob::*;

fn holder(name: &str) -> Holder {
    name.parse().unwrap()
}

#[tokio::test]
async fn what_nobody_holds_goes_after_the_grace_and_what_is_held_stays() {
    let keeper = Node::keeper().await;
    let held = keeper.blobs.put("held").await.unwrap();
    let free = keeper.blobs.put("free").await.unwrap();
    keeper.blobs.hold(&held, &holder("job/a")).await.unwrap();
    keeper.ahead.hours(1000);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), [], "the holders of earlier lives aren't known yet");
    keeper.blobs.retain_only([]);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), [free]);
    assert!(!keeper.has(&free) && keeper.has(&held));
    keeper.blobs.release(&held, &holder("job/a")).await.unwrap();
    keeper.ahead.hours(23);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), [], "its age counts from when it was released");
    keeper.ahead.hours(1);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), [held]);
    assert!(matches!(keeper.blobs.get(&held).await, Err(BlobError::NotFound(_))), "not from memory either");
}

#[tokio::test]
async fn references_are_told_again_after_a_restart_and_ages_go_on() {
    let keeper = Node::keeper().await;
    let [old, held] = [keeper.blobs.put("old").await.unwrap(), keeper.blobs.put("held").await.unwrap()];
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 3600);
    for digest in [&old, &held] {
        let file = std::fs::File::options().write(true).open(keeper.store.path(digest).unwrap()).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    let keeper = keeper.restart(BlobRole::Keeper, Arc::new(NoPeers), options()).await;
    let new = keeper.blobs.put("new").await.unwrap();
    keeper.blobs.retain_only([(held, holder("job/a"))]);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), [old]);
    assert!(keeper.has(&held) && keeper.has(&new));
}

#[tokio::test]
async fn what_is_stored_or_put_again_is_young_again() {
    let keeper = Node::keeper().await;
    let cache = Node::cache(&keeper.actor, options()).await;
    keeper.blobs.retain_only([]);
    let [here, there] = [keeper.blobs.put("here").await.unwrap(), cache.blobs.put("there").await.unwrap()];
    keeper.ahead.hours(23);
    keeper.blobs.put("here").await.unwrap();
    cache.blobs.put("there").await.unwrap();
    keeper.ahead.hours(23);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), []);
    keeper.ahead.hours(1);
    let mut gone = keeper.blobs.sweep().await.unwrap();
    gone.sort();
    let mut both = [here, there];
    both.sort();
    assert_eq!(gone, both);
}

#[tokio::test]
async fn what_is_being_read_stays_whatever_its_age() {
    let keeper = Node::keeper().await;
    keeper.blobs.retain_only([]);
    let digest = keeper.blobs.put("hello").await.unwrap();
    let reading = keeper.blobs.path(&digest).await.unwrap();
    keeper.ahead.hours(48);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), []);
    assert_eq!(std::fs::read(&*reading).unwrap(), b"hello");
    drop(reading);
    keeper.ahead.hours(24);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), [digest]);
}

#[tokio::test]
async fn a_holder_that_is_forgotten_takes_along_what_only_it_held_on_every_node() {
    struct Caches(Arc<std::sync::OnceLock<Ref<BlobMsg>>>);
    impl BlobPeers for Caches {
        fn keeper(&self) -> Option<Ref<BlobMsg>> {
            None
        }
        fn caches(&self) -> Vec<Ref<BlobMsg>> {
            self.0.get().cloned().into_iter().collect()
        }
    }
    let to_cache = Arc::new(std::sync::OnceLock::new());
    let keeper = Node::start(BlobRole::Keeper, Arc::new(Caches(to_cache.clone())), options()).await;
    let cache = Node::cache(&keeper.actor, options()).await;
    to_cache.set(cache.actor.clone()).unwrap();
    keeper.blobs.retain_only([]);
    let (job, other) = (holder("job/a"), holder("job/b"));
    let mut all = Vec::new();
    for text in ["only", "shared", "read"] {
        let digest = keeper.blobs.put(text).await.unwrap();
        cache.blobs.get(&digest).await.unwrap();
        keeper.blobs.hold(&digest, &job).await.unwrap();
        all.push(digest);
    }
    let [only, shared, read] = all[..] else { unreachable!() };
    // From another node the keeper is asked.
    cache.blobs.hold(&shared, &other).await.unwrap();
    let reading = keeper.blobs.path(&read).await.unwrap();
    cache.blobs.forget(&job).await.unwrap();
    assert!(!keeper.has(&only) && keeper.has(&shared) && keeper.has(&read));
    until("the cache hears of it", || !cache.has(&only) && !cache.has(&read)).await;
    assert!(cache.has(&shared));
    drop(reading);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), [read], "as soon as nobody reads it");
    cache.blobs.release(&shared, &other).await.unwrap();
    keeper.ahead.hours(24);
    assert_eq!(keeper.blobs.sweep().await.unwrap(), [shared]);
}

#[tokio::test]
async fn nothing_can_be_held_that_is_not_there_and_a_keeper_that_is_away_is_said_to_be() {
    let keeper = Node::keeper().await;
    let cache = Node::cache(&keeper.actor, options()).await;
    let nothing = Digest::of(b"nothing");
    for blobs in [&keeper.blobs, &cache.blobs] {
        assert!(matches!(blobs.hold(&nothing, &holder("job/a")).await, Err(BlobError::NotFound(_))));
        blobs.release(&nothing, &holder("job/a")).await.unwrap();
        blobs.forget(&holder("job/a")).await.unwrap();
    }
    let away = Gatekeeper::before(&keeper, |_| Verdict::Drop).await;
    let cut_off = Node::cache(&away.actor, options()).await;
    let blobs = cut_off.blobs.within(SHORT);
    assert!(matches!(blobs.hold(&nothing, &holder("job/a")).await, Err(BlobError::NoKeeper(_))));
    assert!(matches!(blobs.forget(&holder("job/a")).await, Err(BlobError::NoKeeper(_))));
}

#[tokio::test]
async fn blobs_that_others_store_in_the_same_folder_are_found_and_those_that_they_delete_are_missed() {
    let keeper = Node::keeper().await;
    keeper.blobs.retain_only([]);
    let theirs = keeper.store.put("theirs").await.unwrap();
    assert_eq!(keeper.blobs.get(&theirs).await.unwrap(), "theirs");
    let unseen = keeper.store.put("unseen").await.unwrap();
    keeper.blobs.sweep().await.unwrap();
    assert_eq!(keeper.blobs.stats().blobs, 2);
    keeper.store.delete(&theirs).await.unwrap();
    assert!(matches!(keeper.blobs.path(&theirs).await, Err(BlobError::NotFound(_))));
    keeper.store.delete(&unseen).await.unwrap();
    keeper.blobs.sweep().await.unwrap();
    assert_eq!((keeper.blobs.stats().blobs, keeper.blobs.stats().disk_bytes), (0, 0));
}
