//! A node that doesn't keep blobs has copies of them, up to a number of bytes.

use bytesize::ByteSize;

use super::world::*;
use crate::blob::memory::Memory;
use crate::blob::*;

const KB: usize = 1024;

#[tokio::test]
async fn beyond_the_cap_the_least_recently_used_copy_goes_but_none_that_is_in_use() {
    let keeper = Node::keeper().await;
    let small = BlobsOptions { cache: ByteSize::kib(3), ..options() };
    let cache = Node::cache(&keeper.actor, small).await;
    let mut all = Vec::new();
    // One byte more each, so that they are different.
    for n in 0..6 {
        all.push(keeper.blobs.put(content(KB - 10 + n)).await.unwrap());
    }
    let in_use = cache.blobs.path(&all[0]).await.unwrap();
    for digest in &all[1..3] {
        cache.blobs.path(digest).await.unwrap();
    }
    cache.blobs.path(&all[1]).await.unwrap();
    cache.blobs.path(&all[3]).await.unwrap();
    let here = |n: usize| cache.has(&all[n]);
    assert!(here(0) && here(1) && !here(2) && here(3), "2 was used the longest time ago of those not in use");
    cache.blobs.path(&all[4]).await.unwrap();
    cache.blobs.path(&all[5]).await.unwrap();
    assert!(here(0) && !here(1) && !here(3) && here(4) && here(5));
    assert_eq!(std::fs::read(&*in_use).unwrap(), content(KB - 10));
    drop(in_use);
    let stats = cache.blobs.stats();
    assert_eq!((stats.blobs, stats.removed), (3, 3));
    assert!(stats.disk_bytes <= 3 * KB as u64);
    assert_eq!(cache.blobs.get(&all[2]).await.unwrap(), content(KB - 8), "what has gone is fetched again");
}

#[tokio::test]
async fn a_copy_that_nobody_used_for_the_grace_goes_though_there_is_room() {
    let keeper = Node::keeper().await;
    let cache = Node::cache(&keeper.actor, options()).await;
    let [old, young] = [keeper.blobs.put("old").await.unwrap(), keeper.blobs.put("young").await.unwrap()];
    cache.blobs.get(&old).await.unwrap();
    cache.blobs.get(&young).await.unwrap();
    cache.ahead.hours(12);
    // From memory: it counts all the same.
    cache.blobs.get(&young).await.unwrap();
    cache.ahead.hours(12);
    assert_eq!(cache.blobs.sweep().await.unwrap(), [old]);
    assert!(keeper.has(&old));
}

#[tokio::test]
async fn what_was_fetched_in_part_and_forgotten_goes_by_age() {
    let keeper = Node::keeper().await;
    let digest = keeper.blobs.put(content(8 * KB)).await.unwrap();
    let gate = Gatekeeper::before(&keeper, |n| if n < 3 { Verdict::Pass } else { Verdict::Drop }).await;
    let cache = Node::cache(&gate.actor, options()).await;
    cache.blobs.within(SHORT).get(&digest).await.unwrap_err();
    cache.blobs.sweep().await.unwrap();
    assert!(cache.partial(&digest).exists());
    cache.ahead.hours(25);
    cache.blobs.sweep().await.unwrap();
    assert!(!cache.partial(&digest).exists());
}

#[test]
fn memory_holds_the_most_recently_used_and_nothing_that_would_push_out_most() {
    let blobs: Vec<_> = (0..6).map(|n| content(KB - n)).collect();
    let digests: Vec<_> = blobs.iter().map(|bytes| Digest::of(bytes)).collect();
    let mut memory = Memory::new(4 * KB as u64);
    for n in 0..4 {
        memory.put(digests[n], blobs[n].clone());
    }
    assert_eq!(memory.get(&digests[0]).unwrap(), blobs[0]);
    memory.put(digests[4], blobs[4].clone());
    assert!(memory.get(&digests[0]).is_some() && memory.get(&digests[1]).is_none());
    let large = content(KB + 1);
    memory.put(Digest::of(&large), large.clone());
    assert!(memory.get(&Digest::of(&large)).is_none());
    memory.remove(&digests[0]);
    assert!(memory.get(&digests[0]).is_none());
    assert_eq!(memory.bytes(), (3 * KB - 2 - 3 - 4) as u64);
}
