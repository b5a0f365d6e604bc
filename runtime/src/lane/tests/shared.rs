//! Large messages by way of memory that both ends have.

use bytesize::ByteSize;

use super::*;

fn shared() -> LaneOptions {
    LaneOptions { shared_from: ByteSize::kib(64), sweep: Duration::from_millis(500), ..quick() }
}

/// Messages that went so from here, and bytes of memory that is shared for them.
fn lent(pair: &Pair) -> (usize, usize) {
    pair.way.session().unwrap().lent()
}

/// Until a message of so many bytes has gone by way of shared memory: the first ones don't.
async fn warm(pair: &Pair, remote: &Ref<Msg>, len: usize) {
    let before = lent(pair).0;
    tokio::time::timeout(SOON, async {
        while lent(pair).0 == before {
            remote.tell(Msg::Note(0, payload(len))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("memory is shared");
    settled(pair).await;
}

#[tokio::test]
async fn large_messages_and_answers_go_through_shared_memory_unchanged() {
    let pair = pair(shared()).await;
    let (remote, _at) = pair.actor("a").await;
    warm(&pair, &remote, 3 << 20).await;
    let before = lent(&pair).0;
    for n in 0..20 {
        let big = payload((3 << 20) - n * 10_007);
        let echo = remote.ask(SOON, |r| Msg::Echo(big.clone(), r)).await.unwrap();
        assert!(echo == big);
    }
    // Not each: word that the memory is free again may come after the answer.
    let (there, back) = (lent(&pair).0 - before, pair.back.session().unwrap().lent().0);
    assert!(there >= 5 && back >= 5, "{there} of 20 questions, {back} of 20 answers");
    settled(&pair).await;
}

#[tokio::test]
async fn messages_of_all_sizes_keep_their_order_over_three_ways() {
    let options = LaneOptions { shared_memory: ByteSize::mib(2), ..shared() };
    let pair = pair(options).await;
    let (remote, mut at) = pair.actor("a").await;
    for n in 0..300 {
        let len = [100_000, 20, 40_000, 700_000, 20][n as usize % 5];
        remote.tell(Msg::Note(n, payload(len))).await.unwrap();
    }
    for n in 0..300 {
        assert_eq!(at.seen.recv().await.map(|(n, _)| n), Some(n));
    }
    assert!(lent(&pair).0 > 0 && lent(&pair).1 <= 2 << 20, "{:?}", lent(&pair));
    settled(&pair).await;
}

#[tokio::test]
async fn what_an_actor_keeps_is_not_written_over() {
    let pair = pair(LaneOptions { shared_memory: ByteSize::mib(3), ..shared() }).await;
    let (remote, _at) = pair.actor("a").await;
    warm(&pair, &remote, 1 << 20).await;
    let kept: Vec<Payload> = {
        let mut kept = Vec::new();
        for n in 0..6_u8 {
            let payload = Payload::new(vec![n; 1 << 20]);
            kept.push(remote.ask(SOON, |r| Msg::Echo(payload, r)).await.unwrap());
        }
        kept
    };
    for (n, payload) in kept.iter().enumerate() {
        assert!(payload.iter().all(|byte| usize::from(*byte) == n), "message {n} was written over");
    }
    assert!(pair.back.session().unwrap().lent().1 <= 3 << 20);
}

#[tokio::test]
async fn what_is_unused_is_given_back_on_both_sides() {
    let pair = pair(LaneOptions { sweep: Duration::from_millis(20), ..shared() }).await;
    let (remote, _at) = pair.actor("a").await;
    let from_the_page = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains("/memfd:fleet-lane")).count()
    };
    warm(&pair, &remote, 5 << 20).await;
    tokio::time::timeout(SOON, async {
        // Other tests of this process may have such memory as well, for a while.
        while lent(&pair).1 > 0 || from_the_page() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("nothing is shared any more");
    warm(&pair, &remote, 5 << 20).await;
}

#[tokio::test]
async fn messages_of_a_lane_that_ends_can_still_be_read() {
    let mut pair = pair(shared()).await;
    let (remote, _at) = pair.actor("a").await;
    warm(&pair, &remote, 1 << 20).await;
    let echo = loop {
        let before = pair.back.session().unwrap().lent().0;
        let echo = remote.ask(SOON, |r| Msg::Echo(payload(1 << 20), r)).await.unwrap();
        if pair.back.session().unwrap().lent().0 > before {
            break echo;
        }
    };
    pair.way.close();
    for end in pair.ends.drain(..) {
        end.await.unwrap();
    }
    assert!(echo == payload(1 << 20));
    drop(echo);
    pair.connect(shared()).await;
    warm(&pair, &remote, 1 << 20).await;
}

#[tokio::test]
async fn without_a_share_all_goes_over_the_connections() {
    let pair = pair(LaneOptions { shared_memory: ByteSize::b(0), ..shared() }).await;
    let (remote, _at) = pair.actor("a").await;
    for _ in 0..5 {
        let echo = remote.ask(SOON, |r| Msg::Echo(payload(1 << 20), r)).await.unwrap();
        assert!(echo == payload(1 << 20));
    }
    assert_eq!(lent(&pair), (0, 0));
}
