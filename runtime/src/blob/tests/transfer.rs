//! How a blob comes in.

use super::world::*;
use crate::actor::{ReplyTo, check_wire};
use crate::blob::message::Piece;
use crate::blob::*;

#[tokio::test]
async fn a_blob_that_is_not_here_is_fetched_from_the_keeper_and_is_here_from_then_on() {
    let keeper = Node::keeper().await;
    let cache = Node::cache(&keeper.actor, options()).await;
    for bytes in [0, 1, PIECE as usize, 10 * PIECE as usize + 17] {
        let digest = keeper.blobs.put(content(bytes)).await.unwrap();
        assert_eq!(cache.blobs.get(&digest).await.unwrap(), content(bytes));
        assert_eq!(std::fs::read(&*cache.blobs.path(&digest).await.unwrap()).unwrap(), content(bytes));
        assert!(cache.has(&digest));
    }
    assert_eq!(keeper.blobs.stats().served_bytes, 11 * PIECE + 18);
    assert_eq!(cache.blobs.stats().fetched, 4);
    assert!(is_empty(&cache.dir.path().join("partial")));
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_transfer_and_one_read_from_the_disk() {
    let keeper = Node::keeper().await;
    let cache = Node::cache(&keeper.actor, options()).await;
    let digest = keeper.blobs.put(content(100 * PIECE as usize)).await.unwrap();
    let askers = (0..100).map(|_| cache.blobs.get(&digest));
    let all = futures::future::try_join_all(askers).await.unwrap();
    assert!(all.iter().all(|bytes| bytes.as_ptr() == all[0].as_ptr()), "the very same bytes");
    let again = cache.blobs.get(&digest).await.unwrap();
    assert_eq!(again.as_ptr(), all[0].as_ptr());
    assert_eq!(keeper.blobs.stats().served_pieces, 100);
    assert_eq!(cache.blobs.stats().disk_reads, 1);
}

#[tokio::test]
async fn a_blob_that_nobody_has_is_not_found_at_once() {
    let keeper = Node::keeper().await;
    let cache = Node::cache(&keeper.actor, options()).await;
    let digest = Digest::of(b"nobody");
    for blobs in [&keeper.blobs, &cache.blobs] {
        assert!(matches!(blobs.get(&digest).await, Err(BlobError::NotFound(d)) if d == digest));
        assert!(matches!(blobs.path(&digest).await, Err(BlobError::NotFound(_))));
    }
}

#[tokio::test]
async fn while_no_source_answers_it_is_asked_again_until_the_deadline_and_then_said_so() {
    let keeper = Node::keeper().await;
    let digest = keeper.blobs.put(content(3 * PIECE as usize)).await.unwrap();
    let flaky = Gatekeeper::before(&keeper, |n| if n < 3 { Verdict::Drop } else { Verdict::Pass }).await;
    let cache = Node::cache(&flaky.actor, options()).await;
    assert_eq!(cache.blobs.get(&digest).await.unwrap(), content(3 * PIECE as usize));
    let dead = Gatekeeper::before(&keeper, |_| Verdict::Drop).await;
    let cache = Node::cache(&dead.actor, options()).await;
    let late = cache.blobs.within(SHORT).get(&digest).await.unwrap_err();
    assert!(matches!(&late, BlobError::Away { why, .. } if why.contains("no answer")), "{late}");
    let nobody = Node::start(BlobRole::Cache, std::sync::Arc::new(NoPeers), options()).await;
    let unknown = nobody.blobs.within(SHORT).path(&digest).await.unwrap_err();
    assert!(matches!(&unknown, BlobError::Away { why, .. } if why.contains("isn't known")), "{unknown}");
}

#[tokio::test]
async fn one_who_has_more_time_than_the_fetch_that_he_waited_for_begins_another() {
    let keeper = Node::keeper().await;
    let digest = keeper.blobs.put(content(PIECE as usize)).await.unwrap();
    let mut gate = Gatekeeper::before(&keeper, |n| if n == 0 { Verdict::Hold } else { Verdict::Pass }).await;
    let cache = Node::cache(&gate.actor, options()).await;
    let hasty = cache.blobs.within(SHORT);
    let (hasty, patient) = tokio::join!(hasty.get(&digest), async {
        gate.held.recv().await.unwrap();
        let patient = cache.blobs.get(&digest);
        let open = async {
            tokio::time::sleep(SHORT).await;
            gate.go.add_permits(1);
        };
        tokio::join!(patient, open).0
    });
    assert!(matches!(hasty, Err(BlobError::Away { .. })));
    assert_eq!(patient.unwrap(), content(PIECE as usize));
}

#[tokio::test]
async fn another_node_that_has_it_stands_in_for_a_keeper_that_is_away() {
    let keeper = Node::keeper().await;
    let other = Node::cache(&keeper.actor, options()).await;
    let digest = keeper.blobs.put(content(5 * PIECE as usize)).await.unwrap();
    other.blobs.path(&digest).await.unwrap();
    struct Both(Gatekeeper, crate::Ref<BlobMsg>);
    impl BlobPeers for Both {
        fn keeper(&self) -> Option<crate::Ref<BlobMsg>> {
            Some(self.0.actor.clone())
        }
        fn holders(&self, _: &Digest) -> Vec<crate::Ref<BlobMsg>> {
            vec![self.1.clone()]
        }
    }
    // The keeper gives two pieces and then no more: what came from it isn't asked for again.
    let dying = Gatekeeper::before(&keeper, |n| if n < 2 { Verdict::Pass } else { Verdict::Drop }).await;
    let peers = std::sync::Arc::new(Both(dying, other.actor.clone()));
    let cache = Node::start(BlobRole::Cache, peers, options()).await;
    assert_eq!(cache.blobs.get(&digest).await.unwrap(), content(5 * PIECE as usize));
    assert_eq!(other.blobs.stats().served_bytes, 3 * PIECE);
}

#[tokio::test]
async fn a_fetch_goes_on_where_it_was_after_a_restart() {
    let keeper = Node::keeper().await;
    let digest = keeper.blobs.put(content(40 * PIECE as usize)).await.unwrap();
    let gate = Gatekeeper::before(&keeper, |n| if n < 20 { Verdict::Pass } else { Verdict::Drop }).await;
    let cache = Node::cache(&gate.actor, options()).await;
    assert!(matches!(cache.blobs.within(SHORT).get(&digest).await, Err(BlobError::Away { .. })));
    let before = cache.partial(&digest).metadata().unwrap().len();
    assert_eq!(before, 20 * PIECE);
    assert!(!cache.has(&digest), "a part of it is not it");
    let open = Gatekeeper::before(&keeper, |_| Verdict::Pass).await;
    let cache = cache.restart(BlobRole::Cache, std::sync::Arc::new(open.actor.clone()), options()).await;
    assert_eq!(cache.blobs.get(&digest).await.unwrap(), content(40 * PIECE as usize));
    assert_eq!(open.offsets().first(), Some(&before));
    assert_eq!(keeper.blobs.stats().served_bytes, 40 * PIECE);
}

#[tokio::test]
async fn what_comes_in_damaged_is_thrown_away_and_fetched_anew() {
    let keeper = Node::keeper().await;
    let digest = keeper.blobs.put(content(9 * PIECE as usize)).await.unwrap();
    let gate = Gatekeeper::before(&keeper, |n| if n == 4 { Verdict::Damage } else { Verdict::Pass }).await;
    let cache = Node::cache(&gate.actor, options()).await;
    assert_eq!(cache.blobs.get(&digest).await.unwrap(), content(9 * PIECE as usize));
    assert_eq!((cache.blobs.stats().damaged, keeper.blobs.stats().served_pieces), (1, 18));
}

#[tokio::test]
async fn what_always_comes_in_damaged_is_given_up_and_never_taken_for_the_blob() {
    let keeper = Node::keeper().await;
    let digest = keeper.blobs.put(content(3 * PIECE as usize)).await.unwrap();
    let gate = Gatekeeper::before(&keeper, |n| if n % 3 == 1 { Verdict::Damage } else { Verdict::Pass }).await;
    let cache = Node::cache(&gate.actor, options()).await;
    assert!(matches!(cache.blobs.get(&digest).await, Err(BlobError::DamagedElsewhere(d)) if d == digest));
    assert!(!cache.has(&digest));
    assert!(is_empty(&cache.dir.path().join("partial")));
}

#[tokio::test]
async fn a_part_that_a_crash_left_damaged_or_too_long_is_thrown_away() {
    let keeper = Node::keeper().await;
    let cache = Node::cache(&keeper.actor, options()).await;
    for left in [vec![0; 2 * PIECE as usize], vec![0; 50 * PIECE as usize]] {
        let bytes = 4 * PIECE as usize + left.len() % 1000;
        let digest = keeper.blobs.put(content(bytes)).await.unwrap();
        std::fs::create_dir_all(cache.dir.path().join("partial")).unwrap();
        std::fs::write(cache.partial(&digest), left).unwrap();
        assert_eq!(cache.blobs.get(&digest).await.unwrap(), content(bytes));
    }
    assert_eq!(cache.blobs.stats().damaged, 1, "one that is too long is seen at once");
}

#[tokio::test]
async fn a_blob_that_is_damaged_on_this_disk_is_fetched_anew() {
    let keeper = Node::keeper().await;
    let cache = Node::cache(&keeper.actor, options()).await;
    let digest = keeper.blobs.put(content(2 * PIECE as usize)).await.unwrap();
    let here = cache.blobs.path(&digest).await.unwrap();
    std::fs::write(&*here, "something else").unwrap();
    assert_eq!(cache.blobs.get(&digest).await.unwrap(), content(2 * PIECE as usize));
    assert_eq!(std::fs::read(&*here).unwrap(), content(2 * PIECE as usize));
    // The keeper has nobody to ask.
    std::fs::write(keeper.store.path(&digest).unwrap(), "something else").unwrap();
    assert!(matches!(keeper.blobs.get(&digest).await, Err(BlobError::Damaged(_))));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_comes_in() {
    let keeper = Node::keeper().await;
    let digest = keeper.blobs.put(content(9 * PIECE as usize)).await.unwrap();
    let memory = BlobsOptions { memory: bytesize::ByteSize(8 * PIECE), ..options() };
    let cache = Node::cache(&keeper.actor, memory).await;
    assert!(matches!(cache.blobs.get(&digest).await, Err(BlobError::TooLargeForMemory { .. })));
    assert_eq!(cache.blobs.path(&digest).await.unwrap().metadata().unwrap().len(), 9 * PIECE);
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), BlobOptions { max_bytes: bytesize::ByteSize(8 * PIECE) }).unwrap();
    let peers = std::sync::Arc::new(keeper.actor.clone());
    let small = Blobs::start(BlobsSetup::new(store, BlobRole::Cache, peers)).await.unwrap();
    assert!(matches!(small.get(&digest).await, Err(BlobError::TooLarge { .. })));
}

#[test]
fn messages_travel_and_a_holder_is_checked_on_its_way() {
    let (reply, _answer) = ReplyTo::channel();
    let digest = Digest::of(b"x");
    let BlobMsg::Read { digest: copy, offset: 7, len: 8, .. } =
        check_wire(&BlobMsg::Read { digest, offset: 7, len: 8, reply }).unwrap()
    else {
        panic!("another message arrived");
    };
    assert_eq!(copy, digest);
    let piece = Piece::Bytes { whole: 9, bytes: crate::Payload::new(vec![1; 5000]) };
    let Piece::Bytes { whole: 9, bytes } = check_wire(&piece).unwrap() else { panic!("another answer arrived") };
    assert_eq!(*bytes, [1; 5000]);
    let holder: Holder = "council/7".parse().unwrap();
    assert_eq!(check_wire(&holder).unwrap(), holder);
    let forged = crate::codec::encode(&"a\nb".to_owned()).unwrap();
    assert!(crate::codec::decode::<Holder>(&forged).is_err());
    assert!("".parse::<Holder>().is_err());
}
