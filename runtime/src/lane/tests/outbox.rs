//! The sending end, by itself.

use super::*;
use crate::lane::frame::{Announced, HEADER, Header, Kind};
use crate::lane::outbox::Outbox;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_that_is_put_arrives_whole_in_the_order_of_its_sender_however_slow_the_connection_is() {
    const SENDERS: u32 = 4;
    const EACH: u32 = 2_000;
    let (near, mut far) = tokio::io::duplex(700);
    let out = Outbox::new(near);
    let writing = tokio::spawn(out.clone().write());
    for channel in 0..SENDERS {
        let out = out.clone();
        tokio::spawn(async move {
            for seq in 0..EACH {
                out.put(Header { channel, seq, ..Header::new(Kind::Deliver) }, &[&[7; 100][..seq as usize % 100]]);
                out.flush();
                // Alone at times, in a crowd at others.
                if seq % 16 == 0 {
                    tokio::time::sleep(Duration::from_micros(50)).await;
                }
            }
        });
    }
    let mut next = [0; SENDERS as usize];
    let reading = async {
        while next != [EACH; SENDERS as usize] {
            let mut head = [0; HEADER];
            far.read_exact(&mut head).await.unwrap();
            let announced = Announced::read(&head).unwrap();
            let mut body = vec![0; announced.len];
            far.read_exact(&mut body).await.unwrap();
            announced.check(&body).unwrap();
            let next = &mut next[announced.header.channel as usize];
            assert_eq!(announced.header.seq, *next);
            *next += 1;
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("all of it arrives");
    // The other end goes; whoever writes next, the writer's task hears of it.
    drop(far);
    while !writing.is_finished() {
        out.put(Header::new(Kind::Close), &[]);
        out.flush();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(matches!(writing.await.unwrap(), Err(LaneError::Io(_))));
}
