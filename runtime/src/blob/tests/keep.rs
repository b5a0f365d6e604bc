//! What is put anywhere is kept by the keeper before it is acknowledged.

use std::sync::Arc;

use super::world::*;
use crate::blob::*;

#[tokio::test]
async fn what_is_put_on_another_node_is_on_the_keepers_disk_when_it_is_acknowledged() {
    let keeper = Node::keeper().await;
    let mut gate = Gatekeeper::before(&keeper, |n| if n == 0 { Verdict::Hold } else { Verdict::Pass }).await;
    let cache = Node::cache(&gate.actor, options()).await;
    let bytes = content(7 * PIECE as usize + 1);
    let digest = Digest::of(&bytes);
    let put = cache.blobs.put(bytes.clone());
    tokio::pin!(put);
    tokio::select! {
        _ = &mut put => panic!("acknowledged before the keeper has heard of it"),
        held = gate.held.recv() => held.unwrap(),
    }
    assert!(cache.has(&digest) && !keeper.has(&digest));
    gate.go.add_permits(1);
    assert_eq!(put.await.unwrap(), digest);
    assert_eq!(keeper.store.get(&digest).await.unwrap(), bytes);
    cache.system.shutdown().await;
    assert_eq!(keeper.blobs.get(&digest).await.unwrap(), bytes, "the loss of the other node costs nothing");
}

#[tokio::test]
async fn a_stream_is_kept_and_what_the_keeper_has_is_not_sent_again() {
    let keeper = Node::keeper().await;
    let cache = Node::cache(&keeper.actor, options()).await;
    let pieces = || futures::stream::iter([content(3000), content(5000)].map(Ok::<_, std::io::Error>));
    let (digest, bytes) = cache.blobs.put_stream(pieces()).await.unwrap();
    assert_eq!(bytes, 8000);
    assert_eq!(keeper.store.get(&digest).await.unwrap().len(), 8000);
    assert_eq!(cache.blobs.put_stream(pieces()).await.unwrap(), (digest, 8000));
    assert_eq!(cache.blobs.stats().served_bytes, 8000);
    // Unless the keeper's is damaged.
    std::fs::write(keeper.store.path(&digest).unwrap(), "something else").unwrap();
    cache.blobs.put_stream(pieces()).await.unwrap();
    assert_eq!(keeper.store.get(&digest).await.unwrap().len(), 8000);
}

#[tokio::test]
async fn a_put_that_the_keeper_did_not_hear_of_says_so_and_may_be_repeated() {
    let keeper = Node::keeper().await;
    let gate = Gatekeeper::before(&keeper, |_| Verdict::Drop).await;
    let cache = Node::cache(&gate.actor, options()).await;
    let refused = cache.blobs.within(SHORT).put("hello").await.unwrap_err();
    assert!(matches!(&refused, BlobError::NotKept { digest, .. } if *digest == Digest::of(b"hello")), "{refused}");
    let open = Arc::new(keeper.actor.clone());
    let cache = cache.restart(BlobRole::Cache, open, options()).await;
    let digest = cache.blobs.put("hello").await.unwrap();
    assert!(keeper.has(&digest));
    let wrong = Node::cache(&cache.actor, options()).await;
    let refused = wrong.blobs.within(SHORT).put("hello").await.unwrap_err();
    assert!(refused.to_string().contains("doesn't keep blobs"), "{refused}");
}

#[tokio::test]
async fn a_put_that_the_lane_interrupts_goes_on_where_it_was() {
    let keeper = Node::keeper().await;
    let bytes = content(30 * PIECE as usize);
    let cache = Node::cache(&keeper.actor, options()).await;
    // Its pieces come through a gate that loses one.
    let gate = Gatekeeper::before(&cache, |n| if n == 11 { Verdict::Drop } else { Verdict::Pass }).await;
    let digest = cache.store.put(bytes.clone()).await.unwrap();
    keeper.blobs.take_over(digest, gate.actor.clone(), SOON).await.unwrap();
    assert_eq!(keeper.store.get(&digest).await.unwrap(), bytes);
    let offsets = gate.offsets();
    assert_eq!(offsets.iter().filter(|offset| **offset == 0).count(), 1);
    assert!(offsets.len() < 45, "{offsets:?}");
}

#[tokio::test]
async fn who_is_told_to_stop_tells_those_who_wait() {
    let keeper = Node::keeper().await;
    let digest = keeper.blobs.put("hello").await.unwrap();
    let mut gate = Gatekeeper::before(&keeper, |_| Verdict::Hold).await;
    let cache = Node::cache(&gate.actor, options()).await;
    let blobs = cache.blobs.clone();
    let waiting = tokio::spawn(async move { blobs.get(&digest).await });
    gate.held.recv().await.unwrap();
    cache.blobs.stop().await;
    assert!(matches!(waiting.await.unwrap(), Err(BlobError::Away { why, .. }) if why.contains("ending")));
}
